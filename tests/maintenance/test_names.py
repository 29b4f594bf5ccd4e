"""Names and patterns of images, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.errors import InvalidReferenceError
from roadstead.maintenance.names import ImageNames
from roadstead.mirror.routing import RouteRules
from roadstead.oci.digest import Digest
from roadstead.oci.imagepattern import ImagePattern
from roadstead.oci.reference import RepositoryName, Tag

NAMES = ImageNames(
    [
        RouteRules(
            "docker.io", frozenset({"docker.io", "registry-1.docker.io"}), adds_library=True
        ),
        RouteRules("ghcr.io", frozenset({"ghcr.io"}), store_prefix="ghcr.io/"),
        RouteRules("harbor:5000", frozenset({"harbor:5000", "h"}), store_prefix="harbor_5000/"),
    ],
    default="docker.io",
)


@pytest.mark.parametrize(
    ("stored", "full"),
    [
        ("library/alpine", "docker.io/library/alpine"),
        ("ghcr.io/org/app", "ghcr.io/org/app"),
        ("harbor_5000/team/app", "harbor:5000/team/app"),
        ("gone.example/app", "docker.io/gone.example/app"),
    ],
)
def test_stored_names_have_a_full_form(stored: str, full: str) -> None:
    """And back."""
    assert NAMES.full(RepositoryName(stored)) == full
    assert NAMES.stored(full) == stored


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("alpine", "docker.io/library/alpine"),
        ("alpine:3.*", "docker.io/library/alpine:3.*"),
        ("org/app", "docker.io/org/app"),
        ("registry-1.docker.io/alpine", "docker.io/library/alpine"),
        ("docker.io/**", "docker.io/**"),
        ("ghcr.io/org/**", "ghcr.io/org/**"),
        ("harbor:5000/team/app:1", "harbor:5000/team/app:1"),
        ("h/team/*", "harbor:5000/team/*"),
        ("**", "**"),
        ("**:latest", "**:latest"),
        ("*.io/org/app", "*.io/org/app"),
        ("alpine@sha256:ab*", "docker.io/library/alpine@sha256:ab*"),
    ],
)
def test_short_patterns_mean_what_they_mean_to_docker(text: str, meant: str) -> None:
    """Aliases become the configured name."""
    assert str(NAMES.pattern(text)) == meant


@pytest.mark.parametrize(
    "text",
    ["", "/", "a//b", "Alpine", "a b", "alpine:", "alpine:a/b", "alpine@latest", "quay.io/a"],
)
def test_what_can_match_nothing_is_refused(text: str) -> None:
    """A pin with a slip of the pen must not pass for one."""
    with pytest.raises(InvalidReferenceError):
        NAMES.pattern(text)


@pytest.mark.parametrize(
    ("pattern", "name", "tags", "matches"),
    [
        ("docker.io/library/alpine:*", "docker.io/library/alpine", ["3.20"], True),
        ("docker.io/library/alpine:*", "docker.io/library/alpine", [], False),
        ("docker.io/library/alpine", "docker.io/library/alpine", [], True),
        ("docker.io/library/alpine:3.?", "docker.io/library/alpine", ["3.20", "3.9"], True),
        ("docker.io/library/*", "docker.io/library/alpine/edge", [], False),
        ("ghcr.io/org/**", "ghcr.io/org/a/b", [], True),
        ("ghcr.io/org/**", "ghcr.io/organisation", [], False),
        ("ghcr.io/org/a.b", "ghcr.io/org/a-b", [], False),
        ("**", "docker.io/library/alpine", [], True),
    ],
)
def test_patterns_match_whole_names(
    pattern: str,
    name: str,
    tags: list[str],
    matches: bool,  # noqa: FBT001 - a case's answer
) -> None:
    """One star stays within a slash, two cross it."""
    assert ImagePattern.parse(pattern).matches(name, map(Tag, tags), []) is matches


def test_a_digest_may_be_a_pattern_too() -> None:
    """As printed by a plan, and cut short with a star."""
    digest = Digest.of(b"content")
    for text in (f"ghcr.io/app@{digest}", f"ghcr.io/app@{str(digest)[:20]}*", "ghcr.io/app@*"):
        assert ImagePattern.parse(text).matches("ghcr.io/app", [], [digest])
    assert not ImagePattern.parse(f"ghcr.io/app@{Digest.of(b'other')}").matches(
        "ghcr.io/app", [], [digest]
    )


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_is_refused(text: str) -> None:
    """And what is read is written as it was."""
    try:
        pattern = ImagePattern.parse(text)
    except InvalidReferenceError:
        return
    assert str(pattern) == text
