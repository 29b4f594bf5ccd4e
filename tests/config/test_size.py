"""Sizes and shares of a disk, as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.config.refusal import UnusableValueError
from roadstead.config.size import DiskShare, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1048576),
        ("100GB", 100 * 1000**3),
        ("80 GiB", 80 * 1024**3),
        ("1.5TB", 1_500_000_000_000),
        ("512mib", 512 * 1024**2),
        (" 5 kB ", 5000),
        ("7B", 7),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    """Thousands by the letter alone, powers of 1024 with an i."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "reason", "fix"),
    [
        ("", "not a size", "100GB"),
        ("lots", "not a size", "100GB"),
        ("-5GB", "not a size", "100GB"),
        ("10G", "unknown unit G", "10GB (thousands) or 10GiB (1024s)"),
        ("10GiBit", "unknown unit GiBit", "100GB"),
        ("1.5", "fraction", "100GB"),
        ("99999999999PB", "larger than any disk", "smaller"),
        ("5%", "not a size", "100GB"),
    ],
)
def test_what_is_no_size_is_refused_with_the_fix(text: str, reason: str, fix: str) -> None:
    """One letter alone means two things to different people, so it is not guessed."""
    with pytest.raises(UnusableValueError) as refused:
        parse_size(text)
    assert reason in refused.value.reason
    assert fix in refused.value.fix


@given(st.integers(min_value=0, max_value=2**62))
def test_a_number_of_bytes_is_itself(size: int) -> None:
    """What is printed as an effective value is read again."""
    assert parse_size(str(size)) == size


@given(st.text(max_size=12))
def test_no_text_fails_in_another_way(text: str) -> None:
    """Whatever is written, it is a share or it is refused."""
    try:
        share = DiskShare.parse(text)
    except UnusableValueError:
        return
    assert DiskShare.parse(str(share)) == share


def test_a_share_is_a_size_or_a_percentage() -> None:
    """And never the whole disk."""
    assert DiskShare.parse("2.5%") == DiskShare(percent=2.5)
    assert DiskShare.parse("20GB") == DiskShare(size_bytes=20 * 1000**3)
    with pytest.raises(UnusableValueError, match="whole disk"):
        DiskShare.parse("100%")
