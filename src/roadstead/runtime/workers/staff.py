"""Starts worker processes, and starts those again that die."""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from roadstead.config.load import Loaded
from roadstead.runtime.workers.channel import Channel
from roadstead.runtime.workers.office import Office, Seat
from roadstead.runtime.workers.order import CHANNEL, Order, packed
from roadstead.runtime.workers.sockets import WorkerSockets

_log = logging.getLogger("roadstead.workers")

_START_SECONDS: Final = 60.0
_FIRST_DELAY_SECONDS: Final = 0.1
_LONGEST_DELAY_SECONDS: Final = 5.0
_LONG_LIFE_SECONDS: Final = 60.0
"""A worker that served for so long died of something new."""


class Staff:
    """The workers of one generation: the same configuration on the same sockets."""

    def __init__(
        self,
        loaded: Loaded,
        sockets: WorkerSockets,
        office: Office,
        *,
        command: Sequence[str],
        instance_id: str,
    ) -> None:
        """``command`` starts a worker."""
        self._loaded = loaded
        self._sockets = sockets
        self._office = office
        self._command = command
        self._instance_id = instance_id
        self._posts: list[_Post] = []
        self._leaving = False
        self._stopping = False

    async def start(self) -> None:
        """Start all, and wait until they serve.

        Raises:
            OSError: one could not; it has said why.
        """
        count = self._loaded.settings.http.workers
        self._posts = [_Post(self, number) for number in range(count)]
        hired = await asyncio.gather(*(post.hire() for post in self._posts), return_exceptions=True)
        failures = [one for one in hired if isinstance(one, BaseException)]
        if failures:
            await self.dismiss()
            raise failures[0]
        for post in self._posts:
            post.keep()

    def retire(self) -> None:
        """Let all finish what they are answering, however long that takes."""
        self._leaving = True
        for post in self._posts:
            if post.seat is not None:
                post.seat.channel.tell("retire")

    def terminate(self) -> None:
        """Ask all to stop within their drain time; a second time is to hurry."""
        what = "hurry" if self._stopping else "stop"
        self._leaving = self._stopping = True
        for post in self._posts:
            if post.seat is not None:
                post.seat.channel.tell(what)

    async def ended(self) -> None:
        """Wait until all have ended, and let go of their sockets."""
        await asyncio.gather(*(post.ended() for post in self._posts))
        self._sockets.close()

    async def dismiss(self) -> None:
        """End all at once."""
        self._leaving = True
        for post in self._posts:
            post.signal(signal.SIGKILL)
        await self.ended()

    @property
    def office(self) -> Office:
        """Where they report."""
        return self._office

    def is_leaving(self) -> bool:
        """Whether who ends now is not missed."""
        return self._leaving

    async def spawn(self, number: int) -> tuple[asyncio.subprocess.Process, Seat]:
        """Start one process."""
        ours, theirs = socket.socketpair()
        with theirs:
            assigned = self._sockets.of(number)
            descriptors = [one.fileno() for _, sockets in assigned for one in sockets]
            environment = {**os.environ, CHANNEL: str(theirs.fileno())}
            process = await asyncio.create_subprocess_exec(
                *self._command,
                env=environment,
                pass_fds=(theirs.fileno(), *descriptors),
                # A signal for all of a terminal's processes is the keeper's to pass on.
                process_group=0,
            )
        order = Order(
            # What there was to say of the configuration was said.
            loaded=Loaded(self._loaded.settings, [], self._loaded.source),
            instance_id=self._instance_id,
            sockets=[(place, [one.fileno() for one in sockets]) for place, sockets in assigned],
        )
        ours.settimeout(0)
        channel = await Channel.over(ours)
        channel.write(packed(order))
        return process, self._office.enter(channel, process.pid)


class _Post:
    """One worker's place, taken by one process after the other."""

    def __init__(self, staff: Staff, number: int) -> None:
        self._staff = staff
        self._number = number
        self._process: asyncio.subprocess.Process | None = None
        self._serving: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.seat: Seat | None = None

    async def hire(self) -> None:
        """Start a process and wait until it serves.

        Raises:
            OSError: it ended, or took too long.
        """
        self._process, self.seat = await self._staff.spawn(self._number)
        self._serving = asyncio.create_task(self._staff.office.serve(self.seat))
        ready = asyncio.create_task(self.seat.ready.wait())
        gone = asyncio.create_task(self._process.wait())
        await asyncio.wait(
            {ready, gone}, timeout=_START_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        ready.cancel()
        gone.cancel()
        if not self.seat.ready.is_set():
            self.signal(signal.SIGKILL)
            await self._process.wait()
            message = f"worker {self._number} did not start"
            raise OSError(message)

    def keep(self) -> None:
        """Replace the process whenever it dies, until the staff leaves."""
        self._keeping = asyncio.create_task(self._keep())

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def ended(self) -> None:
        """Wait for the end of the process, and for its last words."""
        if self._keeping is not None:
            await self._keeping
        elif self._process is not None:
            await self._process.wait()
        if self._serving is not None:
            await asyncio.gather(self._serving, return_exceptions=True)

    async def _keep(self) -> None:
        delay = _FIRST_DELAY_SECONDS
        while True:
            began = time.monotonic()
            status = await self._ending()
            if self._staff.is_leaving():
                return
            if time.monotonic() - began > _LONG_LIFE_SECONDS:
                delay = _FIRST_DELAY_SECONDS
            fields = {"worker": self._number, "status": status, "delay_seconds": delay}
            _log.error("a worker process died; it is restarted", extra={"fields": fields})
            self._staff.office.restarts += 1
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY_SECONDS)
            if not self._staff.is_leaving():
                with suppress(OSError):
                    await self.hire()
            if self._staff.is_leaving() and self.seat is not None:
                # It was on its way when the others were told.
                self.seat.channel.tell("stop")

    async def _ending(self) -> int | None:
        return None if self._process is None else await self._process.wait()
