"""What systemd hands to a service, and what it wants to hear: sockets and notifications.

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

    def claim(self, address: SocketAddress | Path) -> socket.socket | None:
        """Return the socket for a configured address: the same port, or the same path.

        The host is systemd's to choose: ``ListenStream=5000`` is every interface.
        """
        for one in self._sockets:
            name = one.getsockname()
            found = name[1] if isinstance(name, tuple) else Path(os.fsdecode(name))
            wanted = address if isinstance(address, Path) else address.port
            if found == wanted:
                self._sockets.remove(one)
                return one
        return None

    def report_unclaimed(self) -> None:
        """Warn of sockets that no listener was for: their clients would wait for ever."""
        for one in self._sockets:
            _log.warning(
                "systemd handed over a socket at an address that is not configured; it is closed",
                extra={"fields": {"address": str(one.getsockname())}},
            )
            one.close()
        self._sockets.clear()


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
