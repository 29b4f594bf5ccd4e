"""When one blob is worth several connections."""

from hypothesis import given
from hypothesis import strategies as st

from roadstead.mirror.pace import Pace, PaceRules

_MIB = 1024 * 1024
_RATE = 20 * _MIB
RULES = PaceRules(connections=4, soon_seconds=0.5, window_seconds=0.5)


def run(*rates: float, waiting: float = 1.0, left: int = 512 * _MIB) -> list[int]:
    """Look at the end of each window, in which so many bytes came per second."""
    pace = Pace(RULES, now=0.0, received=0, waited=0.0)
    received = 0.0
    seen = []
    for number, rate in enumerate(rates, start=1):
        received += rate / 2
        now = number / 2
        seen.append(pace.look(now, received=int(received), waited=now * waiting, left=left))
    return seen


def test_a_slow_upstream_gets_all_connections_and_keeps_them() -> None:
    """Four connections bring nearly four times as much, after a window in which they are made."""
    assert run(_RATE, 2 * _RATE, 3.8 * _RATE, _RATE, _RATE) == [4, 4, 4, 4, 4]


def test_a_full_line_gets_one_connection_back() -> None:
    """What four bring no faster than one is fetched over one, and not tried again."""
    assert run(_RATE, _RATE, _RATE, _RATE, 9 * _RATE) == [4, 4, 1, 1, 1]


def test_an_upstream_that_is_faster_than_this_machine_gets_one() -> None:
    """A reader that hardly waits would not read faster from four."""
    assert run(_RATE, _RATE, waiting=0.3) == [1, 1]
    assert run(6 * _RATE, 6 * _RATE) == [1, 1]


def test_what_is_soon_over_stays_as_it_is() -> None:
    """Neither the last half second, nor a small rest, is worth a connection."""
    assert run(_RATE, left=_RATE // 2) == [1]
    assert run(1000.0, left=2 * RULES.least_segment - 1) == [1]


def test_nothing_is_judged_before_a_window_is_over() -> None:
    """A first burst out of buffers says nothing."""
    pace = Pace(RULES, now=0.0, received=0, waited=0.0)
    assert pace.look(0.4, received=1000, waited=0.4, left=512 * _MIB) == 1


def test_one_connection_is_never_more() -> None:
    """Whoever wants one gets one."""
    pace = Pace(PaceRules(connections=1), now=0.0, received=0, waited=0.0)
    assert pace.look(9.0, received=1000, waited=9.0, left=512 * _MIB) == 1


@given(left=st.integers(1, 2**40), connections=st.integers(1, 16))
def test_segments_have_a_sane_size(left: int, connections: int) -> None:
    """Large enough for a round trip, small enough to lose little of."""
    rules = PaceRules(connections=connections)
    assert rules.least_segment <= rules.segment_bytes(left) <= rules.largest_segment
