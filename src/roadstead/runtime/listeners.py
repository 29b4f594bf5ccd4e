"""Opens the listeners: the main one, those of single upstreams, and the debug one."""

import asyncio
import logging
import socket
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roadstead.config.address import SocketAddress
from roadstead.config.schema import Settings
from roadstead.mirror.mirrors import Mirrors
from roadstead.runtime.access import make_guard
from roadstead.runtime.calls import retention_calls
from roadstead.runtime.readiness import Readiness
from roadstead.runtime.status import StatusBoard
from roadstead.runtime.systemd import InheritedSockets
from roadstead.server.access.gate import Gate
from roadstead.server.access.steering import SteeringGate
from roadstead.server.app import RegistryApp
from roadstead.server.calls import SteeringCalls
from roadstead.server.connection import RequestHandler
from roadstead.server.debug import DebugApp
from roadstead.server.limits import Guard
from roadstead.server.listener import Listener
from roadstead.server.repeats import Repeats
from roadstead.server.tls import ServerTls
from roadstead.telemetry.debugvars import vars_snapshot
from roadstead.telemetry.events import Observer

_log = logging.getLogger("roadstead.runtime")


class Listeners:
    """Opens listeners one by one; the stack closes them all, draining at the same time."""

    def __init__(
        self,
        settings: Settings,
        stack: AsyncExitStack,
        *,
        inherited: InheritedSockets,
        tls: ServerTls | None,
        observe: Observer,
    ) -> None:
        """Share the limits of ``http.limits`` between all listeners but the debug one.

        That one is for when the others are busy.
        """
        self._stack = stack
        self._inherited = inherited
        self._listeners: list[Listener] = []
        self._drain_seconds = settings.http.draintimeout.total_seconds()
        self._guard = make_guard(settings, observe)
        self._context = tls.context if tls is not None else None
        self._suffix = ", tls" if self._context else ""

    async def open(self, address: SocketAddress | Path, app: RegistryApp) -> int | None:
        """Serve ``app``; return the port, None for a unix socket.

        Raises:
            OSError: the address cannot be bound.
        """
        listener = self._listener(app, app.repeats, guard=self._guard)
        handed_over = self._inherited.claim(address)
        if handed_over:
            _log.info("listening on %s, handed over%s", handed_over[0].getsockname(), self._suffix)
            return await listener.listen_on(handed_over, context=self._context)
        if isinstance(address, Path):
            await listener.listen_unix(address)
            _log.info("listening on %s", address)
            return None
        port = await listener.listen_tcp(address.host, address.port, context=self._context)
        _log.info("listening on %s:%d%s", address.host or "[::]", port, self._suffix)
        return port

    async def open_debug(
        self,
        settings: Settings,
        mirrors: Mirrors,
        board: StatusBoard,
        readiness: Readiness,
        gate: Gate,
    ) -> int | None:
        """Serve the debug pages, if they are wanted; return the port."""
        address = settings.http.debug.address
        if address is None:
            return None
        prometheus = settings.http.debug.prometheus
        endpoints = {one.name: one.url for one in settings.notifications.endpoints}
        crew = board.crew
        calls = {} if board.space is None else retention_calls(board.space.steering)

        async def explain(reference: str) -> Mapping[str, Any]:
            if crew is not None:
                # This process serves nobody: what it remembers may be old.
                mirrors.forget_all()
            return asdict(await mirrors.explain(reference))

        app = DebugApp(
            health=readiness.checks,
            ready=readiness.document,
            variables=lambda: vars_snapshot(board.totals(), sys.argv, endpoints=endpoints),
            metrics=lambda: board.totals().render(crew.processes if crew is not None else ()),
            metrics_path=prometheus.path if prometheus.enabled else None,
            status=lambda: board.document(mirrors),
            explain=explain,
            steering=SteeringCalls(SteeringGate(gate), calls),
            refresh=crew.refresh if crew is not None else None,
        )
        listener = self._listener(app)
        handed_over = self._inherited.claim(address)
        if handed_over:
            port = await listener.listen_on(handed_over)
        else:
            port = await listener.listen_tcp(address.host, address.port)
        _log.info("debug server listening %s:%s", address.host or "[::]", port)
        if prometheus.enabled:
            _log.info("providing prometheus metrics on %s", prometheus.path)
        return port

    def sockets(self) -> list[socket.socket]:
        """Return duplicates of all listening sockets, for whoever takes over."""
        return [one for listener in self._listeners for one in listener.sockets()]

    async def stop_accepting(self) -> None:
        """Take no new connection; those that are open go on."""
        await asyncio.gather(*(listener.stop_accepting() for listener in self._listeners))

    async def finish(self) -> None:
        """Wait until all requests under way are answered, however long that takes."""
        await asyncio.gather(*(listener.finish() for listener in self._listeners))

    def _listener(
        self, app: RequestHandler, repeats: Repeats | None = None, *, guard: Guard | None = None
    ) -> Listener:
        listener = Listener(app, drain_seconds=self._drain_seconds, repeats=repeats, guard=guard)
        self._listeners.append(listener)
        self._stack.push_async_callback(listener.aclose)
        return listener
