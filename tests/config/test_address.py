"""Addresses are Go's ``host:port``."""

import pytest

from roadstead.config.address import SocketAddress, parse_address
from roadstead.config.refusal import UnusableValueError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":5000", None, 5000),
        ("127.0.0.1:0", "127.0.0.1", 0),
        ("localhost:65535", "localhost", 65535),
        ("[::1]:5000", "::1", 5000),
    ],
)
def test_addresses_are_read(text: str, host: str | None, port: int) -> None:
    """A missing host means every interface."""
    assert parse_address(text) == SocketAddress(host, port)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("5000", 'use ":5000"'),
        ("http://localhost:5000", "leave the scheme out"),
        ("localhost", "host:port"),
        ("::1:5000", "host:port"),
        (":65536", "1 to 65535"),
        ("", "host:port"),
        ("a b:1", "host:port"),
    ],
)
def test_other_texts_are_refused_with_the_fix(text: str, fix: str) -> None:
    """The fix fits the mistake."""
    with pytest.raises(UnusableValueError) as caught:
        parse_address(text)

    assert fix in caught.value.fix
