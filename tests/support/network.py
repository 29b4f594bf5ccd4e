"""A guard: no test leaves the loopback interface, whatever the code under test tries.

The interpreter reports connections and look-ups to audit hooks (PEP 578), below every library.
What is refused here is also remembered, since the code under test may swallow the error.
"""

import ipaddress
import socket
import sys

_CONNECTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname"})
_LOCAL_NAMES = frozenset({"", "localhost"})

_refused: list[str] = []


def install() -> None:
    """Guard this process until its end; a hook cannot be removed."""
    sys.addaudithook(_audit)


def take_refused() -> list[str]:
    """Return what was refused since the last call."""
    taken = _refused.copy()
    _refused.clear()
    return taken


def is_loopback(host: object) -> bool:
    """Say whether a host, as socket functions take it, is this machine by itself."""
    if host is None:
        return True
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if name.lower().rstrip(".") in _LOCAL_NAMES:
        return True
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    # Servers look the wildcard up in order to bind it.
    return address.is_loopback or address.is_unspecified


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in _CONNECTS:
        address = arguments[1] if len(arguments) > 1 else None
        # AF_UNIX has names, netlink has numbers; only hosts come as (host, port, ...).
        if isinstance(address, tuple) and address and isinstance(address[0], str | bytes):
            _allow(address[0], event)
    elif event in _LOOK_UPS:
        host = arguments[0]
        if _is_nowhere(host):
            # RFC 6761: such a name has no address, and no server needs to be asked.
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        _allow(host, event)


def _is_nowhere(host: object) -> bool:
    return isinstance(host, str) and host.lower().rstrip(".").endswith(".invalid")


def _allow(host: object, event: str) -> None:
    if not is_loopback(host):
        _refused.append(f"{event} to {host!r}")
        message = f"a test must not leave the loopback interface: {event} to {host!r}"
        raise PermissionError(message)
