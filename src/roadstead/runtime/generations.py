"""The life of the process: generations of a mirror, one after the other on the same sockets.

A reload (SIGHUP) builds a whole new mirror from the changed configuration, hands it the listening
sockets, and lets the old one finish what it is answering, however long that takes. So nearly every
key can be changed without a lost request, and a configuration that cannot be used changes nothing.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Final

from roadstead.config.document import Plain
from roadstead.config.load import Loaded
from roadstead.config.render import effective
from roadstead.errors import ConfigError
from roadstead.runtime.process import Running, running
from roadstead.runtime.systemd import InheritedSockets, notify
from roadstead.runtime.tracing import make_tracer
from roadstead.runtime.warmup import settle, warm_up_soon
from roadstead.server.limits import raise_descriptor_limit
from roadstead.telemetry.audit import audited
from roadstead.telemetry.tracing import UNTRACED, Tracer

_log = logging.getLogger("roadstead.runtime")

_GRACE_SECONDS: Final = 1.0


async def serve(load: Callable[[], Loaded]) -> None:
    """Run the mirror until SIGTERM or SIGINT; SIGHUP loads the configuration anew.

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
        generations = Generations(load, tracer)
        await generations.start(InheritedSockets.of_process(os.environ))
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

    async def start(self, inherited: InheritedSockets) -> None:
        """Start a mirror on the sockets that fit, and make it the one that serves.

        Raises:
            ConfigError: the configuration cannot be used.
            OSError: an address cannot be bound, or a TLS file cannot be used.
        """
        stack = AsyncExitStack()
        try:
            loaded = self._load()
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
                await self.start(InheritedSockets(old[0].listeners.sockets()))
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
        assert self._loaded is not None  # noqa: S101 - start has set it
        changed = sorted(_differences(effective(before.settings), effective(self._loaded.settings)))
        _log.info("reloaded; changed: %s", ", ".join(changed) or "nothing")

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


async def _retire(mirror: Running, stack: AsyncExitStack) -> None:
    """Close a mirror when it has answered all that it was asked; at once if cancelled."""
    mirror.readiness.draining = True
    mirror.listeners.stop_accepting()
    try:
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


def _differences(before: Plain, after: Plain, path: str = "") -> Iterator[str]:
    """Yield the paths of the keys whose values differ; a masked secret never seems to."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before.keys() | after.keys():
            inner = f"{path}.{key}" if path else key
            yield from _differences(before.get(key), after.get(key), inner)
    elif before != after:
        yield path
