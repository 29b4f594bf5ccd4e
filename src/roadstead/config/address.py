"""Network addresses in Go's form: ``host:port``, ``:port``, ``[::1]:5000``."""

import re
from dataclasses import dataclass
from typing import Final

from roadstead.config.refusal import UnusableValueError

MAX_PORT: Final = 65535

_FORM = re.compile(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/\[\]]*)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Where to listen or to connect; ``host`` is None for every interface."""

    host: str | None
    port: int


def parse_address(text: str) -> SocketAddress:
    """Read an address; port 0 lets the system choose.

    Raises:
        UnusableValueError: it has no port, or is no address at all.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        message = "is not an address with a port"
        raise UnusableValueError(message, fix=_fix(text.strip()))
    port = int(match[3])
    if port > MAX_PORT:
        message = f"has a port above {MAX_PORT}"
        raise UnusableValueError(message, fix="use a port from 1 to 65535")
    return SocketAddress(match[1] or match[2] or None, port)


def _fix(text: str) -> str:
    if text.isdigit():
        return f'use ":{text}"'
    if "://" in text:
        return "leave the scheme out: host:port"
    return "use host:port, or :port for every interface"
