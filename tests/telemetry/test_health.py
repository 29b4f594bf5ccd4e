"""Health checks on a clock of the tests' own."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from roadstead.telemetry.health import Check, HealthMonitor


class Ticker:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self.waits: list[tuple[float, asyncio.Future[None]]] = []
        self._expected = 0
        self._asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Wait for the next tick."""
        future = asyncio.get_running_loop().create_future()
        self.waits.append((seconds, future))
        if len(self.waits) == self._expected:
            self._asleep.set()
        await future

    async def tick(self) -> None:
        """Let every sleeper wake, and run until all sleep again."""
        before, self.waits = self.waits, []
        self._expected = len(before)
        self._asleep.clear()
        for _, future in before:
            future.set_result(None)
        await self._asleep.wait()


class Patient:
    """A probe that fails while ``problem`` is set."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.probes = 0

    async def __call__(self) -> None:
        """Look once."""
        self.probes += 1
        if self.problem is not None:
            raise OSError(self.problem)


@asynccontextmanager
async def watching(*checks: Check) -> AsyncIterator[tuple[HealthMonitor, Ticker]]:
    """Run a monitor on a ticker; no task may be left afterwards."""
    ticker = Ticker()
    monitor = HealthMonitor(checks, sleep=ticker.sleep)
    before = asyncio.all_tasks()
    monitor.start()
    await asyncio.sleep(0)
    try:
        yield monitor, ticker
    finally:
        await monitor.aclose()
        assert asyncio.all_tasks() == before


async def test_starts_healthy_and_waits_one_interval() -> None:
    """Nothing is looked at before the first interval is over."""
    patient = Patient()
    patient.problem = "broken"

    async with watching(Check(name="x", probe=patient, interval_seconds=7)) as (monitor, ticker):
        assert monitor.status() == {}
        assert patient.probes == 0
        assert [seconds for seconds, _ in ticker.waits] == [7]


@pytest.mark.parametrize(("threshold", "failures"), [(0, 1), (1, 1), (3, 3)])
async def test_threshold_counts_failures_in_a_row(threshold: int, failures: int) -> None:
    """Exactly the threshold's number of failures in a row makes it unhealthy."""
    patient = Patient()
    check = Check(name="x", probe=patient, threshold=threshold)

    async with watching(check) as (monitor, ticker):
        await ticker.tick()
        patient.problem = "broken"
        for _ in range(failures):
            assert monitor.status() == {}
            await ticker.tick()
        assert monitor.status() == {"x": "broken"}


async def test_one_success_resets() -> None:
    """A success makes it healthy at once, and counting begins anew."""
    patient = Patient()
    async with watching(Check(name="x", probe=patient, threshold=2)) as (monitor, ticker):
        for problem, status in [
            ("first", {}),
            (None, {}),
            ("second", {}),
            ("third", {"x": "third"}),
            ("fourth", {"x": "fourth"}),
            (None, {}),
            ("fifth", {}),
        ]:
            patient.problem = problem
            await ticker.tick()
            assert monitor.status() == status


async def test_checks_are_independent() -> None:
    """Each check has its own interval and its own state."""
    well, ill = Patient(), Patient()
    ill.problem = "broken"

    async with watching(
        Check(name="well", probe=well, interval_seconds=1),
        Check(name="ill", probe=ill, interval_seconds=2),
    ) as (monitor, ticker):
        await ticker.tick()
        assert monitor.status() == {"ill": "broken"}
        assert {seconds for seconds, _ in ticker.waits} == {1, 2}


async def test_silent_probe_is_a_failure_and_never_doubled() -> None:
    """A probe without an answer in time has failed; a second one waits for its end."""
    started: list[None] = []
    answer = asyncio.Event()

    async def silent() -> None:
        started.append(None)
        await answer.wait()

    check = Check(name="x", probe=silent, timeout_seconds=0.001)
    async with watching(check) as (monitor, ticker):
        await ticker.tick()
        await ticker.tick()
        assert monitor.status() == {"x": "no answer within 0.001 s"}
        assert len(started) == 1

        answer.set()
        await ticker.tick()
        assert monitor.status() == {}


async def test_aclose_ends_a_running_probe() -> None:
    """Closing while a probe waits leaves no task, and closing twice is fine."""
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def endless() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    ticker = Ticker()
    monitor = HealthMonitor([Check(name="x", probe=endless)], sleep=ticker.sleep)
    before = asyncio.all_tasks()
    monitor.start()
    await asyncio.sleep(0)
    ticker.waits[0][1].set_result(None)
    await started.wait()

    await monitor.aclose()
    await monitor.aclose()

    assert cancelled.is_set()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("https://u:hunter2@host/ failed"), "https://***@host/ failed"),
        (TimeoutError(), "TimeoutError"),
    ],
)
async def test_error_text_is_fit_to_show(error: Exception, text: str) -> None:
    """An error without a text shows its class; a credential in it or in the name is masked."""

    async def fail() -> None:
        raise error

    async with watching(Check(name="https://u:hunter2@host/", probe=fail)) as (monitor, ticker):
        await ticker.tick()
        assert monitor.status() == {"https://***@host/": text}


async def test_changes_are_logged_once(record_logs: Callable[[], list[str]]) -> None:
    """Only the turns to unhealthy and back leave a log line."""
    patient = Patient()
    async with watching(Check(name="x", probe=patient)) as (_monitor, ticker):
        for problem in (None, "a", "b", None, None):
            patient.problem = problem
            await ticker.tick()

    assert record_logs() == ["health check failed", "health check is well again"]


@pytest.fixture
def record_logs(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what was logged by the monitor."""
    caplog.set_level("INFO", "roadstead.health")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "roadstead.health"]


async def test_a_minor_check_is_told_and_takes_nothing_out_of_service() -> None:
    """A store that cannot be written serves what it holds; a vital check beside it still counts."""
    minor, vital = Patient(), Patient()
    checks = (
        Check(name="storage", probe=minor, is_vital=False),
        Check(name="vital", probe=vital),
    )
    async with watching(*checks) as (monitor, ticker):
        minor.problem = "full"
        await ticker.tick()
        assert monitor.status() == {"storage": "full"}
        assert monitor.is_healthy()

        vital.problem = "gone"
        await ticker.tick()
        assert not monitor.is_healthy()
