"""A blob over several connections: always the same bytes, in order."""

import io
import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.errors import (
    StorageFullError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRateLimitedError,
    UpstreamUnreachableError,
)
from roadstead.mirror.pace import PaceRules
from roadstead.mirror.pump import RetryPolicy
from roadstead.mirror.segments import SegmentedTransfer

CONTENT = bytes(itertools.islice(itertools.cycle(range(251)), 4000))
RULES = PaceRules(
    connections=3, soon_seconds=0.0, window_seconds=1.0, least_segment=200, largest_segment=300
)
CUT = UpstreamUnreachableError("cut", upstream="test")
LIMITED = UpstreamRateLimitedError("slow down", upstream="test")
NO_PARTS = UpstreamProtocolError("no parts here", upstream="test")


def scratch_file() -> BinaryIO:
    """Open a nameless file."""
    return cast("BinaryIO", tempfile.TemporaryFile(buffering=0))


class Part:
    """A transfer of some bytes that may break.

    Each read takes one second, unless a helper does it: that goes on meanwhile.
    """

    def __init__(
        self, lab: "Lab", start: int, stop: int, *, cut_after: int | None, size: int
    ) -> None:
        self.start = start
        self.size_bytes: int | None = size
        self._lab = lab
        self._position = start
        self._stop = stop
        self._cut_at = None if cut_after is None else start + cut_after
        self.aborted = threading.Event()
        self.closed = False

    def read(self) -> bytes:
        """Give at most so many bytes."""
        self._lab.now += 0.0 if self._lab.is_helping else 1.0
        end = min(self._position + self._lab.chunk, self._stop)
        if self._cut_at is not None and self._position >= self._cut_at:
            raise CUT
        if self._cut_at is not None:
            end = min(end, self._cut_at)
        chunk = CONTENT[self._position : end]
        self._position = end
        return chunk

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def abort(self) -> None:
        """Note it."""
        self.aborted.set()


@dataclass
class Lab:
    """An upstream, helpers that work at once when they are asked to, and a clock."""

    faults: Iterator[int | Exception | None] = field(default_factory=lambda: itertools.repeat(None))
    helpers: int = 100
    scratch: Callable[[], BinaryIO] = scratch_file
    part_size: int = len(CONTENT)
    now: float = 0.0
    chunk: int = 70
    is_helping: bool = False
    asked: list[tuple[int, int | None]] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    refusals: list[Exception] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)

    def open_part(self, first: int, stop: int | None) -> Part:
        """Open a transfer, or refuse."""
        self.asked.append((first, stop))
        fault = next(self.faults, None)
        if isinstance(fault, Exception):
            raise fault
        end = len(CONTENT) if stop is None else stop
        part = Part(self, first, end, cut_after=fault, size=self.part_size)
        self.parts.append(part)
        return part

    def take(self) -> bool:
        """See Helpers."""
        self.helpers -= 1
        return self.helpers >= 0

    def run(self, work: Callable[[], None]) -> None:
        """See Helpers."""
        self.is_helping = True
        work()
        self.is_helping = False

    def refused(self, error: Exception) -> None:
        """See Helpers."""
        self.refusals.append(error)

    def transfer(self, offset: int = 0, *, cut_after: int | None = None) -> SegmentedTransfer:
        """Begin a transfer at an offset."""
        main = Part(self, offset, len(CONTENT), cut_after=cut_after, size=len(CONTENT))
        self.parts.append(main)
        return SegmentedTransfer(
            main,
            open_part=self.open_part,
            scratch=self.scratch,
            helpers=self,
            ended=self.ended.append,
            host="test",
            rules=RULES,
            retry=RetryPolicy(attempts=2, first_delay_seconds=0.0),
            clock=lambda: self.now,
        )


def read_until_it_fails(transfer: SegmentedTransfer) -> tuple[bytes, UpstreamError | None]:
    """Read as far as it goes, and close."""
    content = b""
    try:
        while chunk := transfer.read():
            content += chunk
    except UpstreamError as error:
        return content, error
    finally:
        transfer.close()
    return content, None


def read_all(transfer: SegmentedTransfer) -> bytes:
    """Read to the end and close."""
    content = b""
    try:
        while chunk := transfer.read():
            content += chunk
    finally:
        transfer.close()
    return content


@pytest.mark.parametrize("offset", [0, 1, 1999, 3990, 4000])
def test_a_slow_blob_comes_in_parts_and_in_order(offset: int) -> None:
    """Whoever reads sees one transfer; no byte of a part is asked for twice."""
    lab = Lab()

    assert read_all(lab.transfer(offset)) == CONTENT[offset:]

    assert bool(lab.asked) is (offset < 3000)
    assert all(one[1] == other[0] for one, other in itertools.pairwise(lab.asked))
    assert lab.ended == [bool(lab.asked)]
    assert all(part.closed for part in lab.parts)


@given(
    faults=st.lists(
        st.one_of(
            st.none(),
            st.integers(0, 400),
            st.sampled_from([CUT, LIMITED, NO_PARTS]),
        ),
        max_size=30,
    ),
    cuts=st.lists(st.one_of(st.none(), st.integers(0, 4000)), min_size=1, max_size=5),
    helpers=st.integers(0, 40),
)
def test_whatever_breaks_the_bytes_are_right(
    faults: list[int | Exception | None], cuts: list[int | None], helpers: int
) -> None:
    """A reader that resumes where it stopped, as the pump does, has the content in the end."""
    lab = Lab(faults=iter(faults), helpers=helpers)
    content = b""
    for cut in [*cuts, *[None] * 40]:
        transfer = lab.transfer(len(content), cut_after=cut)
        try:
            while chunk := transfer.read():
                content += chunk
        except UpstreamError:
            assert content == CONTENT[: len(content)]
        else:
            break
        finally:
            transfer.close()

    assert content == CONTENT
    assert all(part.closed for part in lab.parts)


def full() -> BinaryIO:
    """Have no room for a scratch file."""
    raise StorageFullError


def unwritable() -> BinaryIO:
    """Have a scratch file that cannot be written."""
    return cast("BinaryIO", io.FileIO("/dev/full", "w"))


@pytest.mark.parametrize("scratch", [full, unwritable])
def test_a_disk_without_room_for_parts_is_no_failure_of_the_blob(
    scratch: Callable[[], BinaryIO],
) -> None:
    """The first transfer goes on through what could not be fetched ahead."""
    lab = Lab(scratch=scratch)

    assert read_all(lab.transfer()) == CONTENT

    assert len(lab.refusals) == 1


def test_parts_of_another_blob_are_refused() -> None:
    """A total that differs from the first answer's is no part of the same content."""
    lab = Lab(part_size=len(CONTENT) + 1)

    assert read_all(lab.transfer()) == CONTENT

    assert "another size" in str(lab.refusals[0])


@pytest.mark.parametrize("seed", range(30))
def test_helpers_in_threads_of_their_own_leave_no_gap(seed: int) -> None:
    """However threads are scheduled, and whatever breaks, a resuming reader has it all."""
    random = Random(seed)  # noqa: S311 - chooses what breaks
    faults = [random.choice([None, None, None, 30, 150, CUT, LIMITED]) for _ in range(20)]
    lab = Lab(faults=iter(faults), chunk=random.choice([70, 700]))
    with ThreadPoolExecutor(8) as threads:
        lab.run = lambda work: (threads.submit(work), None)[1]  # type: ignore[method-assign]
        content = b""
        while len(content) < len(CONTENT):
            transfer = lab.transfer(len(content), cut_after=random.choice([None, 500, 2000]))
            got, _ = read_until_it_fails(transfer)
            content += got

    assert content == CONTENT


def test_a_cut_of_the_first_transfer_wastes_nothing_that_was_fetched_ahead() -> None:
    """Only the gap before the first part is asked for again."""
    lab = Lab()

    assert read_all(lab.transfer(cut_after=150)) == CONTENT

    gaps = [asked for asked in lab.asked if asked[0] == 150]
    assert len(gaps) == 1
    assert gaps[0][1] == lab.asked[0][0]


def test_an_abort_wakes_a_reader_and_ends_the_helpers() -> None:
    """A stop waits for nobody: neither for a part that does not come, nor for a thread."""
    lab = Lab()
    release = threading.Event()
    threads: list[threading.Thread] = []

    class Silent(Part):
        def read(self) -> bytes:
            release.set()
            self.aborted.wait(30)
            raise CUT

    def open_part(first: int, stop: int | None) -> Part:
        part = Silent(lab, first, stop or len(CONTENT), cut_after=None, size=len(CONTENT))
        lab.parts.append(part)
        return part

    def run(work: Callable[[], None]) -> None:
        threads.append(threading.Thread(target=work))
        threads[-1].start()

    lab.open_part, lab.run = open_part, run  # type: ignore[method-assign]
    transfer = lab.transfer()

    def abort_when_waiting() -> None:
        release.wait(30)
        transfer.abort()

    aborting = threading.Thread(target=abort_when_waiting)
    aborting.start()
    with pytest.raises(UpstreamUnreachableError):
        read_all(transfer)

    for thread in [aborting, *threads]:
        thread.join(30)
        assert not thread.is_alive()
    assert all(part.closed for part in lab.parts)
