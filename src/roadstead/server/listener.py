"""Listening sockets: TCP or unix, plain or TLS, with a graceful end."""

import asyncio
import errno
import socket
import ssl
import stat
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from roadstead.server.connection import RequestHandler, Server
from roadstead.server.limits import Guard, LimitRules
from roadstead.server.repeats import Repeats

_BACKLOG: Final = 1024
_LONGEST_HANDSHAKE_SECONDS: Final = 10.0


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
        self._runner = web.ServerRunner(self._server, shutdown_timeout=drain_seconds)

    async def listen_tcp(
        self, host: str | None, port: int, *, context: ssl.SSLContext | None = None
    ) -> int:
        """Listen on ``host`` (None: all addresses, IPv4 and IPv6); return the port.

        Raises:
            OSError: the address cannot be bound.
        """
        await self._start(context, host=host, port=port)
        bound: int = self._runner.addresses[0][1]
        return bound

    async def listen_on(
        self, inherited: socket.socket, *, context: ssl.SSLContext | None = None
    ) -> int | None:
        """Serve a socket that listens already; return its port, None for a unix socket."""
        await self._start(context, sock=inherited)
        name = inherited.getsockname()
        return name[1] if isinstance(name, tuple) else None

    async def listen_unix(self, path: Path) -> None:
        """Listen on a unix socket; one that a dead process left at ``path`` is replaced.

        Raises:
            OSError: the path is taken by something else or in use, or cannot be bound.
        """
        _remove_stale_socket(path)
        await self._runner.setup()
        await web.UnixSite(self._runner, path, backlog=_BACKLOG).start()

    async def _start(self, context: ssl.SSLContext | None, **where: Any) -> None:  # noqa: ANN401 - those of create_server
        await self._runner.setup()
        if context is not None:
            where["ssl_handshake_timeout"] = self._handshake_seconds
        await _Site(self._runner, self._server, context, **where).start()

    async def aclose(self) -> None:
        """Stop listening, let requests under way finish within the drain time, close."""
        await self._runner.cleanup()


class _Site(web.BaseSite):
    """aiohttp's sites, with a limit on TLS handshakes.

    A connection becomes one of the guard's when its handshake is over.
    """

    __slots__ = ("_make", "_where")

    def __init__(
        self,
        runner: web.ServerRunner,
        make: Server,
        context: ssl.SSLContext | None,
        **where: Any,  # noqa: ANN401 - those of create_server
    ) -> None:
        """``where`` is for ``create_server``."""
        super().__init__(runner, ssl_context=context, backlog=_BACKLOG)
        self._make = make
        self._where = where

    @property
    def name(self) -> str:
        """See aiohttp."""
        return str(self._where)

    async def start(self) -> None:
        """See aiohttp."""
        await super().start()
        self._server = await asyncio.get_running_loop().create_server(
            self._make, ssl=self._ssl_context, backlog=self._backlog, **self._where
        )


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
