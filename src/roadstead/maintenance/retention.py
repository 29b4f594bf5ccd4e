"""Retention: what the limits ask for, planned and carried out."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from roadstead.errors import MetadataError
from roadstead.maintenance.evictor import Evicted, Evictor
from roadstead.maintenance.limits import RetentionRules, wishes_for
from roadstead.maintenance.measure import Measure, Measured
from roadstead.maintenance.names import ImageNames
from roadstead.maintenance.pinning import Pins, read_pins
from roadstead.maintenance.plan import Plan, Usage, Wish
from roadstead.maintenance.planner import Planner, make_plan, take_unneeded
from roadstead.maintenance.shortfall import Shortfall, shortfall_of
from roadstead.metadata.base import Metadata
from roadstead.telemetry import events
from roadstead.telemetry.events import EvictionReason

_log = logging.getLogger("roadstead.retention")

_ROUNDS: Final = 8
"""Plans in one run; more than one is needed where upstreams share data."""
_UNNEEDED_SHARE: Final = 100
"""How much longer than a search for what nobody needs the pause behind it is."""
_VAIN_SHARE: Final = 20
"""The same behind a plan in vain that took so long:"""
_LONG_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the last run did; ``trigger`` is what started it, ``at`` when (epoch seconds).

    ``missing_bytes`` is how much more should have gone and is protected.
    """

    trigger: str
    at: float
    seconds: float
    images: int
    blobs: int
    freed_bytes: int
    missing_bytes: int


class Retention:
    """Plans and evicts by the rules.

    Runs may overlap: each step is looked at again before it is done.
    """

    def __init__(  # noqa: PLR0913 - each has a name where it is composed
        self,
        *,
        rules: RetentionRules,
        names: ImageNames,
        metadata: Callable[[], Metadata | None],
        evictor: Evictor,
        measure: Measure,
        usage: Callable[[], Usage],
        observe: events.Observer,
        gather: Callable[[], Awaitable[None]] | None = None,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``timer`` tells how long something takes, ``clock`` what the time is.

        ``gather`` has other processes write their pulls, before something is planned.
        """
        self._gather = gather
        self._rules = rules
        self._names = names
        self._metadata = metadata
        self._evictor = evictor
        self._measure = measure
        self._usage = usage
        self._observe = observe
        self._clock = clock
        self._timer = timer
        self._unneeded_due = 0.0
        self._look_due = 0.0
        self.last: Run | None = None
        self.shortfall: Shortfall | None = None
        """Set while a limit cannot hold."""

    async def whole(self) -> Metadata:
        """Return the database.

        Raises:
            MetadataError: it cannot be relied on (yet).
        """
        metadata = self._metadata()
        if metadata is None or not await metadata.is_whole():
            message = "the metadata database is not whole (yet), so nothing can be planned"
            raise MetadataError(message)
        return metadata

    async def pins(self) -> Pins:
        """Return all pins; raises MetadataError."""
        return await read_pins(self._names, self._rules.pins, await self.whole())

    def planner(self, pins: Pins) -> Planner:
        """Return a planner that knows what is protected now."""
        grace = self._rules.grace_seconds
        return Planner(
            usage=self._usage(),
            is_pinned=pins,
            young_since=self._clock() - grace,
            grace_seconds=grace,
        )

    async def pins_without(self, pattern: str) -> Pins:
        """Return the pins that are left when one set by command is gone; raises MetadataError."""
        metadata = await self.whole()
        return await read_pins(self._names, self._rules.pins, metadata, without=pattern)

    async def plan(self, wishes: Sequence[Wish], *, thorough: bool = True) -> Plan:
        """Say what would go for these wishes; raises MetadataError or StorageError.

        Looking for what nobody needs takes time where much is held, so a plan that is not
        thorough does it only if that takes a small part of all the time.
        """
        metadata = await self.whole()
        await self._evictor.settle()
        if self._gather is not None:
            await self._gather()
        await metadata.flush()
        planner = self.planner(await self.pins())
        if wishes and (thorough or self._timer() >= self._unneeded_due):
            started = self._timer()
            await take_unneeded(planner, metadata)
            ended = self._timer()
            self._unneeded_due = ended + _UNNEEDED_SHARE * (ended - started)
        return await make_plan(planner, metadata, wishes)

    async def apply(self, plan: Plan) -> Evicted:
        """Carry a plan out.

        Raises:
            MetadataError: the database cannot be relied on.
            StorageError: the store cannot be written.
        """
        return await self._evictor.apply(plan, await self.whole(), await self.pins())

    async def preview(self) -> Plan:
        """Say what the next run would do; raises MetadataError or StorageError."""
        return await self.plan(await self._overdue())

    async def free(self, wishes: Sequence[Wish], more_bytes: int = 0) -> bool:
        """Make room for ``more_bytes`` now, but not in vain: nothing goes if too little can.

        Returns whether anything went.

        Raises:
            MetadataError: nothing can be planned.
            StorageError: the store cannot be written.
        """
        if not wishes or self._is_vain(wishes, more_bytes):
            return False
        run = _Runs("room", self._clock())
        plan = await self.plan(wishes, thorough=False)
        if plan.missing_bytes:
            plan = await self.plan(wishes)
        self._note(
            shortfall_of(plan, wishes, more_bytes=more_bytes, at=run.at),
            ends=self.shortfall is not None and self.shortfall.concerns(wishes, more_bytes),
            seconds=run.elapsed,
        )
        run.missing_bytes = plan.missing_bytes
        if not plan.missing_bytes:
            run.add(await self.apply(plan))
        self._finish(run)
        return run.done.images + run.done.blobs > 0

    async def look_again(self) -> None:
        """Find out whether a limit that could not hold can hold now; changes nothing.

        Raises:
            MetadataError: nothing can be planned.
            StorageError: the disk cannot be looked at.
        """
        short = self.shortfall
        if short is None or time.perf_counter() < self._look_due:
            return
        started = time.perf_counter()
        measured = await self._measure(more_bytes=short.more_bytes, anew=True)
        wanted = wishes_for(measured.parts, measured.volume, self._rules, short.more_bytes)
        wishes = [one for one in wanted if (one.reason, one.scope) in short.kinds]
        plan = await self.plan(wishes)
        seconds = time.perf_counter() - started
        found = shortfall_of(plan, wishes, more_bytes=short.more_bytes, at=short.at)
        self._note(found, ends=True, seconds=seconds)
        if self.shortfall is None:
            self._observe(events.RetentionRan("watch", self._clock(), seconds, 0))

    async def run(self, trigger: str, *, only: EvictionReason | None = None) -> Run:
        """Do all that the limits ask for; of that ``only`` what has one reason.

        Raises:
            MetadataError: nothing can be planned.
            StorageError: the store cannot be read or written.
        """
        run = _Runs(trigger, self._clock())
        for _ in range(_ROUNDS):
            wishes = [one for one in await self._overdue() if only in (None, one.reason)]
            plan = await self.plan(wishes)
            self._note(
                shortfall_of(plan, wishes, at=run.at),
                ends=self.shortfall is not None and self.shortfall.is_ended_by_run(only),
                seconds=run.elapsed,
            )
            run.missing_bytes = plan.missing_bytes
            done = await self.apply(plan)
            run.add(done)
            if not done.images and not done.blobs:
                break
        return self._finish(run)

    async def _overdue(self) -> list[Wish]:
        """List what the limits ask for now; raises MetadataError or StorageError."""
        measured = await self._measure(anew=True)
        if not measured.is_known:
            await self.whole()
        return [*self._too_old(), *self._too_much(measured)]

    def _too_much(self, measured: Measured) -> list[Wish]:
        """List sizes; free space is looked at when something arrives, unless it is watched."""
        wishes = wishes_for(measured.parts, measured.volume, self._rules, 0)
        if self._rules.watches_free_space:
            return wishes
        return [one for one in wishes if one.reason is not EvictionReason.MINFREE]

    def _too_old(self) -> list[Wish]:
        """List ages; an upstream's own takes the place of the general one, 0 is none."""
        now = self._clock()
        wishes = []
        for upstream in self._names.upstreams:
            own = self._rules.upstreams.get(upstream)
            age = own.max_age_seconds if own is not None else None
            if age is None:
                age = self._rules.everything.max_age_seconds
            scope = self._names.scope(upstream)
            if age:
                wishes.append(Wish(EvictionReason.MAXAGE, scope, pulled_before=now - age))
            if self._rules.ttl_seconds and upstream == self._names.default:
                pulled_before = now - self._rules.ttl_seconds
                wishes.append(Wish(EvictionReason.TTL, scope, pulled_before=pulled_before))
        return wishes

    def _is_vain(self, wishes: Sequence[Wish], more_bytes: int) -> bool:
        """Say whether the same was planned in vain a moment ago, and planning takes long here."""
        short = self.shortfall
        if short is None or time.perf_counter() >= self._look_due:
            return False
        return short.concerns(wishes, more_bytes)

    def _note(self, short: Shortfall | None, *, ends: bool, seconds: float) -> None:
        """Remember whether a limit cannot hold; log when that begins and, if this ``ends`` it, so.

        ``seconds`` is how long it took to find out.
        """
        before = self.shortfall
        if short is not None:
            if before is None:
                _log.warning("a limit cannot hold", extra={"fields": {"reason": str(short)}})
            self.shortfall = short
            pause = seconds * _VAIN_SHARE if seconds > _LONG_SECONDS else 0
            self._look_due = time.perf_counter() + pause
        elif before is not None and ends:
            _log.warning("the limits can hold again")
            self.shortfall = None

    def _finish(self, run: "_Runs") -> Run:
        self.last = last = Run(
            trigger=run.trigger,
            at=run.at,
            seconds=run.elapsed,
            images=run.done.images,
            blobs=run.done.blobs,
            freed_bytes=run.done.freed_bytes,
            missing_bytes=run.missing_bytes,
        )
        missing = self.shortfall.missing_bytes if self.shortfall is not None else 0
        self._observe(events.RetentionRan(last.trigger, last.at, last.seconds, missing))
        fields = {
            "trigger": last.trigger,
            "seconds": round(last.seconds, 3),
            "images": last.images,
            "blobs": last.blobs,
            "bytes": last.freed_bytes,
        }
        if last.missing_bytes:
            fields["missing_bytes"] = last.missing_bytes
        if last.blobs or last.trigger != "room":
            _log.info("retention has run", extra={"fields": fields})
        return last


class _Runs:
    """A run under way."""

    def __init__(self, trigger: str, at: float) -> None:
        self.trigger = trigger
        self.at = at
        self.started = time.perf_counter()
        self.done = Evicted()
        self.missing_bytes = 0

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.perf_counter() - self.started

    def add(self, done: Evicted) -> None:
        self.done.images += done.images
        self.done.blobs += done.blobs
        self.done.freed_bytes += done.freed_bytes
