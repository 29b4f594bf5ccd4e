"""No test leaves this machine."""

import socket
from collections.abc import Callable

import pytest

from tests.support.network import is_loopback, take_refused

# RFC 5737 and RFC 3849: addresses for documentation, which nobody has.
ELSEWHERE = "192.0.2.1"
ELSEWHERE_6 = "2001:db8::1"


@pytest.mark.parametrize(
    "attempt",
    [
        lambda: socket.create_connection((ELSEWHERE, 80), timeout=0.1),
        lambda: _connect(ELSEWHERE),
        lambda: _send(ELSEWHERE),
        lambda: socket.getaddrinfo("registry-1.docker.io", 443),
        lambda: socket.gethostbyname("registry-1.docker.io"),
    ],
    ids=["create_connection", "connect_ex", "sendto", "getaddrinfo", "gethostbyname"],
)
def test_no_way_leads_out(attempt: Callable[[], object]) -> None:
    """Connections, datagrams and look-ups are refused at once, and remembered."""
    with pytest.raises(PermissionError, match="loopback"):
        attempt()

    assert len(take_refused()) == 1


def test_an_invalid_name_has_no_address() -> None:
    """What RFC 6761 promises of .invalid holds without a resolver, and is no offence."""
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("registry.invalid", 80)

    assert take_refused() == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.3", "::1", "localhost", None, "", b"::1"])
def test_this_machine_is_allowed(host: object) -> None:
    """All of 127.0.0.0/8, IPv6 loopback and localhost stay inside."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", [ELSEWHERE, ELSEWHERE_6, "10.0.0.1", "169.254.169.254", "a.b"])
def test_everything_else_is_not(host: str) -> None:
    """Private and link-local addresses are elsewhere as well."""
    assert not is_loopback(host)


def _connect(host: str) -> None:
    with socket.socket() as stream:
        stream.connect_ex((host, 80))


def _send(host: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(b"", (host, 9))
