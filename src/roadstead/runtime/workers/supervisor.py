"""The keeper's life: starts the workers, replaces them at a reload, stops them at the end."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from roadstead.config.load import Loaded
from roadstead.errors import ConfigError
from roadstead.runtime.changes import log_changes
from roadstead.runtime.process import Part, Running, running
from roadstead.runtime.systemd import InheritedSockets
from roadstead.runtime.workers.office import Office
from roadstead.runtime.workers.sockets import Place, WorkerSockets
from roadstead.runtime.workers.staff import Staff
from roadstead.telemetry.audit import audited
from roadstead.telemetry.tracing import UNTRACED, Tracer

_log = logging.getLogger("roadstead.workers")

_SLACK_SECONDS: Final = 15.0
"""How long a worker may take to end beyond the time that it has for draining."""


class Supervisor:
    """Several generations of keeper and workers; see generations.Generations for one process."""

    def __init__(
        self, load: Callable[[], Loaded], command: Sequence[str], tracer: Tracer = UNTRACED
    ) -> None:
        """``load`` reads the configuration as it is now; ``command`` starts a worker."""
        self._tracer = tracer
        self._load = load
        self._command = command
        self._office = Office()
        self._instance_id = str(uuid.uuid4())
        self._loaded: Loaded | None = None
        self._mirror: Running | None = None
        self._stack = AsyncExitStack()
        self._sockets = WorkerSockets()
        self._staff: Staff | None = None
        self._retiring: dict[Staff, asyncio.Task[None]] = {}

    async def start(self, inherited: InheritedSockets, loaded: Loaded | None = None) -> None:
        """Start a keeper and its workers, and make them those that serve.

        Raises:
            ConfigError: the configuration cannot be used.
            OSError: an address cannot be bound, or a file cannot be used.
        """
        loaded = loaded or self._load()
        settings = loaded.settings
        sockets = WorkerSockets()
        async with AsyncExitStack() as stack:
            stack.callback(inherited.close)
            stack.push(partial(_close_if_failed, sockets))
            await sockets.open(
                _places(loaded), settings.http.workers, inherited=inherited, known=self._sockets
            )
            part = Part(office=self._office, instance_id=self._instance_id)
            mirror = await stack.enter_async_context(
                running(loaded, inherited=inherited, tracer=self._tracer, part=part)
            )
            if self._mirror is None:
                self._direct(mirror)
            staff = Staff(
                loaded,
                sockets,
                self._office,
                command=self._command,
                instance_id=self._instance_id,
            )
            await staff.start()
            kept = stack.pop_all()
        before, self._stack = self._stack, kept
        retiring, self._staff = self._staff, staff
        self._loaded, self._sockets = loaded, sockets
        self._direct(mirror)
        if retiring is not None:
            retiring.retire()
            self._retiring[retiring] = asyncio.create_task(self._wait_for(retiring))
        await before.aclose()
        _log.info("%d worker processes serve", settings.http.workers)

    def listening(self) -> InheritedSockets:
        """Return the keeper's own sockets again, for the next one."""
        if self._mirror is None:
            return InheritedSockets([])
        return InheritedSockets(self._mirror.listeners.sockets())

    async def reload(self) -> None:
        """Replace everything by what the configuration is now; on any error, nothing."""
        before = self._loaded
        try:
            with audited("reload", caller="SIGHUP"):
                loaded = self._load()
                await self.start(self.listening(), loaded)
        except ConfigError as error:
            for problem in error.problems:
                _log.error("not reloaded: %s", problem)
        except OSError as error:
            _log.error("not reloaded: %s", error)
        else:
            log_changes(before or loaded, loaded)

    async def stop(self, *, hurry: asyncio.Event) -> None:
        """Drain all workers, then end."""
        if self._mirror is None or self._staff is None or self._loaded is None:
            return
        self._mirror.readiness.draining = True
        staffs = [self._staff, *self._retiring]
        for staff in staffs:
            staff.terminate()
        http = self._loaded.settings.http
        limit = http.shutdowndelay + http.draintimeout
        ending = asyncio.gather(*(staff.ended() for staff in staffs))
        hurrying = asyncio.create_task(_pass_on(hurry, staffs))
        done, _ = await asyncio.wait({ending}, timeout=limit.total_seconds() + _SLACK_SECONDS)
        hurrying.cancel()
        if not done:
            _log.error("worker processes did not end; they are killed")
            await asyncio.gather(*(staff.dismiss() for staff in staffs))
        await self._stack.aclose()

    def _direct(self, mirror: Running) -> None:
        """Have the office work for a keeper."""
        space = mirror.readiness.board.space
        assert space is not None  # noqa: S101 - a keeper has it
        self._mirror = mirror
        self._office.keeper, self._office.mirrors = space.keeper, mirror.mirrors

    async def _wait_for(self, staff: Staff) -> None:
        await staff.ended()
        del self._retiring[staff]


def _close_if_failed(sockets: WorkerSockets, kind: type[BaseException] | None, *_: object) -> None:
    """Close sockets that did not come into use; the workers close those that did."""
    if kind is not None:
        sockets.close()


def _places(loaded: Loaded) -> list[Place]:
    http = loaded.settings.http
    own = [one.address for one in loaded.settings.upstreams.values() if one.address is not None]
    return [http.address, *own]


async def _pass_on(hurry: asyncio.Event, staffs: Sequence[Staff]) -> None:
    while True:
        await hurry.wait()
        hurry.clear()
        for staff in staffs:
            staff.terminate()
