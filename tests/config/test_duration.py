"""Durations are Go's, and what is not one is refused with the fix."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.config.duration import format_duration, parse_age, parse_duration
from roadstead.config.refusal import UnusableValueError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("10s", 10),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("+2s", 2),
        ("5us", 5e-6),
        ("5µs", 5e-6),
        ("5μs", 5e-6),
        ("2000ns", 2e-6),
        ("0", 0),
        ("0s", 0),
        ("1000000000", 1),
        ("1s1s", 2),
        (" 10s ", 10),
    ],
)
def test_go_durations_are_read(text: str, seconds: float) -> None:
    """Every form of Go's ParseDuration is understood, and a bare integer is nanoseconds."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("7d", "use 168h"),
        ("2w", "use 336h"),
        ("", "units"),
        ("s", "units"),
        ("10 s", "units"),
        ("1.2", "units"),
        ("1x", "units"),
        ("-1s", "0s or more"),
        ("300000000h", "shorter"),
        ("\u0663s", "units"),
    ],
)
def test_other_texts_are_refused_with_the_fix(text: str, fix: str) -> None:
    """Days become hours in the fix."""
    with pytest.raises(UnusableValueError) as caught:
        parse_duration(text)

    assert fix in caught.value.fix


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=100_000)))
def test_every_duration_survives_writing_and_reading(duration: timedelta) -> None:
    """format_duration and parse_duration are inverse to one another."""
    assert parse_duration(format_duration(duration)) == duration


@given(st.text(alphabet="0123456789.nusmhµ+-dw "))
def test_any_text_is_a_duration_or_is_refused(text: str) -> None:
    """Nothing but UnusableValueError ever comes out, and no duration is negative."""
    try:
        duration = parse_duration(text)
    except UnusableValueError:
        return

    assert duration >= timedelta(0)


@pytest.mark.parametrize(
    ("text", "hours"), [("30d", 720), ("2w", 336), ("1d12h", 36), ("1w1d", 192), ("24h", 24)]
)
def test_ages_may_be_in_days(text: str, hours: float) -> None:
    """Our own keys know days and weeks; distribution's keep to Go's units."""
    assert parse_age(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["d", "1.5d", "1h1d", "-1d", "99999999w", "1 d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    """Days are whole and stand in front."""
    with pytest.raises(UnusableValueError):
        parse_age(text)
