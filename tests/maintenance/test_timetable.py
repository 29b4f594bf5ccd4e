"""When retention runs by itself."""

from collections.abc import Callable

import pytest

from roadstead.errors import MetadataError, StorageUnavailableError
from roadstead.maintenance.limits import RetentionRules
from roadstead.maintenance.timetable import Timetable, hourly
from roadstead.telemetry.events import EvictionReason
from tests.support.clock import Clock


class Runs:
    """Stands for retention: remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, EvictionReason | None]] = []
        self.error: Exception | None = None

    async def run(self, trigger: str, *, only: EvictionReason | None = None) -> None:
        """Run."""
        if self.error is not None:
            raise self.error
        self.asked.append((trigger, only))

    async def look_again(self) -> None:
        """Look at nothing."""

    async def __call__(self) -> None:
        """Measure."""


def timetable(
    runs: Runs,
    clock: Clock,
    *,
    rules: RetentionRules | None = None,
    next_time: Callable[[float], float] | None = None,
) -> Timetable:
    """Make one."""
    return Timetable(
        rules=rules or RetentionRules(),
        retention=runs,
        measure=runs,
        next_time=next_time,
        clock=clock,
    )


async def test_what_is_due_runs_once() -> None:
    """And again when its time comes again, also if some times were missed."""
    runs, clock = Runs(), Clock(10_000.0)
    table = timetable(runs, clock, next_time=hourly)
    await table.tick()
    assert (runs.asked, table.next_run) == ([], 10_800.0)
    clock.advance(800)
    await table.tick()
    await table.tick()
    assert runs.asked == [("schedule", None)]
    clock.advance(3 * 3600)
    await table.tick()
    await table.tick()
    assert len(runs.asked) == 2


@pytest.mark.parametrize("error", [MetadataError("gone"), StorageUnavailableError("gone")])
async def test_what_fails_is_tried_again(error: Exception) -> None:
    """A database that is being rebuilt at three in the morning does not cost a week."""
    runs, clock = Runs(), Clock(10_000.0)
    table = timetable(runs, clock, next_time=hourly)
    clock.advance(800)
    runs.error = error
    await table.tick()
    runs.error = None
    await table.tick()
    assert runs.asked == [("schedule", None)]


async def test_a_ttl_is_looked_at_without_a_schedule() -> None:
    """Often enough that it means what it says."""
    runs, clock = Runs(), Clock()
    table = timetable(runs, clock, rules=RetentionRules(ttl_seconds=600))
    await table.tick()
    await table.tick()
    clock.advance(30)
    await table.tick()
    assert runs.asked == [("ttl", EvictionReason.TTL)] * 2


async def test_free_space_is_watched_only_if_it_was_asked_for() -> None:
    """The default is for what arrives."""
    runs = Runs()
    await timetable(runs, Clock()).tick()
    assert runs.asked == []
    await timetable(runs, Clock(), rules=RetentionRules(watches_free_space=True)).tick()
    assert runs.asked == [("watch", EvictionReason.MINFREE)]


async def test_an_adopted_schedule_is_taken_over_first_and_once() -> None:
    """As soon as the database is there."""
    calls = []

    async def first() -> None:
        calls.append(1)
        if len(calls) == 1:
            message = "not whole"
            raise MetadataError(message)

    runs, clock = Runs(), Clock()
    table = Timetable(
        rules=RetentionRules(watches_free_space=True),
        retention=runs,
        measure=runs,
        next_time=None,
        first=first,
        clock=clock,
    )
    for _ in range(3):
        await table.tick()
    assert (len(calls), len(runs.asked)) == (2, 2)
