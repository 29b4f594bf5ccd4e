"""Origins are compared whole, redirects keep their signature, printed addresses lose it."""

import pytest

from roadstead.upstream.address import Origin, printable, redirect_target


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Registry.Example.com/v2/", Origin("https", "registry.example.com", 443)),
        ("http://host:5000", Origin("http", "host", 5000)),
        ("https://host.:443/x", Origin("https", "host", 443)),
        ("http://[::1]:5000/", Origin("http", "::1", 5000)),
    ],
)
def test_origins_are_read(url: str, origin: Origin) -> None:
    """Case, a final dot and the default port make no difference."""
    assert Origin.parse(url) == origin
    assert Origin.parse(origin.url) == origin


@pytest.mark.parametrize("url", ["ftp://host", "https://", "host:5000", "https://u:p@host", "/x"])
def test_what_is_no_origin_is_refused(url: str) -> None:
    """Another scheme, no host, or user information is an error."""
    with pytest.raises(ValueError, match=r"."):
        Origin.parse(url)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/other/path?sig=a%2Fb", "https://host/other/path?sig=a%2Fb"),
        ("https://cdn.example/x?sig=a%2fb+c#part", "https://cdn.example/x?sig=a%2fb+c"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("next", "https://host/v2/app/blobs/next"),
        ("/with a space", "https://host/with%20a%20space"),
    ],
)
def test_redirects_are_resolved_without_touching_signatures(location: str, target: str) -> None:
    """Relative targets are resolved, what is encoded stays as it is."""
    assert redirect_target("https://host/v2/app/blobs/sha256:1", location) == target


@pytest.mark.parametrize("location", ["http://host/x", "ftp://host/x", "https://u:p@host/x"])
def test_redirects_never_lose_tls(location: str) -> None:
    """Https never leads to http, nor to anything that is no http."""
    with pytest.raises(ValueError, match=r"."):
        redirect_target("https://host/", location)


def test_printed_addresses_hold_no_secret() -> None:
    """Neither user information nor a query is printed."""
    assert printable("https://u:p@host/path?signature=s") == "https://host/path"
