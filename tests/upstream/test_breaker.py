"""The circuit breaker, as a state machine with a clock."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.upstream.breaker import Backoff, Breaker, Permit, State
from tests.support.clock import Clock


def make(clock: Clock, *, changes: list[bool] | None = None, jitter: float = 1.0) -> Breaker:
    """Make a breaker without surprises."""
    heard = [] if changes is None else changes
    return Breaker(on_change=heard.append, clock=clock, random=lambda: jitter)


def admitted(breaker: Breaker, *, last_resort: bool = False) -> Permit:
    """Insist on leave to make a call."""
    permit = breaker.admit(last_resort=last_resort)
    assert permit is not None
    return permit


def fail(breaker: Breaker, times: int) -> None:
    """Let calls fail, one after the other, until it is at its last resort."""
    for _ in range(times):
        admitted(breaker, last_resort=True).failed()


def test_what_is_well_admits_everything() -> None:
    """A closed breaker gives any number of permits, and successes change nothing."""
    breaker = make(Clock())

    for _ in range(100):
        admitted(breaker).succeeded()

    assert breaker.state is State.CLOSED
    assert breaker.is_healthy


def test_one_failure_makes_it_a_last_resort() -> None:
    """After one failure it is not asked while others can be, but it is where none can."""
    breaker = make(Clock())

    fail(breaker, 1)

    assert breaker.state is State.SHAKEN
    assert breaker.admit() is None
    assert breaker.admit(last_resort=True) is not None


def test_failures_in_a_row_open_it() -> None:
    """From the third failure in a row on, it is not asked at all."""
    breaker = make(Clock())

    fail(breaker, 3)

    assert breaker.state is State.OPEN
    assert breaker.admit() is None
    assert breaker.admit(last_resort=True) is None


def test_a_success_in_between_begins_the_count_anew() -> None:
    """Failures that are not in a row never open it."""
    breaker = make(Clock())

    for _ in range(10):
        fail(breaker, 2)
        admitted(breaker, last_resort=True).succeeded()

    assert breaker.state is State.CLOSED


def test_calls_that_fail_together_fail_once() -> None:
    """Of a hundred calls that were under way when the endpoint died, one failure counts."""
    breaker = make(Clock())
    permits = [admitted(breaker) for _ in range(100)]

    for permit in permits:
        permit.failed()

    assert breaker.state is State.SHAKEN
    assert breaker.next_probe_seconds == 1


def test_after_the_pause_one_probe_goes_through() -> None:
    """When the pause is over one call may try; the others wait for its news."""
    clock = Clock()
    breaker = make(clock)
    fail(breaker, 3)

    clock.advance(3.9)
    assert breaker.admit() is None
    clock.advance(0.1)
    probe = admitted(breaker)
    assert breaker.state is State.PROBING
    assert breaker.admit() is None
    probe.succeeded()

    assert breaker.is_healthy
    assert breaker.admit() is not None


def test_a_probe_that_learnt_nothing_leaves_room_for_another() -> None:
    """A probe that was cancelled neither closes the breaker nor blocks the next probe."""
    clock = Clock()
    breaker = make(clock)
    fail(breaker, 3)
    clock.advance(60)

    admitted(breaker).released()

    assert breaker.state is State.OPEN
    assert admitted(breaker).is_probe


def test_pauses_double_up_to_the_longest() -> None:
    """Each failed probe doubles the pause: 1, 2, 4 seconds and so on, at most 60."""
    clock = Clock()
    breaker = make(clock)
    pauses = []

    for _ in range(9):
        admitted(breaker, last_resort=True).failed()
        pauses.append(breaker.next_probe_seconds)
        clock.advance(pauses[-1])

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_relapse_after_each_recovery_goes_on_with_the_pauses() -> None:
    """An endpoint that accepts calls and breaks every transfer is not asked once a second."""
    clock = Clock()
    breaker = make(clock)
    pauses = []

    for _ in range(4):
        permit = admitted(breaker)
        permit.succeeded()
        permit.failed()
        pauses.append(breaker.next_probe_seconds)
        clock.advance(pauses[-1])

    assert pauses == [1, 2, 4, 8]


def test_health_that_lasts_is_believed() -> None:
    """After being well for longer than its last pause, it starts with the shortest again."""
    clock = Clock()
    breaker = make(clock)
    fail(breaker, 3)
    clock.advance(4)
    admitted(breaker).succeeded()
    clock.advance(5)

    fail(breaker, 1)

    assert breaker.next_probe_seconds == 1


def test_an_old_success_does_not_close_it() -> None:
    """A call from before the failures that ends well late says nothing of now."""
    breaker = make(Clock())
    slow = admitted(breaker)
    fail(breaker, 3)

    slow.succeeded()

    assert breaker.state is State.OPEN


def test_a_probe_overtaken_by_a_failure_does_not_block_the_next() -> None:
    """A failure during a probe starts a new pause, after which another probe is admitted."""
    clock = Clock()
    breaker = make(clock)
    fail(breaker, 1)
    clock.advance(1)
    overtaken = admitted(breaker)
    fail(breaker, 1)

    overtaken.released()
    assert breaker.admit() is None
    clock.advance(2)

    assert admitted(breaker).is_probe


def test_changes_are_told_once() -> None:
    """Who listens hears of the first failure and of the recovery, and of nothing in between."""
    clock, changes = Clock(), list[bool]()
    breaker = make(clock, changes=changes)

    fail(breaker, 3)
    clock.advance(4)
    admitted(breaker).succeeded()
    admitted(breaker).succeeded()

    assert changes == [False, True]


@pytest.mark.parametrize(("jitter", "expected"), [(0.0, 0.5), (0.5, 0.75), (1.0, 1.0)])
def test_jitter_shortens_a_pause_by_up_to_half(jitter: float, expected: float) -> None:
    """Mirrors that saw the same outage do not all come back in the same moment."""
    breaker = make(Clock(), jitter=jitter)

    fail(breaker, 1)

    assert breaker.next_probe_seconds == expected


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_pauses_are_bounded(level: int, jitter: float) -> None:
    """No pause is shorter than half the first or longer than the longest."""
    assert 0.5 <= Backoff().pause(level, jitter) <= 60


@given(st.lists(st.sampled_from(["admit", "last", "ok", "fail", "nothing", "wait"]), max_size=60))
def test_an_endpoint_is_never_given_up(steps: list[str]) -> None:
    """Whatever happened, and whatever was under way, a probe is admitted after the pause."""
    clock = Clock()
    breaker = make(clock)
    under_way: list[Permit] = []
    for step in steps:
        if step in {"admit", "last"}:
            permit = breaker.admit(last_resort=step == "last")
            under_way += [permit] if permit else []
        elif step == "wait":
            clock.advance(0.7)
        elif under_way:
            permit = under_way.pop(0)
            {"ok": permit.succeeded, "fail": permit.failed, "nothing": permit.released}[step]()
    for permit in under_way:
        permit.released()

    clock.advance(breaker.next_probe_seconds)

    assert breaker.admit() is not None


def test_threads_agree_on_one_probe() -> None:
    """Of many threads that ask at once after the pause, exactly one is let through."""
    clock = Clock()
    breaker = make(clock)
    fail(breaker, 3)
    clock.advance(60)
    barrier = threading.Barrier(16)
    permits: list[Permit | None] = []

    def ask() -> None:
        barrier.wait()
        permits.append(breaker.admit())

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([permit for permit in permits if permit]) == 1
