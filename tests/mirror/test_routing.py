"""Which upstream a request means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.errors import (
    NamespaceConflictError,
    NamespaceUnknownError,
    RepositoryDeniedError,
    RepositoryUnknownError,
)
from roadstead.mirror.routing import Hints, Router, RouteRules
from roadstead.oci.reference import RepositoryName, parse_repository

HUB = RouteRules("docker.io", frozenset({"docker.io", "registry-1.docker.io"}), adds_library=True)
GITHUB = RouteRules(
    "ghcr.io",
    frozenset({"ghcr.io", "ghcr"}),
    store_prefix="ghcr.io/",
    hosts=frozenset({"ghcr.mirror.example"}),
)
QUAY = RouteRules(
    "quay.io",
    frozenset({"quay.io"}),
    store_prefix="quay.io/",
    allow=("org/*", "public/app"),
    deny=("org/secret*",),
)
ROUTER = Router([HUB, GITHUB, QUAY], default="docker.io")


def route(repository: str, hints: Hints = Hints()) -> tuple[str, str, str]:  # noqa: B008 - frozen
    """Route a name and tell upstream, stored name and what decided."""
    destination = ROUTER.route(RepositoryName(repository), hints)
    return destination.upstream, destination.repository, destination.by


@pytest.mark.parametrize(
    ("repository", "hints", "expected"),
    [
        # the default upstream, with the Hub's short names
        ("alpine", Hints(), ("docker.io", "library/alpine", "default")),
        ("grafana/grafana", Hints(), ("docker.io", "grafana/grafana", "default")),
        # Podman, crane, plain docker: the name in the path
        ("ghcr.io/org/app", Hints(), ("ghcr.io", "ghcr.io/org/app", "path")),
        ("ghcr/org/app", Hints(), ("ghcr.io", "ghcr.io/org/app", "path")),
        ("docker.io/alpine", Hints(), ("docker.io", "library/alpine", "path")),
        # Docker 25, containerd hosts with a path: the name in front of /v2/
        ("org/app", Hints(prefix="ghcr.io"), ("ghcr.io", "ghcr.io/org/app", "prefix")),
        ("ghcr.io/org/app", Hints(prefix="ghcr.io"), ("ghcr.io", "ghcr.io/org/app", "prefix")),
        # containerd, BuildKit: ns
        ("org/app", Hints(namespace="ghcr.io"), ("ghcr.io", "ghcr.io/org/app", "ns")),
        ("library/app", Hints(namespace="docker.io"), ("docker.io", "library/app", "ns")),
        # containerd with override_path: both, stripped once
        ("ghcr.io/org/app", Hints(namespace="ghcr.io"), ("ghcr.io", "ghcr.io/org/app", "path")),
        # a path decides although ns is the mirror's own name
        ("ghcr.io/org/app", Hints(namespace="mirror:5000"), ("ghcr.io", "ghcr.io/org/app", "path")),
        # three ports of one process
        ("org/app", Hints(listener="ghcr.io"), ("ghcr.io", "ghcr.io/org/app", "listener")),
        (
            "org/app",
            Hints(listener="quay.io", host="ghcr.mirror.example"),
            ("quay.io", "quay.io/org/app", "listener"),
        ),
        # names of the mirror itself
        ("org/app", Hints(host="ghcr.mirror.example:5000"), ("ghcr.io", "ghcr.io/org/app", "host")),
        ("org/app", Hints(host="elsewhere"), ("docker.io", "org/app", "default")),
        # ns outweighs listener and host
        (
            "org/app",
            Hints(namespace="ghcr.io", listener="quay.io"),
            ("ghcr.io", "ghcr.io/org/app", "ns"),
        ),
    ],
)
def test_each_form_finds_its_upstream(
    repository: str, hints: Hints, expected: tuple[str, str, str]
) -> None:
    """The forms of facts/protocol.md 5, in their order."""
    assert route(repository, hints) == expected


def test_an_unknown_namespace_is_never_answered_from_another_upstream() -> None:
    """Not even from the default one."""
    with pytest.raises(NamespaceUnknownError):
        route("org/app", Hints(namespace="evil.example"))


def test_path_and_namespace_that_disagree_are_refused() -> None:
    """Nobody can say which of the two was meant, wherever in the path the name stands."""
    with pytest.raises(NamespaceConflictError):
        route("ghcr.io/org/app", Hints(namespace="quay.io"))
    with pytest.raises(NamespaceConflictError):
        route("org/app", Hints(prefix="ghcr.io", namespace="quay.io"))


@pytest.mark.parametrize(
    ("repository", "hints", "heeded"),
    [
        ("org/app", Hints(namespace="ghcr.io"), True),
        ("ghcr.io/org/app", Hints(namespace="ghcr.io"), True),
        ("org/app", Hints(prefix="ghcr", namespace="ghcr.io"), True),
        ("ghcr.io/org/app", Hints(namespace="mirror:5000"), False),
        ("ghcr.io/org/app", Hints(), False),
        ("org/app", Hints(listener="ghcr.io"), False),
    ],
)
def test_it_is_told_whether_the_namespace_was_heeded(
    repository: str, hints: Hints, *, heeded: bool
) -> None:
    """Also where it says what the path says too; an answer then repeats it."""
    assert ROUTER.route(RepositoryName(repository), hints).heeds_namespace is heeded


def test_an_upstream_is_no_repository() -> None:
    """The bare name of an upstream leaves nothing to ask for."""
    with pytest.raises(RepositoryUnknownError):
        route("ghcr.io")


@pytest.mark.parametrize(
    ("repository", "admitted"),
    [
        ("org/app", True),
        ("org/team/app", True),
        ("public/app", True),
        ("public/other", False),
        ("org/secret-app", False),
    ],
)
def test_rules_of_an_upstream_decide_what_passes(repository: str, *, admitted: bool) -> None:
    """What allow does not name, or deny names, is refused before anybody is asked."""
    if admitted:
        assert route(repository, Hints(namespace="quay.io"))[1] == f"quay.io/{repository}"
    else:
        with pytest.raises(RepositoryDeniedError):
            route(repository, Hints(namespace="quay.io"))


names = st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8}){0,3}", fullmatch=True)


@given(names, st.sampled_from(["docker.io", "ghcr.io"]))
def test_path_prefix_and_namespace_mean_the_same(name: str, upstream: str) -> None:
    """However a client says it, it gets to the same place, under a valid stored name."""
    by_path = route(f"{upstream}/{name}")[:2]
    by_prefix = route(name, Hints(prefix=upstream))[:2]
    by_namespace = route(name, Hints(namespace=upstream))[:2]

    assert by_path == by_prefix == by_namespace
    assert parse_repository(by_path[1]) == by_path[1]


@given(names)
def test_upstreams_never_share_a_stored_name(name: str) -> None:
    """The same repository and tag on two upstreams never mix."""
    stored = {route(name, Hints(namespace=upstream))[1] for upstream in ("docker.io", "ghcr.io")}

    assert len(stored) == 2
