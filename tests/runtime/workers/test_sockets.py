"""The listening sockets of the workers."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadstead.config.address import SocketAddress
from roadstead.runtime.systemd import InheritedSockets
from roadstead.runtime.workers.sockets import AssignedSockets, Place, WorkerSockets

LOOPBACK = SocketAddress("127.0.0.1", 0)


@pytest.fixture
def sockets() -> Iterator[WorkerSockets]:
    """Give sockets that are closed at the end."""
    made = WorkerSockets()
    yield made
    made.close()


async def opened(
    sockets: WorkerSockets, place: Place, count: int, *, known: WorkerSockets | None = None
) -> None:
    """Open sockets at one address."""
    inherited = InheritedSockets([])
    await sockets.open([place], count, inherited=inherited, known=known or WorkerSockets())


async def test_each_worker_has_a_socket_of_the_same_address(sockets: WorkerSockets) -> None:
    """The kernel spreads connections over them; each of them answers."""
    await opened(sockets, LOOPBACK, 3)
    names = [sockets.of(worker)[0][1][0].getsockname() for worker in range(3)]
    assert len(set(names)) == 1
    accepted = set()
    with contextlib.ExitStack() as stack:
        for _ in range(64):
            stack.enter_context(socket.create_connection(names[0]))
        for worker in range(3):
            for one in sockets.of(worker)[0][1]:
                with contextlib.suppress(BlockingIOError):
                    one.accept()[0].close()
                    accepted.add(worker)
    assert accepted == {0, 1, 2}


async def test_a_taken_address_is_refused(sockets: WorkerSockets) -> None:
    """Also where SO_REUSEPORT would let it be shared with a stranger."""
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(OSError, match="in use"):
            await opened(sockets, SocketAddress("127.0.0.1", stranger.getsockname()[1]), 2)


async def test_every_interface_is_both_families(sockets: WorkerSockets) -> None:
    """On one port."""
    await opened(sockets, SocketAddress(None, 0), 2)
    ((_, each),) = sockets.of(1)
    assert {one.family for one in each} == {socket.AF_INET, socket.AF_INET6}
    assert len({one.getsockname()[1] for one in each}) == 1


async def test_a_unix_socket_is_shared(sockets: WorkerSockets, tmp_path: Path) -> None:
    """There is one, and all accept from it."""
    await opened(sockets, tmp_path / "socket", 2)
    assert sockets.of(0) == sockets.of(1)


async def test_a_reload_keeps_what_listens(sockets: WorkerSockets) -> None:
    """The same address has the same sockets, as many more as there are more workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = SocketAddress("127.0.0.1", probe.getsockname()[1])
    await opened(sockets, place, 2)
    after = WorkerSockets()
    await opened(after, place, 3, known=sockets)
    sockets.close()
    try:
        names = {after.of(worker)[0][1][0].getsockname()[1] for worker in range(3)}
        assert names == {place.port}
        # What is shared with duplicates must not make a worker block in accept.
        assert not any(one.getblocking() for one in after.of(0)[0][1])
        with socket.create_connection(("127.0.0.1", place.port)):
            pass
    finally:
        after.close()


async def test_a_handed_over_socket_is_shared(sockets: WorkerSockets) -> None:
    """That of systemd, which does not say that it may be bound again."""
    given = socket.create_server(("127.0.0.1", 0))
    place = SocketAddress("127.0.0.1", given.getsockname()[1])
    inherited = InheritedSockets([given])
    await sockets.open([place], 2, inherited=inherited, known=WorkerSockets())
    assert sockets.of(0)[0][1] == sockets.of(1)[0][1] == [given]


async def test_assigned_sockets_are_claimed_by_their_address() -> None:
    """Whatever port they have."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        assigned = AssignedSockets([(LOOPBACK, [one])])
        assert assigned.claim(Path("/another")) == []
        assert assigned.claim(LOOPBACK) == [one]
        assert assigned.claim(LOOPBACK) == []
