"""Every way to write a registry's name means that registry, and no other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.upstream.serverkeys import ServerKey

_WORDS = st.text("abc", min_size=1, max_size=2)
_PATHS = st.lists(_WORDS, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ghcr.io", ServerKey("ghcr.io")),
        (" GHCR.io ", ServerKey("ghcr.io")),
        ("https://ghcr.io", ServerKey("ghcr.io")),
        ("https://ghcr.io/", ServerKey("ghcr.io")),
        ("https://ghcr.io/v1/", ServerKey("ghcr.io")),
        ("ghcr.io/v2/", ServerKey("ghcr.io")),
        ("https://ghcr.io/v1/users/", ServerKey("ghcr.io")),
        ("ghcr.io:443", ServerKey("ghcr.io")),
        ("http://ghcr.io:80", ServerKey("ghcr.io")),
        ("http://ghcr.io:443", ServerKey("ghcr.io:443")),
        ("registry.local:5000", ServerKey("registry.local:5000")),
        ("[::1]:5000", ServerKey("[::1]:5000")),
        ("https://alice:secret@ghcr.io", ServerKey("ghcr.io")),
        ("https://index.docker.io/v1/", ServerKey("docker.io")),
        ("index.docker.io", ServerKey("docker.io")),
        ("docker.io", ServerKey("docker.io")),
        ("https://registry-1.docker.io", ServerKey("docker.io")),
        ("docker.io/library", ServerKey("docker.io", "library")),
        ("quay.io/org/app/", ServerKey("quay.io", "org/app")),
        ("quay.io/v1beta", ServerKey("quay.io", "v1beta")),
        ("", ServerKey("")),
    ],
)
def test_a_key_is_normalised(text: str, key: ServerKey) -> None:
    """Scheme, case, the API's path and a default port make no difference; a namespace does."""
    assert ServerKey.parse(text) == key


@pytest.mark.parametrize(
    ("text", "host", "covers"),
    [
        ("*.example.com", "eu.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.b.example.com", False),
        ("reg-*.example.com:5000", "reg-1.example.com:5000", True),
        ("reg-*.example.com", "reg-1.example.com:5000", False),
        ("*", "com", True),
        ("*", "example.com", False),
        ("ghcr.io", "ghcr.io", True),
        ("ghcr.io", "ghcr.io.evil.example", False),
        ("ghcr.io", "xghcr.io", False),
        ("*.ghcr.io", "xghcr.io", False),
    ],
)
def test_a_key_is_for_its_host_only(text: str, host: str, *, covers: bool) -> None:
    """A star stands for a part of one label, everything else for itself."""
    assert ServerKey.parse(text).covers_host(host) is covers


@given(prefix=_PATHS, repository=_PATHS)
def test_a_prefix_ends_at_a_slash(prefix: str, repository: str) -> None:
    """A prefix covers a repository if it is the beginning of its components."""
    parts, wanted = repository.split("/"), prefix.split("/")

    covers = ServerKey("host", prefix).covers_repository(repository)

    assert covers == (parts[: len(wanted)] == wanted)


def test_stores_know_docker_hub_by_its_old_address() -> None:
    """Docker asks its stores for the index, and for any other registry by its host."""
    assert ServerKey.parse("docker.io").in_stores == "https://index.docker.io/v1/"
    assert ServerKey.parse("https://ghcr.io").in_stores == "ghcr.io"
