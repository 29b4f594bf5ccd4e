"""The thread that carries a blob: resumption, verification and what it publishes."""

import errno
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadstead.errors import (
    BlobUnknownError,
    DigestMismatchError,
    StorageUnavailableError,
    UpstreamProtocolError,
    UpstreamUnreachableError,
)
from roadstead.mirror.pump import Progress, Pump, RetryPolicy
from roadstead.mirror.room import Room
from roadstead.mirror.space import Unlimited
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry import events
from roadstead.telemetry.events import Event
from tests.support.failing_store import Disk, FailingStore

REPOSITORY = RepositoryName("library/app")
CONTENT = bytes(range(256)) * 40
DIGEST = Digest.of(CONTENT)
AT_ONCE = RetryPolicy(
    attempts=3, first_attempts=1, first_delay_seconds=0.0, room_delays_seconds=(0.0,)
)


class Script:
    """A transfer that gives chunks and then ends, or breaks."""

    def __init__(
        self,
        content: bytes,
        *,
        start: int,
        size: int | None,
        cut: int | None = None,
        chunk: int = 1000,
        error: Exception | None = None,
    ) -> None:
        """Send ``content`` from ``start`` and break at offset ``cut``."""
        self.start = start
        self.size_bytes = size
        self._error = error or UpstreamUnreachableError("cut", upstream="test")
        end = len(content) if cut is None else cut
        self._cut = cut is not None
        self._chunks: Iterator[bytes] = iter(
            [content[at : min(at + chunk, end)] for at in range(start, end, chunk)]
        )
        self.closed = False

    def read(self) -> bytes:
        """Give the next chunk."""
        chunk = next(self._chunks, b"")
        if not chunk and self._cut:
            raise self._error
        return chunk

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def abort(self) -> None:
        """Nothing blocks here."""


class Run:
    """One pump over a store in a folder, and all that it told."""

    def __init__(self, root: Path, open_transfer: Callable[[int], Script]) -> None:
        self.store = FilesystemStore(root, boot_id="boot")
        self.published: list[Progress] = []
        self.events: list[Event] = []
        self.offsets: list[int] = []
        self._open = open_transfer
        self.pump = self.new_pump()

    def new_pump(self) -> Pump:
        """Make one, over the store that is there now."""
        return Pump(
            digest=DIGEST,
            upstream="test",
            host="test",
            open_partial=self.store.partial_blob,
            open_transfer=self._record,
            room=Room(Unlimited(), REPOSITORY, DIGEST),
            publish=self.published.append,
            observe=self.events.append,
            retry=AT_ONCE,
        )

    def _record(self, offset: int) -> Script:
        self.offsets.append(offset)
        return self._open(offset)

    def run(self) -> bool:
        """Run to the end in this thread."""
        try:
            return self.pump.run(lambda: frozenset({REPOSITORY}))
        finally:
            if self.last.file is not None:
                self.last.file.close()

    @property
    def last(self) -> Progress:
        """The latest news."""
        return self.published[-1] if self.published else Progress()

    def held(self) -> bytes | None:
        """Read the blob from the store."""
        opened = self.store.open_blob(DIGEST)
        if opened is None:
            return None
        with opened.file:
            return opened.file.read()

    def partial_size(self) -> int:
        """Size of the partial file that is left."""
        partial = self.store.partial_blob(DIGEST)
        size = partial.offset
        if size:
            partial.close()
        else:
            partial.discard()
        return size


async def test_a_whole_transfer_is_verified_and_stored(tmp_path: Path) -> None:
    """What arrives whole is in the store, linked, and told."""
    run = Run(tmp_path, lambda offset: Script(CONTENT, start=offset, size=len(CONTENT)))

    assert run.run()

    assert run.held() == CONTENT
    assert await run.store.stat_blob(REPOSITORY, DIGEST) == len(CONTENT)
    assert run.last.complete
    assert events.Stored(events.Kind.BLOB, len(CONTENT)) in run.events


@pytest.mark.parametrize("size", [len(CONTENT), None], ids=["size known", "size unknown"])
def test_the_last_bytes_wait_for_the_digest(tmp_path: Path, size: int | None) -> None:
    """No news but the final one lets a reader reach the end."""
    run = Run(tmp_path, lambda offset: Script(CONTENT, start=offset, size=size))

    run.run()

    assert all(
        progress.available < len(CONTENT) for progress in run.published if not progress.complete
    )
    assert run.last.available == len(CONTENT)


@pytest.mark.parametrize("size", [len(CONTENT), None], ids=["size known", "size unknown"])
def test_wrong_bytes_never_complete_and_are_not_kept(tmp_path: Path, size: int | None) -> None:
    """Content with another digest ends in an error, and nothing of it is left on disk."""
    wrong = CONTENT[:-1] + b"x"
    run = Run(tmp_path, lambda offset: Script(wrong, start=offset, size=size))

    assert not run.run()

    assert isinstance(run.last.error, DigestMismatchError)
    assert not any(progress.complete for progress in run.published)
    assert max(progress.available for progress in run.published) < len(CONTENT)
    assert run.held() is None
    assert run.partial_size() == 0


def test_a_cut_transfer_is_resumed_where_it_stopped(tmp_path: Path) -> None:
    """The next request begins at the byte after the last one written."""
    cuts = iter([3000, 7500, None])
    run = Run(
        tmp_path,
        lambda offset: Script(CONTENT, start=offset, size=len(CONTENT), cut=next(cuts)),
    )

    assert run.run()

    assert run.offsets == [0, 3000, 7500]
    assert run.held() == CONTENT
    assert [event for event in run.events if isinstance(event, events.TransferResumed)] == [
        events.TransferResumed(3000),
        events.TransferResumed(7500),
    ]


def test_an_upstream_without_ranges_is_checked_against_what_is_here(tmp_path: Path) -> None:
    """A transfer that begins at 0 again is compared with the prefix and goes on behind it."""
    cuts = iter([3333, None])
    run = Run(tmp_path, lambda _offset: Script(CONTENT, start=0, size=len(CONTENT), cut=next(cuts)))

    assert run.run()

    assert run.held() == CONTENT


def test_other_content_behind_a_cut_is_never_spliced(tmp_path: Path) -> None:
    """When readers have seen a prefix that upstream now contradicts, the fetch fails."""
    other = b"z" * len(CONTENT)
    bodies = iter([(CONTENT, 3333), (other, None)])

    def open_transfer(_offset: int) -> Script:
        content, cut = next(bodies)
        return Script(content, start=0, size=len(CONTENT), cut=cut)

    run = Run(tmp_path, open_transfer)

    assert not run.run()

    assert isinstance(run.last.error, DigestMismatchError)
    assert run.held() is None


def test_a_partial_file_that_upstream_contradicts_is_dropped(tmp_path: Path) -> None:
    """A leftover nobody has read is replaced by what upstream sends."""
    store = FilesystemStore(tmp_path, boot_id="boot")
    leftover = store.partial_blob(DIGEST)
    leftover.write(b"not the beginning")
    leftover.close()
    run = Run(tmp_path, lambda _offset: Script(CONTENT, start=0, size=len(CONTENT)))

    assert run.run()

    assert run.held() == CONTENT


def test_a_partial_file_of_an_earlier_process_is_resumed(tmp_path: Path) -> None:
    """What an earlier process has written is not asked for again."""
    store = FilesystemStore(tmp_path, boot_id="boot")
    leftover = store.partial_blob(DIGEST)
    leftover.write(CONTENT[:6000])
    leftover.close()
    run = Run(tmp_path, lambda offset: Script(CONTENT, start=offset, size=len(CONTENT)))

    assert run.run()

    assert run.offsets == [6000]
    assert run.held() == CONTENT


def test_failures_without_progress_end_the_fetch(tmp_path: Path) -> None:
    """After so many tries in a row that bring nothing, the error is published."""
    run = Run(tmp_path, lambda offset: Script(CONTENT, start=offset, size=len(CONTENT), cut=0))

    assert not run.run()

    assert len(run.offsets) == 1 + AT_ONCE.attempts
    assert isinstance(run.last.error, UpstreamUnreachableError)
    assert run.partial_size() == 0


def test_before_the_first_byte_patience_is_short(tmp_path: Path) -> None:
    """An upstream that cannot be reached at all is asked twice, not for seconds."""
    error = UpstreamUnreachableError("refused", upstream="test")

    def open_transfer(_offset: int) -> Script:
        raise error

    run = Run(tmp_path, open_transfer)

    assert not run.run()

    assert len(run.offsets) == 2
    assert run.last.error is error


def test_tries_that_bring_something_are_not_counted(tmp_path: Path) -> None:
    """A transfer may be cut any number of times as long as it moves."""
    positions = itertools.count(1)
    run = Run(
        tmp_path,
        lambda offset: Script(
            CONTENT,
            start=offset,
            size=len(CONTENT),
            cut=end if (end := next(positions) * 500) < len(CONTENT) else None,
        ),
    )

    assert run.run()

    assert len(run.offsets) > 10
    assert run.held() == CONTENT


def test_a_refusal_is_not_retried(tmp_path: Path) -> None:
    """Unknown is unknown: one question, no file left."""
    error = BlobUnknownError(REPOSITORY, str(DIGEST))

    def open_transfer(_offset: int) -> Script:
        raise error

    run = Run(tmp_path, open_transfer)

    assert not run.run()

    assert run.last.error is error
    assert run.last.file is None
    assert run.offsets == [0]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_transfer_from_another_place_is_refused(tmp_path: Path) -> None:
    """Bytes that begin neither where they were asked for nor at 0 fit nowhere."""
    starts = iter([(0, 3000), (2000, None)])

    def open_transfer(_offset: int) -> Script:
        start, cut = next(starts)
        return Script(CONTENT, start=start, size=len(CONTENT), cut=cut)

    run = Run(tmp_path, open_transfer)

    assert not run.run()

    assert isinstance(run.last.error, UpstreamProtocolError)
    assert run.partial_size() == 3000


def test_a_leftover_longer_than_what_is_sent_is_dropped(tmp_path: Path) -> None:
    """Without a size told, a transfer that ends inside of it shows that it was no beginning."""
    run = Run(tmp_path, lambda _offset: Script(CONTENT, start=0, size=None))
    leftover = run.store.partial_blob(DIGEST)
    leftover.write(CONTENT + b"more")
    leftover.close()

    assert run.run()

    assert run.offsets == [len(CONTENT) + 4, 0]
    assert run.held() == CONTENT


def test_a_repetition_that_is_cut_sooner_is_tried_again(tmp_path: Path) -> None:
    """An upstream without ranges that ends before what readers have seen has only been cut."""
    ends = iter([3000, 1000, len(CONTENT)])

    def open_transfer(_offset: int) -> Script:
        # The second one ends like a whole body of unknown size does.
        end = next(ends)
        cut = end if end == 3000 else None
        size = len(CONTENT) if end == 3000 else None
        return Script(CONTENT[:end], start=0, size=size, cut=cut)

    run = Run(tmp_path, open_transfer)

    assert run.run()

    assert run.offsets == [0, 3000, 3000]
    assert run.held() == CONTENT


def test_a_body_shorter_than_announced_is_no_end(tmp_path: Path) -> None:
    """A connection that ends cleanly, but too early, is resumed like a broken one."""
    bodies = iter([CONTENT[:4000], CONTENT])
    run = Run(tmp_path, lambda offset: Script(next(bodies), start=offset, size=len(CONTENT)))

    assert run.run()

    assert run.offsets == [0, 4000]
    assert run.held() == CONTENT


def test_a_size_that_changes_ends_the_fetch(tmp_path: Path) -> None:
    """Upstream may not tell another size after a cut."""
    sizes = iter([(len(CONTENT), 2000), (len(CONTENT) + 1, None)])

    def open_transfer(offset: int) -> Script:
        size, cut = next(sizes)
        return Script(CONTENT, start=offset, size=size, cut=cut)

    run = Run(tmp_path, open_transfer)

    assert not run.run()

    assert isinstance(run.last.error, UpstreamProtocolError)


def test_stopping_keeps_what_has_arrived(tmp_path: Path) -> None:
    """A pump that is stopped in the middle leaves a partial file for the next process."""
    run: Run

    class StoppedWhileReading(Script):
        def read(self) -> bytes:
            run.pump.stop()
            return super().read()

    run = Run(
        tmp_path, lambda offset: StoppedWhileReading(CONTENT, start=offset, size=len(CONTENT))
    )

    assert not run.run()

    assert run.partial_size() == 1000


def test_a_pump_that_was_stopped_before_it_ran_asks_nobody(tmp_path: Path) -> None:
    """A fetch that still waited for its turn when the process stops is not begun."""
    run = Run(tmp_path, lambda offset: Script(CONTENT, start=offset, size=len(CONTENT)))
    run.pump.stop()

    assert not run.run()

    assert run.offsets == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_stop_while_upstream_is_asked_ends_the_transfer_unread(tmp_path: Path) -> None:
    """There was no transfer to abort yet, so nobody else would wake its first read."""
    run: Run
    opened: list[Script] = []

    def open_transfer(offset: int) -> Script:
        run.pump.stop()
        opened.append(Script(CONTENT, start=offset, size=len(CONTENT)))
        return opened[-1]

    run = Run(tmp_path, open_transfer)

    assert not run.run()

    (transfer,) = opened
    assert transfer.closed
    assert transfer.read() == CONTENT[:1000]
    assert run.last.available == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    cuts=st.lists(st.integers(min_value=0, max_value=len(CONTENT) - 1), max_size=6),
    chunk=st.integers(min_value=1, max_value=4000),
    ranges=st.booleans(),
    size=st.sampled_from([len(CONTENT), None]),
)
def test_any_sequence_of_cuts_gives_the_right_blob_or_none(
    tmp_path_factory: pytest.TempPathFactory,
    cuts: list[int],
    chunk: int,
    ranges: bool,  # noqa: FBT001 - hypothesis passes by name
    size: int | None,
) -> None:
    """Wherever the connection breaks, with Range or without: right bytes or an error, no third."""
    script = iter(cuts)

    def open_transfer(offset: int) -> Script:
        start = offset if ranges else 0
        return Script(CONTENT, start=start, size=size, cut=next(script, None), chunk=chunk)

    run = Run(tmp_path_factory.mktemp("store"), open_transfer)

    if run.run():
        assert run.held() == CONTENT
    else:
        assert run.held() is None
        assert run.last.error is not None


def test_a_blob_that_could_not_be_synced_is_shown_to_nobody(tmp_path: Path) -> None:
    """Readers that are not at its end yet go on elsewhere: the file may give anything."""
    disk = Disk()
    disk.refuse("sync", errno.EIO)
    run = Run(tmp_path, lambda offset: Script(CONTENT, start=offset, size=len(CONTENT)))
    run.store = FailingStore(tmp_path, disk, observer=run.events.append, boot_id="boot")
    run.pump = run.new_pump()

    assert not run.run()

    assert isinstance(run.last.error, StorageUnavailableError)
    assert (run.last.available, run.last.complete) == (0, False)
    assert run.held() is None


def test_a_blob_that_could_not_be_renamed_stays_readable_and_is_resumed(tmp_path: Path) -> None:
    """It is complete and on the disk: readers finish, and the next fetch costs no byte."""
    disk = Disk()
    disk.refuse("rename", errno.EIO)
    run = Run(tmp_path, lambda offset: Script(CONTENT, start=offset, size=len(CONTENT)))
    run.store = FailingStore(tmp_path, disk, observer=run.events.append, boot_id="boot")
    run.pump = run.new_pump()

    assert not run.run()

    assert (run.last.available, run.last.complete) == (len(CONTENT), True)
    disk.mend()
    again = Run(tmp_path, lambda offset: Script(CONTENT, start=offset, size=len(CONTENT)))
    assert again.run()
    assert again.offsets == [len(CONTENT)]
    assert again.held() == CONTENT


def test_a_disk_that_removes_nothing_ends_a_fetch_all_the_same(tmp_path: Path) -> None:
    """Readers hear of the failure, whatever becomes of the partial file."""
    disk = Disk()
    disk.refuse("write", errno.EROFS)
    disk.refuse("remove", errno.EROFS)
    run = Run(tmp_path, lambda offset: Script(CONTENT, start=offset, size=len(CONTENT)))
    run.store = FailingStore(tmp_path, disk, observer=run.events.append, boot_id="boot")
    run.pump = run.new_pump()

    assert not run.run()

    assert isinstance(run.last.error, StorageUnavailableError)
    assert events.FlightStarted(resumed_bytes=0) in run.events
