"""What systemd hands to a service, and what it wants to hear: sockets and notifications.

Sockets can also come from an earlier generation of the same process (runtime/generations.py).
A socket that systemd holds outlives a restart: connections that arrive meanwhile wait in it
(systemd.socket(5), sd_listen_fds(3)). Notifications tell when the mirror serves and when it
stops (sd_notify(3)). Where neither variable is set nothing happens.
"""

import logging
import os
import socket
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from roadstead.config.address import SocketAddress

_log = logging.getLogger("roadstead.runtime")

_FIRST_DESCRIPTOR: Final = 3


class InheritedSockets:
    """Listening sockets that were handed over, each to be claimed by one listener."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self._sockets = sockets

    @classmethod
    def of_process(cls, environ: MutableMapping[str, str]) -> "InheritedSockets":
        """Take over what ``LISTEN_FDS`` names, if ``LISTEN_PID`` means this process.

        Both variables are removed, so that no child takes them for its own.
        """
        meant = environ.pop("LISTEN_PID", "")
        count = environ.pop("LISTEN_FDS", "")
        environ.pop("LISTEN_FDNAMES", None)
        if meant != str(os.getpid()) or not count.isdecimal():
            return cls([])
        descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(count))
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        for one in sockets:
            one.set_inheritable(False)
            one.settimeout(0)
        return cls(sockets)

    def claim(self, address: SocketAddress | Path) -> list[socket.socket]:
        """Return the sockets for a configured address: the same port, or the same path.

        The host is systemd's to choose: ``ListenStream=5000`` is every interface. There may be
        two, for IPv4 and IPv6.
        """
        wanted = address if isinstance(address, Path) else address.port
        found = [one for one in self._sockets if _place(one) == wanted]
        self._sockets = [one for one in self._sockets if one not in found]
        return found

    def report_unclaimed(self) -> None:
        """Warn of sockets that no listener was for: their clients would wait for ever."""
        for one in self._sockets:
            _log.warning(
                "a socket was handed over whose address is not configured; it is closed",
                extra={"fields": {"address": str(one.getsockname())}},
            )
        self.close()

    def close(self) -> None:
        """Close what was not claimed. Idempotent."""
        for one in self._sockets:
            one.close()
        self._sockets.clear()


def _place(one: socket.socket) -> int | Path:
    name = one.getsockname()
    return int(name[1]) if isinstance(name, tuple) else Path(os.fsdecode(name))


def notify(state: str, socket_path: str | None) -> None:
    """Tell systemd a state such as ``READY=1``; ``socket_path`` is ``NOTIFY_SOCKET``.

    A service manager that does not listen is no reason to fail.
    """
    if not socket_path:
        return
    # A leading @ stands for the abstract namespace.
    address = f"\0{socket_path[1:]}" if socket_path.startswith("@") else socket_path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(state.encode(), address)
        except OSError as error:
            _log.warning("systemd could not be told", extra={"fields": {"error": str(error)}})
