"""Cron expressions, and when their time comes next."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.config.cron import check_cron, next_time
from roadstead.config.refusal import UnusableValueError


@pytest.fixture(params=["UTC", "Europe/Berlin", "America/New_York"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Live in a time zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield str(request.param)
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def _utc(*moment: int) -> float:
    return datetime(*moment, tzinfo=UTC).timestamp()  # type: ignore[arg-type, misc] # year, month...


@pytest.mark.parametrize("zone", ["UTC"], indirect=True)
@pytest.mark.usefixtures("zone")
def test_the_weekly_cleanup_of_a_crontab_is_understood() -> None:
    """``0 3 * * 0`` is Sundays at three; a time that has just come is not the next one."""
    wednesday, sunday = _utc(2026, 11, 25, 12, 0), _utc(2026, 11, 29, 3, 0)
    assert next_time("0 3 * * 0", wednesday) == sunday
    assert next_time("0 3 * * 0", sunday) == sunday + timedelta(weeks=1).total_seconds()


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
@pytest.mark.usefixtures("zone")
def test_times_are_local() -> None:
    """Three o'clock is three on the wall, in summer and in winter."""
    assert next_time("0 3 * * *", _utc(2026, 7, 1)) == _utc(2026, 7, 1, 1, 0)
    assert next_time("0 3 * * *", _utc(2026, 12, 1)) == _utc(2026, 12, 1, 2, 0)


@pytest.mark.parametrize("zone", ["Europe/Berlin"], indirect=True)
@pytest.mark.usefixtures("zone")
def test_summer_time_neither_skips_nor_repeats_a_day() -> None:
    """On 29 March 2026 there is no half past two, on 25 October there are two."""
    skipped = next_time("30 2 * * *", _utc(2026, 3, 28, 12, 0))
    assert _utc(2026, 3, 29, 1, 0) <= skipped <= _utc(2026, 3, 29, 2, 0)
    first = next_time("30 2 * * *", _utc(2026, 10, 24, 12, 0))
    assert first == _utc(2026, 10, 25, 0, 30)
    assert next_time("30 2 * * *", first) == _utc(2026, 10, 26, 1, 30)


@given(
    st.sampled_from(["*/5 * * * *", "30 2 * * *", "0 3 * * 0", "0 0 29 2 *", "15 14 1 * *"]),
    st.integers(min_value=0, max_value=2**32),
)
def test_the_next_time_is_always_ahead(expression: str, after: int) -> None:
    """Whoever waits for it never runs in a circle."""
    assert next_time(expression, after) > after


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 3 * *", "five fields"),
        ("0 3 * * 0 0", "five fields"),
        ("@daily", "five fields"),
        ("60 3 * * *", "no cron expression"),
        ("0 3 * * sonntag", "no cron expression"),
        ("0 3 30 2 *", "no cron expression"),
    ],
)
def test_what_is_no_schedule_is_refused_with_an_example(text: str, reason: str) -> None:
    """The fix shows what to write."""
    with pytest.raises(UnusableValueError) as refused:
        check_cron(text)
    assert reason in refused.value.reason
    assert "0 3 * * 0" in refused.value.fix


def test_blanks_do_not_matter_and_nothing_is_never() -> None:
    """A schedule that is empty is switched off."""
    assert check_cron("  0  3 * *   0 ") == "0 3 * * 0"
    assert check_cron(" ") == ""
