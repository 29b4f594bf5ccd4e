"""How limits are told to people."""

import pytest

from roadstead.cli.limits import describe_retention, span

NOW = 1_000_000.0
RETENTION = {
    "limits": [],
    "disk": {"total_bytes": 100 * 10**9, "free_bytes": 40 * 10**9, "min_free_bytes": 10**9},
    "pins": 3,
    "shortfall": None,
    "next_run": NOW + 2 * 86400,
    "last_run": {
        "trigger": "schedule",
        "at": NOW - 7200,
        "seconds": 1.0,
        "images": 1,
        "blobs": 4,
        "freed_bytes": 5 * 10**6,
        "missing_bytes": 0,
    },
}
SHORTFALL = {"reason": "maxsize cannot hold", "found_at": NOW - 180, "missing_bytes": 9, "kept": {}}


def test_what_ran_and_what_runs_next() -> None:
    """And what stays free, and how many pins there are."""
    assert list(describe_retention(RETENTION, NOW)) == [
        "Disk: 40.0 GB free of 100.0 GB, of which 1.0 GB are to stay free",
        "Pins: 3, see `roadstead pins`",
        "Retention: last ran 2 h ago (schedule; 1 image, 5.0 MB freed), next run in 2 d",
    ]


def test_a_limit_that_cannot_hold_is_told_last() -> None:
    """Without a schedule, a disk that can be looked at, or pins."""
    short = {**RETENTION, "disk": None, "pins": None, "next_run": None, "last_run": None}
    assert list(describe_retention({**short, "shortfall": SHORTFALL}, NOW)) == [
        "Retention: has not run yet, runs when room is needed",
        "A limit cannot hold (found 3 min ago): maxsize cannot hold",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s"), (90, "90 s"), (150, "2 min"), (3600, "60 min"), (90_000, "25 h"), (1e6, "12 d")],
)
def test_times_are_written_short(seconds: float, text: str) -> None:
    """Two of a unit at least."""
    assert span(seconds) == text
