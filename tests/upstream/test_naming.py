"""Which registry a host is asked for, where it is not that registry itself."""

import pytest

from roadstead.upstream.naming import namespace_at


@pytest.mark.parametrize(
    ("host", "name", "origin", "expected"),
    [
        ("registry-1.docker.io", "docker.io", "registry-1.docker.io", None),
        ("near.corp:5000", "docker.io", "registry-1.docker.io", "docker.io"),
        ("ghcr.io", "ghcr.io", "ghcr.io", None),
        ("central.corp", "ghcr.io", "central.corp", "ghcr.io"),
        ("near.corp", "ghcr.io", "ghcr.io", "ghcr.io"),
        ("harbor.corp:8443", "harbor.corp:8443", "harbor.corp:8443", None),
        # A name that no client could use as a registry's tells nothing.
        ("harbor.corp", "team", "harbor.corp", None),
        ("near.corp", "team", "harbor.corp", "harbor.corp"),
        ("near.corp", "hub", "registry-1.docker.io", "docker.io"),
    ],
)
def test_a_mirror_is_told_which_registry_is_meant(
    host: str, name: str, origin: str, expected: str | None
) -> None:
    """By the name that clients know the registry by."""
    assert namespace_at(host, name=name, origin=origin) == expected
