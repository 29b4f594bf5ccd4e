"""Ranges and validators of HTTP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.server.ranges import (
    MAX_RANGES,
    ByteRange,
    RangeNotSatisfiableError,
    if_range_holds,
    matches_none_of,
    parse_ranges,
)

ETAG = '"sha256:abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=500-1499", [(500, 1499)]),
        ("bytes=500-", [(500, 2047)]),
        ("bytes=-500", [(1548, 2047)]),
        ("bytes=-5000", [(0, 2047)]),
        ("bytes=2000-5000", [(2000, 2047)]),
        ("BYTES=0-0", [(0, 0)]),
        ("bytes=0-0,-1,5-6", [(0, 0), (2047, 2047), (5, 6)]),
        ("bytes=5-6, 0-1", [(5, 6), (0, 1)]),
        ("bytes=0-0,9999-", [(0, 0)]),
    ],
)
def test_ranges_are_read(header: str, expected: list[tuple[int, int]]) -> None:
    """The cases of the distribution-spec's conformance suite, and lists kept in order."""
    assert parse_ranges(header, 2048) == [ByteRange(*pair) for pair in expected]


@pytest.mark.parametrize(
    "header",
    ["bytes=500-0", "bytes=5000-10000", "bytes=", "bytes=-", "bytes=a-b", "bytes", "bytes=-0"],
)
def test_what_cannot_be_satisfied_or_read_is_416(header: str) -> None:
    """Out of reach and broken ranges alike, as Go's servers answer."""
    with pytest.raises(RangeNotSatisfiableError):
        parse_ranges(header, 2048)


def test_an_unknown_unit_is_ignored() -> None:
    """Another unit than bytes means the whole content."""
    assert parse_ranges("lines=1-2", 2048) is None


def test_too_many_ranges_mean_the_whole_content() -> None:
    """A list that is too long is not worth parts."""
    header = "bytes=" + ",".join(f"{at}-{at}" for at in range(MAX_RANGES + 1))

    assert parse_ranges(header, 2048) is None


def test_ranges_larger_than_the_content_mean_the_whole_content() -> None:
    """Overlapping ranges must not multiply what is sent."""
    assert parse_ranges("bytes=0-2047,0-2047", 2048) is None


def test_no_range_of_empty_content_can_be_satisfied() -> None:
    """An empty blob has no bytes to choose from."""
    with pytest.raises(RangeNotSatisfiableError):
        parse_ranges("bytes=0-", 0)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_a_range_is_a_slice(content: bytes, data: st.DataObject) -> None:
    """Whatever range is valid gives what a slice gives."""
    first = data.draw(st.integers(0, len(content) - 1))
    last = data.draw(st.integers(first, len(content) + 50))

    parsed = parse_ranges(f"bytes={first}-{last}", len(content))

    assert parsed is not None
    (wanted,) = parsed
    assert content[wanted.first : wanted.last + 1] == content[first : last + 1]
    assert wanted.length == len(content[first : last + 1])


@given(st.text())
def test_any_header_is_answered(header: str) -> None:
    """No header, however odd, raises anything but 416."""
    try:
        parsed = parse_ranges(f"bytes={header}", 100)
    except RangeNotSatisfiableError:
        return
    assert parsed is None or all(0 <= wanted.first <= wanted.last < 100 for wanted in parsed)


@pytest.mark.parametrize(
    ("header", "is_full"),
    [
        (None, True),
        (ETAG, False),
        ("sha256:abc", False),
        (f"W/{ETAG}", False),
        ("*", False),
        (f'"other", {ETAG}', False),
        ('"other"', True),
    ],
)
def test_if_none_match(header: str | None, is_full: bool) -> None:  # noqa: FBT001 - a table
    """Lists, weak validators, the star and registry:2's bare digest are understood."""
    assert matches_none_of(header, ETAG) is is_full


@pytest.mark.parametrize(
    ("header", "holds"), [(None, True), (ETAG, True), (f"W/{ETAG}", False), ("date", False)]
)
def test_if_range(header: str | None, holds: bool) -> None:  # noqa: FBT001 - a table
    """Only a strong match allows a partial answer."""
    assert if_range_holds(header, ETAG) is holds
