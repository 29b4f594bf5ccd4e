"""Listening sockets: TCP or unix, plain or TLS, with a graceful end."""

import asyncio
import errno
import socket
import ssl
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from roadstead.server.connection import RequestHandler, Server
from roadstead.server.limits import Guard, LimitRules
from roadstead.server.repeats import Repeats

_BACKLOG: Final = 1024
_LONGEST_HANDSHAKE_SECONDS: Final = 10.0
_HEARING_SECONDS: Final = 1.0
_LOOKS: Final = 50


class Listener:
    """One address that is served until ``aclose``."""

    def __init__(
        self,
        handler: RequestHandler,
        *,
        drain_seconds: float,
        repeats: Repeats | None = None,
        guard: Guard | None = None,
    ) -> None:
        """``drain_seconds`` is how long requests under way may go on at the end.

        ``repeats`` are the requests that are answered without ``handler``;
        listeners that share a ``guard`` share its limits.
        """
        guard = guard or Guard(LimitRules())
        self._server = Server(handler, repeats, guard=guard)
        self._handshake_seconds = min(_LONGEST_HANDSHAKE_SECONDS, guard.rules.idle_seconds)
        self._drain_seconds = drain_seconds
        self._servers: list[asyncio.Server] = []

    async def listen_tcp(
        self, host: str | None, port: int, *, context: ssl.SSLContext | None = None
    ) -> int:
        """Listen on ``host`` (None: all addresses, IPv4 and IPv6); return the port.

        Raises:
            OSError: the address cannot be bound.
        """
        await self._start(context, host=host, port=port)
        bound: int = self._servers[0].sockets[0].getsockname()[1]
        return bound

    async def listen_on(
        self, inherited: Sequence[socket.socket], *, context: ssl.SSLContext | None = None
    ) -> int | None:
        """Serve sockets that listen already; return their port, None for a unix socket."""
        for one in inherited:
            # Of a unix socket too: it is the same to accept, and nothing unlinks its path.
            await self._start(context, sock=one)
        name = inherited[0].getsockname()
        return name[1] if isinstance(name, tuple) else None

    async def listen_unix(self, path: Path) -> None:
        """Listen on a unix socket; one that a dead process left at ``path`` is replaced.

        Raises:
            OSError: the path is taken by something else or in use, or cannot be bound.
        """
        await self.listen_on([bind_unix(path)])

    def sockets(self) -> list[socket.socket]:
        """Return duplicates of the listening sockets, for whoever takes over."""
        return [one.dup() for server in self._servers for one in server.sockets]

    async def stop_accepting(self) -> None:
        """Take no new connection; those that are open go on. Idempotent."""
        loop = asyncio.get_running_loop()
        for one in (one for server in self._servers for one in server.sockets):
            loop.remove_reader(one.fileno())
        # asyncio drops a connection that it has accepted when the server is closed before its
        # transport is made, which it is in the next round of the loop.
        await _rounds(2)
        for server in self._servers:
            server.close()

    async def _start(self, context: ssl.SSLContext | None, **where: Any) -> None:  # noqa: ANN401 - those of create_server
        if context is not None:
            # A connection becomes one of the guard's when its handshake is over.
            where["ssl_handshake_timeout"] = self._handshake_seconds
        loop = asyncio.get_running_loop()
        self._servers.append(
            await loop.create_server(self._server, ssl=context, backlog=_BACKLOG, **where)
        )

    async def aclose(self) -> None:
        """Stop listening, let requests under way finish within the drain time, close."""
        await self._close(self._drain_seconds)

    async def finish(self) -> None:
        """As ``aclose``, but without a limit of time."""
        await self._close(None)

    async def _close(self, drain_seconds: float | None) -> None:
        await self.stop_accepting()
        await self._hear_the_last()
        # What has arrived becomes a request before idle connections are closed. A round polls
        # after it has taken up this task, so what it finds is read in the next one.
        await _rounds(2)
        self._server.pre_shutdown()
        await self._server.shutdown(drain_seconds)

    async def _hear_the_last(self) -> None:
        """Let who has just connected ask: the connection is there before its first request."""
        since = self._server.now() - _HEARING_SECONDS
        for _ in range(_LOOKS):
            if not self._server.is_awaiting(since):
                return
            await asyncio.sleep(_HEARING_SECONDS / _LOOKS)


async def _rounds(count: int) -> None:
    """Let the event loop go round so often."""
    for _ in range(count):
        await asyncio.sleep(0)


def bind_unix(path: Path) -> socket.socket:
    """Make a listening unix socket; one that a dead process left at ``path`` is replaced.

    Raises:
        OSError: the path is taken by something else or in use, or cannot be bound.
    """
    _remove_stale_socket(path)
    bound = socket.socket(socket.AF_UNIX)
    bound.settimeout(0)
    try:
        bound.bind(str(path))
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound


def _remove_stale_socket(path: Path) -> None:
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        message = f"{path} exists and is not a socket"
        raise FileExistsError(message)
    if _is_served(path):
        raise OSError(errno.EADDRINUSE, "another process answers on it", str(path))
    path.unlink()


def _is_served(path: Path) -> bool:
    """Say whether a process holds the socket; one that died left it to refuse connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # noqa: FBT003 - the method of a socket
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            # Busy, of another kind, or not ours to ask: not ours to replace either.
            return True
    return True
