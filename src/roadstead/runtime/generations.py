"""The life of the process: generations of a mirror, one after the other on the same sockets.

A reload (SIGHUP) builds a whole new mirror from the changed configuration, hands it the listening
sockets, and lets the old one finish what it is answering, however long that takes. So nearly every
key can be changed without a lost request, and a configuration that cannot be used changes nothing.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from roadstead.config.load import Loaded
from roadstead.errors import ConfigError
from roadstead.runtime.changes import log_changes
from roadstead.runtime.process import Running, running
from roadstead.runtime.systemd import InheritedSockets, notify
from roadstead.runtime.tracing import make_tracer
from roadstead.runtime.warmup import settle, warm_up_soon
from roadstead.server.limits import raise_descriptor_limit
from roadstead.telemetry.audit import audited
from roadstead.telemetry.tracing import UNTRACED, Tracer

if TYPE_CHECKING:
    from roadstead.runtime.workers.supervisor import Supervisor

_log = logging.getLogger("roadstead.runtime")

_GRACE_SECONDS: Final = 1.0


async def serve(load: Callable[[], Loaded], *, worker: Sequence[str] = ()) -> None:
    """Run the mirror until SIGTERM or SIGINT; SIGHUP loads the configuration anew.

    ``worker`` is the command of a worker process, for a configuration that wants several.

    Raises:
        ConfigError: the configuration cannot be used; at the start only.
        OSError: an address cannot be bound, or a TLS file cannot be used; at the start only.
    """
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    raise_descriptor_limit()
    notify_socket = os.environ.pop("NOTIFY_SOCKET", None)
    tracer, problem = make_tracer(os.environ)
    try:
        loaded = load()
        generations = _generations(load, loaded, worker, tracer)
        await generations.start(InheritedSockets.of_process(os.environ), loaded)
        if problem:
            _log.warning("there will be no traces: %s", problem)
        notify("READY=1", notify_socket)
        settle()
        warming = warm_up_soon()
        while not stop.is_set():
            await _first_of(stop, reload)
            if reload.is_set():
                reload.clear()
                notify("RELOADING=1", notify_socket)
                await generations.reload()
                notify("READY=1", notify_socket)
        warming.cancel()
        notify("STOPPING=1", notify_socket)
        stop.clear()
        await generations.stop(hurry=stop)
    finally:
        await asyncio.to_thread(tracer.close)
    _log.info("stopped")


class Generations:
    """The mirror that serves, and earlier ones that finish."""

    def __init__(self, load: Callable[[], Loaded], tracer: Tracer = UNTRACED) -> None:
        """``load`` reads the configuration as it is now; ``tracer`` is that of all of them."""
        self._load = load
        self._tracer = tracer
        self._loaded: Loaded | None = None
        self._current: tuple[Running, AsyncExitStack] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

    async def start(self, inherited: InheritedSockets, loaded: Loaded | None = None) -> None:
        """Start a mirror on the sockets that fit, and make it the one that serves.

        ``loaded`` is the configuration, if it was read already.

        Raises:
            ConfigError: the configuration cannot be used.
            OSError: an address cannot be bound, or a TLS file cannot be used.
        """
        stack = AsyncExitStack()
        try:
            loaded = loaded or self._load()
            mirror = await stack.enter_async_context(
                running(loaded, inherited=inherited, tracer=self._tracer)
            )
        finally:
            inherited.close()
        self._current, self._loaded = (mirror, stack), loaded

    async def reload(self) -> None:
        """Replace the mirror by one with the configuration as it is now; on any error, do not."""
        before, old = self._loaded, self._current
        if before is None or old is None:
            return
        try:
            with audited("reload", caller="SIGHUP"):
                loaded = self._load()
                if loaded.settings.http.workers > 1:
                    _log.warning("http.workers takes effect with the next restart")
                await self.start(InheritedSockets(old[0].listeners.sockets()), loaded)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("not reloaded: %s", problem)
            return
        except OSError as error:
            _log.error("not reloaded: %s", error)
            return
        task = asyncio.create_task(_retire(*old))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        log_changes(before, loaded)

    async def stop(self, *, hurry: asyncio.Event) -> None:
        """Stand down, finish within the drain time, and stop all generations."""
        if self._current is None or self._loaded is None:
            return
        mirror, stack = self._current
        delay = self._loaded.settings.http.shutdowndelay
        await mirror.stand_down(delay.total_seconds(), hurry=hurry)
        _log.info("stopping; requests under way may finish")
        retiring = list(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(stack.aclose(), *retiring, return_exceptions=True)


def _generations(
    load: Callable[[], Loaded], loaded: Loaded, worker: Sequence[str], tracer: Tracer
) -> "Generations | Supervisor":
    """Choose one process, or several."""
    if loaded.settings.http.workers == 1:
        return Generations(load, tracer)
    from roadstead.runtime.workers.supervisor import Supervisor  # noqa: PLC0415 - only for several

    return Supervisor(load, worker, tracer)


async def _retire(mirror: Running, stack: AsyncExitStack) -> None:
    """Close a mirror when it has answered all that it was asked; at once if cancelled."""
    mirror.readiness.draining = True
    try:
        await mirror.listeners.stop_accepting()
        # The next generation goes on where this one stops.
        await mirror.stop_verifying()
        # Clients that reuse a connection within this time are told to open another one, and never
        # meet one that is just being closed.
        await asyncio.sleep(_GRACE_SECONDS)
        await mirror.listeners.finish()
    finally:
        await stack.aclose()


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
