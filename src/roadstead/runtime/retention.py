"""Builds what keeps the store within its limits, from the settings."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from roadstead.config.cron import next_time
from roadstead.config.schema import Settings
from roadstead.config.schema_retention import UpstreamRetentionSettings
from roadstead.errors import MetadataError, StorageError
from roadstead.maintenance.adoption import DEFAULT_TTL_SECONDS, adopt_schedule
from roadstead.maintenance.evictor import Evictor
from roadstead.maintenance.keeper import LimitKeeper
from roadstead.maintenance.limits import (
    DEFAULT_MIN_FREE,
    Limits,
    MinFree,
    RetentionRules,
    Volume,
)
from roadstead.maintenance.measure import Measure, Measured
from roadstead.maintenance.names import ImageNames
from roadstead.maintenance.plan import Usage
from roadstead.maintenance.promises import Promises
from roadstead.maintenance.retention import Retention
from roadstead.maintenance.shortfall import Shortfall
from roadstead.maintenance.steering import Steering
from roadstead.maintenance.timetable import NextTime, Timetable, hourly
from roadstead.metadata.base import Metadata
from roadstead.metadata.records import EVERYTHING
from roadstead.mirror.mirrors import Mirrors
from roadstead.runtime.plan import default_name, plan_upstreams
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry.events import Observer
from roadstead.telemetry.probes import ProbeError


class Workers(Protocol):
    """The worker processes, as retention sees them."""

    @property
    def promises(self) -> Promises:
        """What is promised to them, also by an earlier generation."""

    def usage(self) -> Usage:
        """Say what they have under way, as of the last ``gather``."""

    async def gather(self) -> None:
        """Have them say it, and write what they have noted of pulls."""


@dataclass(slots=True)
class CurrentUsage:
    """What is under way in this process, once ``mirrors`` is set, and in its workers."""

    mirrors: Mirrors | None = field(default=None)
    workers: Callable[[], Usage] = Usage

    def __call__(self) -> Usage:
        """Say what is under way now."""
        theirs = self.workers()
        mirrors = self.mirrors
        if mirrors is None:
            return theirs
        since = {**theirs.pulling_since}
        for repository, began in mirrors.pulling_since().items():
            since[repository] = min(began, since.get(repository, began))
        return Usage(lambda digest: mirrors.is_in_use(digest) or theirs.is_in_use(digest), since)


@dataclass(frozen=True, slots=True)
class KeptSpace:
    """All that keeps one store within its limits."""

    rules: RetentionRules
    names: ImageNames
    keeper: LimitKeeper
    retention: Retention
    measure: Measure
    timetable: Timetable
    steering: Steering
    usage: CurrentUsage

    async def document(self) -> dict[str, Any]:
        """Say how it stands, for ``roadstead status``; measures anew, if that can be done."""
        last, short = self.retention.last, self.retention.shortfall
        try:
            measured = await self.measure()
        except StorageError:
            measured = None
        return {
            "limits": [
                {
                    "upstream": upstream,
                    "max_bytes": limits.max_bytes,
                    "used_bytes": self._used_bytes(upstream, measured),
                }
                for upstream, limits in (("", self.rules.everything), *self.rules.upstreams.items())
                if limits.max_bytes
            ],
            "disk": None if measured is None else self._disk(measured.volume),
            "pins": await self._count_pins(),
            "shortfall": None if short is None else _shortfall(short),
            "next_run": self.timetable.next_run,
            "last_run": None if last is None else asdict(last),
        }

    async def check(self) -> None:
        """Be the health check ``retention``.

        Raises:
            ProbeError: a limit cannot hold.
        """
        if self.retention.shortfall is not None:
            raise ProbeError(str(self.retention.shortfall))

    def _used_bytes(self, upstream: str, measured: Measured | None) -> int | None:
        """Return what counts against a limit; None while the database cannot say it."""
        scope = self.names.scope(upstream) if upstream else EVERYTHING
        parts = measured.parts if measured is not None else ()
        used = (one.held_bytes + one.promised_bytes for one in parts if one.scope == scope)
        return next(used, None)

    def _disk(self, volume: Volume) -> dict[str, int]:
        return {
            "total_bytes": volume.total_bytes,
            "free_bytes": volume.free_bytes,
            "min_free_bytes": self.rules.min_free.of(volume.total_bytes),
        }

    async def _count_pins(self) -> int | None:
        """Count pins, of the configuration and by command; None while that cannot be known."""
        try:
            return len((await self.steering.pins())["pins"])
        except MetadataError:
            return None


def _shortfall(short: Shortfall) -> dict[str, Any]:
    return {
        "reason": str(short),
        "found_at": short.at,
        "missing_bytes": short.missing_bytes,
        "kept": {
            str(why): {"images": kept.images, "bytes": kept.size_bytes}
            for why, kept in short.kept.items()
        },
    }


def keep_space(
    settings: Settings,
    *,
    root: Path,
    store: FilesystemStore,
    metadata: Callable[[], Metadata | None],
    observe: Observer,
    workers: Workers | None = None,
) -> KeptSpace:
    """Build it; ``metadata`` gives the database as soon as there is one. On the event loop.

    ``workers`` are processes that serve from the same store and ask this one for room.

    Raises:
        InvalidReferenceError: a pin names an upstream that there is not.
    """
    names = ImageNames(
        [one.rules for one in plan_upstreams(settings)], default=default_name(settings)
    )
    rules = _rules(settings, names)
    promises = workers.promises if workers is not None else Promises()
    usage = CurrentUsage(workers=workers.usage if workers is not None else Usage)
    measure = Measure(
        rules=rules, names=names, store=store, metadata=metadata, promises=promises, observe=observe
    )
    evictor = Evictor(store=store, usage=usage, names=names, observe=observe)
    retention = Retention(
        rules=rules,
        names=names,
        metadata=metadata,
        evictor=evictor,
        measure=measure,
        usage=usage,
        observe=observe,
        gather=workers.gather if workers is not None else None,
    )

    async def adopt() -> None:
        await adopt_schedule(
            root / "scheduler-state.json",
            await retention.whole(),
            ttl_seconds=rules.ttl_seconds or DEFAULT_TTL_SECONDS,
            clock=time.time,
        )

    return KeptSpace(
        rules=rules,
        names=names,
        keeper=LimitKeeper(
            rules=rules,
            names=names,
            promises=promises,
            measure=measure,
            free=retention.free,
            observe=observe,
        ),
        retention=retention,
        measure=measure,
        timetable=Timetable(
            rules=rules,
            retention=retention,
            measure=measure.tell,
            first=adopt,
            next_time=_next_time(settings, rules),
        ),
        steering=Steering(retention=retention, names=names, pinned=rules.pins, store=store),
        usage=usage,
    )


@asynccontextmanager
async def keeping_space(space: KeptSpace, mirrors: Mirrors) -> AsyncIterator[None]:
    """Run retention by its timetable beside ``mirrors``, whose usage it minds."""
    space.usage.mirrors = mirrors
    running = asyncio.create_task(space.timetable.run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await space.keeper.aclose()


def _rules(settings: Settings, names: ImageNames) -> RetentionRules:
    given = settings.retention
    upstreams = {name: _limits(upstream.retention) for name, upstream in settings.upstreams.items()}
    upstreams[default_name(settings)] = _limits(settings.proxy.retention)
    ttl = settings.proxy.ttl
    share = given.minfree
    return RetentionRules(
        everything=Limits(
            given.maxsize, given.maxage.total_seconds() if given.maxage is not None else None
        ),
        upstreams=upstreams,
        min_free=DEFAULT_MIN_FREE if share is None else MinFree(share.size_bytes, share.percent),
        watches_free_space=share is not None,
        grace_seconds=given.grace.total_seconds(),
        ttl_seconds=ttl.total_seconds() if ttl else None,
        pins=tuple(map(names.pattern, given.pins)),
    )


def _limits(given: UpstreamRetentionSettings) -> Limits:
    age = given.maxage
    return Limits(given.maxsize, None if age is None else age.total_seconds())


def _next_time(settings: Settings, rules: RetentionRules) -> NextTime | None:
    schedule = settings.retention.schedule
    if schedule:
        return partial(next_time, schedule)
    ages = [rules.everything, *rules.upstreams.values()]
    return hourly if any(one.max_age_seconds for one in ages) else None
