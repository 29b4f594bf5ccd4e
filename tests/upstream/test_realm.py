"""Tokens are asked for at the registry's own domain and at listed hosts, and nowhere else."""

import pytest

from roadstead.upstream.address import Origin
from roadstead.upstream.realm import refusal_of_realm


@pytest.mark.parametrize(
    ("upstream", "realm"),
    [
        ("https://registry-1.docker.io", "https://auth.docker.io/token"),
        ("https://ghcr.io", "https://ghcr.io/token"),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
        ("https://registry.corp.example:5000", "https://auth.corp.example/token"),
        ("https://registry.example.co.uk", "https://auth.example.co.uk/token"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token"),
        ("http://localhost:5000", "http://localhost:5000/token"),
        ("http://registry.corp.example", "https://auth.corp.example/token"),
        ("https://[::1]:5000", "https://[::1]:5000/token"),
    ],
)
def test_own_realms_are_used(upstream: str, realm: str) -> None:
    """The same host and port, or a host of the same registrable domain, may be asked."""
    assert _refusal(realm, upstream) is None


@pytest.mark.parametrize(
    ("upstream", "realm"),
    [
        ("https://registry.example.com", "https://evil.example.net/token"),
        ("https://registry.example.com", "https://example.com.evil.net/token"),
        ("https://registry.example.com", "https://registry.example.com@evil.net/token"),
        ("https://registry.example.com", "https://user:pw@registry.example.com/token"),
        ("https://registry.example.com", "http://registry.example.com/token"),
        ("https://registry.example.com", "http://auth.example.com/token"),
        ("https://registry.example.com", "https://169.254.169.254/latest/meta-data"),
        ("https://registry.example.com", "https://127.0.0.1/token"),
        ("https://registry.example.com", "https://127.1/token"),
        ("https://registry.example.com", "https://[fe80::1]/token"),
        ("https://registry.example.com", "https://10.0.0.1/token"),
        ("https://registry.example.com", "https://localhost/token"),
        ("https://registry.example.com", "ftp://registry.example.com/token"),
        ("https://registry.example.com", "/token"),
        ("https://registry.example.com", ""),
        ("https://registry.example.com", "https://[bad/token"),
        ("https://registry.example.co.uk", "https://evil.co.uk/token"),
        ("https://mine.github.io", "https://yours.github.io/token"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
        ("http://10.0.0.1:5000", "http://10.0.0.2:5000/token"),
        ("http://localhost:5000", "http://localhost:5001/token"),
        ("http://a.localhost:5000", "http://b.localhost:5000/token"),
        ("https://lscr.io", "https://ghcr.io/token"),
    ],
)
def test_foreign_realms_are_refused(upstream: str, realm: str) -> None:
    """Another domain, an address, plain http, user information: none of them is asked."""
    assert _refusal(realm, upstream) is not None


@pytest.mark.parametrize("listed", ["ghcr.io", "ghcr.io:443"])
def test_a_listed_host_is_used(listed: str) -> None:
    """The operator may name a token server elsewhere, with or without its port."""
    assert _refusal("https://ghcr.io/token", "https://lscr.io", listed) is None
    assert _refusal("https://ghcr.io:444/token", "https://lscr.io", "ghcr.io:443") is not None


def test_listing_a_host_does_not_allow_plain_http() -> None:
    """A listed host gets no credentials without TLS from a registry that has it."""
    assert _refusal("http://ghcr.io/token", "https://lscr.io", "ghcr.io") is not None


def _refusal(realm: str, upstream: str, *trusted: str) -> str | None:
    return refusal_of_realm(realm, upstream=Origin.parse(upstream), trusted=frozenset(trusted))
