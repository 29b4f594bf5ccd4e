"""Sums per hour, counted from events."""

from roadstead.metadata.records import Totals
from roadstead.metadata.totals import HourlyTotals
from roadstead.telemetry import events
from roadstead.telemetry.events import Kind, Outcome
from tests.support.clock import Clock


def test_events_become_sums_of_their_hour() -> None:
    """Requests, hits, bytes served and fetched, each under its upstream and hour."""
    clock = Clock(7_300.0)
    totals = HourlyTotals(clock=clock)

    totals(events.Repeated(Kind.MANIFEST, "GET", 10, 10, 0.001, "docker.io"))
    totals(events.Served(Kind.BLOB, Outcome.STALE, 10, 7, "docker.io"))
    totals(events.Served(Kind.BLOB, Outcome.JOINED, 10, 10, "docker.io"))
    totals(events.Fetched(Kind.BLOB, 5, 0.1, "docker.io"))
    totals(events.PassedOn())
    clock.now = 10_800.0
    totals(events.Fetched(Kind.BLOB, 6, 0.1, "ghcr.io"))

    assert totals.take() == [
        Totals(7_200, "docker.io", 3, 2, 27, 5),
        Totals(10_800, "ghcr.io", 0, 0, 0, 6),
    ]
    assert not totals


def test_what_could_not_be_written_is_added_again() -> None:
    """Sums that were put back are those that are taken next, with what came meanwhile."""
    totals = HourlyTotals(clock=Clock(7_300.0))
    fetched = events.Fetched(Kind.BLOB, 5, 0.1, "docker.io")

    totals(fetched)
    taken = totals.take()
    totals(fetched)
    totals.put_back(taken)

    assert totals.take() == [Totals(7_200, "docker.io", 0, 0, 0, 10)]
