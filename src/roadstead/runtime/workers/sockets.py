"""The listening sockets of the workers, which the keeper opens and holds.

For a TCP address each worker has a socket of its own (SO_REUSEPORT), and the kernel spreads
connections over them. The keeper holds them too, so that connections wait while a worker is
restarted. Unix sockets, and sockets that systemd hands over, are shared by all.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from roadstead.config.address import SocketAddress
from roadstead.runtime.systemd import InheritedSockets
from roadstead.server.listener import bind_unix

_BACKLOG: Final = 1024

Place: TypeAlias = SocketAddress | Path
"""An address as it is configured."""


class WorkerSockets:
    """All listening sockets, by address and by worker."""

    def __init__(self) -> None:
        self._open: dict[Place, list[list[socket.socket]]] = {}

    async def open(
        self,
        places: Iterable[Place],
        count: int,
        *,
        inherited: InheritedSockets,
        known: "WorkerSockets",
    ) -> None:
        """Have sockets for ``count`` workers at each address, those that are ``known`` first.

        Raises:
            OSError: an address cannot be bound.
        """
        for place in places:
            before = known.duplicates(place)
            handed_over = inherited.claim(place)
            if before:
                self._open[place] = before
            elif handed_over:
                self._open[place] = [handed_over]
            elif isinstance(place, Path):
                self._open[place] = [[bind_unix(place)]]
            else:
                self._open[place] = [await _bound(place)]
            await self._extend(place, count)

    def of(self, worker: int) -> list[tuple[Place, list[socket.socket]]]:
        """Return the sockets of a worker; where all share some, those."""
        return [(place, each[worker % len(each)]) for place, each in self._open.items()]

    def duplicates(self, place: Place) -> list[list[socket.socket]]:
        """Return the sockets of an address again: the same port, or the same path."""
        for known, each in self._open.items():
            if known == place or (_port(known) and _port(known) == _port(place)):
                return [[one.dup() for one in sockets] for sockets in each]
        return []

    def ports(self) -> dict[Place, int]:
        """Return the ports of the TCP addresses."""
        return {
            place: each[0][0].getsockname()[1]
            for place, each in self._open.items()
            if not isinstance(place, Path)
        }

    def close(self) -> None:
        """Close all. Idempotent."""
        for each in self._open.values():
            for one in (one for sockets in each for one in sockets):
                one.close()
        self._open.clear()

    async def _extend(self, place: Place, count: int) -> None:
        each = self._open[place]
        first = each[0]
        if not all(_spreads(one) for one in first):
            return
        while len(each) < count:
            each.append([_listening(one.family, one.getsockname()) for one in first])


class AssignedSockets(InheritedSockets):
    """The sockets of one worker, by the addresses that they were opened for."""

    def __init__(self, assigned: Sequence[tuple[Place, list[socket.socket]]]) -> None:
        super().__init__([one for _, sockets in assigned for one in sockets])
        self._assigned = dict(assigned)

    def claim(self, address: Place) -> list[socket.socket]:
        """Return the sockets for a configured address."""
        found = self._assigned.pop(address, [])
        self._sockets = [one for one in self._sockets if one not in found]
        return found


async def _bound(place: SocketAddress) -> list[socket.socket]:
    """Bind every address that a host name stands for; none of them may be in use by others."""
    infos = await asyncio.get_running_loop().getaddrinfo(
        place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    port = place.port
    try:
        for family, _, _, _, address in dict.fromkeys(infos):
            # Without SO_REUSEPORT first, which would share the port with a stranger of our user.
            with _plain(family) as probe:
                probe.bind((address[0], port, *address[2:]))
                name = probe.getsockname()
            sockets.append(_listening(family, name))
            port = name[1]
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return sockets


def _listening(family: int, name: tuple[str | int, ...]) -> socket.socket:
    one = _plain(family)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(name)
        one.listen(_BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def _plain(family: int) -> socket.socket:
    one = socket.socket(family, socket.SOCK_STREAM)
    # All duplicates share this, and a duplicate of a blocking one would make them block.
    one.settimeout(0)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return one


def _port(place: Place) -> int | None:
    return None if isinstance(place, Path) else place.port


def _spreads(one: socket.socket) -> bool:
    """Say whether more sockets can be bound to the same address."""
    is_ip = one.family in {socket.AF_INET, socket.AF_INET6}
    return is_ip and bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT))
