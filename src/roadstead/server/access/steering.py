"""Who may steer the mirror: the calls of the debug listener that change something."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from roadstead.errors import AccessDeniedError
from roadstead.server.access.gate import Gate, peer_of
from roadstead.server.access.networks import parse_address

LOCAL: Final = "the local machine"
"""Who steers from the mirror's own machine without a proof."""

# A proxy on this machine makes every one of its clients look local; it says so by one of these.
_PROXIED: Final = ("X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Forwarded", "Via")


class SteeringGate:
    """Lets admins steer, and who is on the mirror's own machine.

    A browser is on many people's machine, and any page may tell it to send a request there; so
    what comes from a page of another origin is refused, whoever the browser is.
    """

    def __init__(self, gate: Gate) -> None:
        """``gate`` knows the proofs and the admins."""
        self._gate = gate

    def client(self, request: web.BaseRequest) -> str:
        """Return the address of whoever calls; empty on a unix socket."""
        return self._gate.client(request)

    async def authorise(self, request: web.BaseRequest) -> str:
        """Let a call through that changes something; return who makes it, for the audit log.

        Raises:
            AccessDeniedError: it is not for this caller.
            AuthenticationRequiredError: a proof may help, or what was shown is none.
            TooManyAttemptsError: see PasswordChecker.
        """
        host = request.headers.get("Host", "")
        if is_foreign_page(request.headers, host):
            message = "a page of another origin may not steer this mirror"
            raise AccessDeniedError(message)
        if is_local(peer_of(request), request.headers, host):
            return LOCAL
        return await self._gate.admin(request)


def is_local(peer: str | None, headers: Mapping[str, str], host: str) -> bool:
    """Say whether a request comes from this machine, as far as its headers do not deny it.

    A name in the Host header that is not the machine's own may have been bound to it by
    somebody else for the sake of a browser.
    """
    address = parse_address(peer) if peer is not None else None
    if address is None or not address.is_loopback:
        return False
    if any(name in headers for name in _PROXIED):
        return False
    return _is_loopback_name(_host_name(host))


def is_foreign_page(headers: Mapping[str, str], host: str) -> bool:
    """Say whether a browser sends this for a page that did not come from this listener."""
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc.lower() != host.lower()


def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_loopback_name(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
