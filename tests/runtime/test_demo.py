"""The demonstration keeps its promises, and says so when one is broken."""

from dataclasses import replace

import pytest

from roadstead.demo import CLIENTS, PULL_LIMIT, Report, Step, perform


@pytest.mark.scale
async def test_the_demonstration_shows_what_it_promises() -> None:
    """Cold, warm, without upstream and twenty at once: each costs upstream what it should."""
    told: list[str] = []

    report = await perform(told.append)

    assert [step.broken for step in report.steps] == [""] * 4
    cold, warm, outage, crowd = report.steps
    assert (warm.upstream_requests, outage.upstream_requests) == (0, 0)
    assert warm.client_bytes == cold.client_bytes
    assert crowd.client_bytes == CLIENTS * cold.client_bytes
    assert crowd.upstream_requests <= cold.upstream_requests
    assert crowd.requests == CLIENTS * cold.requests
    assert report.pulls == 4 < PULL_LIMIT < report.pulls_without
    assert report.is_kept
    assert len(told) == 5


def test_one_broken_promise_breaks_the_report() -> None:
    """A report is kept only if every step is, and none is not enough."""
    step = Step(
        name="a",
        explanation="b",
        requests=1,
        upstream_requests=0,
        upstream_bytes=0,
        client_bytes=0,
        seconds=0.0,
        outcome="whole",
        broken="",
    )
    broken = replace(step, broken="bytes went missing")

    assert Report([step]).is_kept
    assert not Report([step, broken]).is_kept
    assert not Report().is_kept
