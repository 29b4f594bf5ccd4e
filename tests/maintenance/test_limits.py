"""How far a store is from its limits, as arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from roadstead.maintenance.limits import (
    DEFAULT_MIN_FREE,
    MinFree,
    Part,
    RetentionRules,
    Volume,
    can_ever_fit,
    fits,
    reserved,
    wish_when_full,
    wishes_ahead,
    wishes_for,
)
from roadstead.metadata.records import EVERYTHING, Scope
from roadstead.telemetry.events import EvictionReason

MIB = 1024**2
GIB = 1024**3
NO_MIN_FREE = RetentionRules(min_free=MinFree(size_bytes=0))


def everything(max_bytes: int, held: int, promised: int = 0) -> Part:
    """Return the one part that most stores have."""
    return Part(EvictionReason.MAXSIZE, EVERYTHING, max_bytes, held, promised)


def test_what_is_promised_counts_as_much_as_what_is_held() -> None:
    """Two blobs that arrive at the same time may not both take the last room."""
    volume = Volume(10_000, 10_000)
    assert fits([everything(1000, 500, 300)], volume, NO_MIN_FREE, 200)
    assert not fits([everything(1000, 500, 301)], volume, NO_MIN_FREE, 200)


def test_room_is_reserved_for_links_and_the_database() -> None:
    """For the log until it has its full size, and for what it holds after that."""
    assert reserved(arriving=0, log_bytes=0, block_bytes=4096) == 6 * MIB
    assert reserved(arriving=0, log_bytes=3 * MIB, block_bytes=4096) == 3 * MIB
    assert reserved(arriving=3, log_bytes=9 * MIB, block_bytes=1024) == 2 * MIB + 60 * 1024


def test_the_default_keeps_a_little_of_the_disk_free() -> None:
    """A gibibyte of a large disk, two percent of a small one."""
    assert DEFAULT_MIN_FREE.of(1000 * GIB) == GIB
    assert DEFAULT_MIN_FREE.of(10 * GIB) == 10 * GIB * 2 // 100
    assert MinFree(percent=10).of(500) == 50
    assert MinFree(size_bytes=0).of(500) == 0


def test_free_space_is_what_is_left_when_all_promises_are_kept() -> None:
    """The file system does not know what is still to come."""
    rules = RetentionRules(min_free=MinFree(size_bytes=100))
    assert fits([], Volume(1000, 300, unwritten_bytes=150), rules, 50)
    assert not fits([], Volume(1000, 300, unwritten_bytes=150), rules, 51)
    assert fits([], Volume(1000, 300, unwritten_bytes=150, reserved_bytes=50), rules, 0)
    assert not fits([], Volume(1000, 300, unwritten_bytes=150, reserved_bytes=50), rules, 1)
    wish = wishes_for([], Volume(1000, 300, unwritten_bytes=150), rules, 60)[0]
    assert (wish.reason, wish.must_bytes, wish.free_bytes) == (EvictionReason.MINFREE, 10, 35)


def test_eviction_goes_a_batch_beyond_what_is_needed_and_begins_before() -> None:
    """So it runs once for many blobs, and most of them need not wait for it."""
    full, nearly = everything(1000, 1000), everything(1000, 991)
    assert [wish.free_bytes for wish in wishes_for([full], Volume(1, 1), NO_MIN_FREE, 50)] == [70]
    assert wishes_ahead([everything(1000, 990)], Volume(1, 1), NO_MIN_FREE) == []
    (ahead,) = wishes_ahead([nearly], Volume(1, 1), NO_MIN_FREE)
    assert (ahead.free_bytes, ahead.must_bytes) == (11, 0)


def test_what_is_larger_than_a_limit_is_not_evicted_for() -> None:
    """Emptying the store would not help."""
    part = Part(EvictionReason.UPSTREAM_MAXSIZE, Scope("ghcr.io/"), 100, 0)
    assert can_ever_fit([part], Volume(1000, 0), NO_MIN_FREE, 100)
    assert not can_ever_fit([part], Volume(1000, 0), NO_MIN_FREE, 101)
    assert not can_ever_fit([], Volume(1000, 0), RetentionRules(min_free=MinFree(100)), 901)


def test_after_a_full_disk_something_goes_whatever_the_file_system_says() -> None:
    """A quota or reserved blocks may refuse what statvfs promises."""
    wish = wish_when_full(Volume(1000, 900), NO_MIN_FREE)
    assert (wish.reason, wish.free_bytes, wish.must_bytes) == (EvictionReason.MINFREE, 20, 0)


@given(
    limit=st.integers(0, 1000),
    held=st.integers(0, 1200),
    promised=st.integers(0, 300),
    more=st.integers(0, 300),
    free=st.integers(0, 1000),
    min_free=st.integers(0, 500),
)
def test_whatever_does_not_fit_has_wishes_that_make_it_fit(
    limit: int, held: int, promised: int, more: int, free: int, min_free: int
) -> None:
    """And what fits has none."""
    part, volume = everything(limit, held, promised), Volume(1000, free)
    rules = RetentionRules(min_free=MinFree(size_bytes=min_free))
    wishes = wishes_for([part], volume, rules, more)
    assert fits([part], volume, rules, more) is not bool(wishes)
    freed = max((wish.must_bytes for wish in wishes), default=0)
    after = everything(limit, held - freed, promised)
    assert fits([after], Volume(1000, free + freed), rules, more)
    assert all(wish.free_bytes >= wish.must_bytes > 0 for wish in wishes)
