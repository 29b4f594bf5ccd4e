"""Large blobs from slow upstreams, over several connections, through the whole mirror."""

import errno
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from roadstead.errors import DigestMismatchError, RoadsteadError
from roadstead.mirror.pace import PaceRules
from roadstead.mirror.parallel import ParallelTransfers
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.simulator import faults
from roadstead.simulator.content import GeneratedContent
from roadstead.simulator.faults import Fault, RequestKind
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry.events import SegmentStarted
from roadstead.upstream.base import BlobTransfer
from roadstead.upstream.offline import OfflineUpstream
from tests.support.failing_store import Disk
from tests.support.rig import APP, Rig, make_rig, read_all

SIZE = 1_000_000
LAYER = GeneratedContent(SIZE)
KIB = 1024
# A blob takes 0.4 s over one connection; parts are asked for after a twentieth of that.
SLOW = faults.Slow(bytes_per_second=2_500_000)
EAGER = PaceRules(
    connections=4,
    soon_seconds=0.0,
    window_seconds=0.04,
    least_segment=64 * KIB,
    largest_segment=128 * KIB,
)


@asynccontextmanager
async def slow_rig(root: Path, *, disk: Disk | None = None) -> AsyncIterator[Rig]:
    """Build a mirror of a slow upstream."""
    async with make_rig(root, pace=EAGER, disk=disk) as rig:
        rig.upstream.inject(SLOW, kind=RequestKind.BLOB)
        yield rig


def segments(rig: Rig) -> int:
    """Count the parts that were asked for."""
    return rig.events.count(SegmentStarted())


async def fetch(rig: Rig, digest: Digest) -> Digest:
    """Read a blob to its end; return the digest of what came."""
    content = await read_all(await rig.mirror.blob(APP, digest))
    await rig.landed()
    return Digest.of(content)


async def test_a_slow_blob_is_fetched_over_several_connections(tmp_path: Path) -> None:
    """It is whole and held, upstream sends little twice, and nothing is left over."""
    async with slow_rig(tmp_path) as rig:
        blob = rig.upstream.add_blob(APP, LAYER)

        assert await fetch(rig, blob.digest) == blob.digest

        assert segments(rig) > 3
        assert await rig.store.stat_blob(APP, blob.digest) == SIZE
        assert rig.upstream.blob_bytes_sent(blob.digest) < 2 * SIZE
        assert rig.files("roadstead/**/*") == [
            name for name in rig.files("roadstead/**/*") if "partial" not in name
        ]


REFUSALS: dict[str, Fault] = {
    "whole": faults.WithoutRange(),
    "429": faults.Status(429, headers={"Retry-After": "1"}),
    "416": faults.Status(416),
    "another part": faults.LyingRange(-1),
}
TROUBLES: dict[str, Fault] = {
    "503": faults.Status(503),
    "cut": faults.Cut(0),
    "cut later": faults.Cut(30_000),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_an_upstream_that_gives_no_parts_is_asked_for_no_more(
    tmp_path: Path, refusal: str
) -> None:
    """The blob arrives whole all the same, and the next one is not tried in parts."""
    async with slow_rig(tmp_path) as rig:
        first = rig.upstream.add_blob(APP, LAYER)
        second = rig.upstream.add_blob(APP, GeneratedContent(SIZE, seed=1))
        refusing = rig.upstream.inject(REFUSALS[refusal], kind=RequestKind.BLOB, skip=1, times=3)

        assert await fetch(rig, first.digest) == first.digest
        rig.upstream.withdraw(refusing)
        before = segments(rig)
        assert await fetch(rig, second.digest) == second.digest

        assert segments(rig) == before


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_parts_that_break_are_asked_for_again(tmp_path: Path, trouble: str) -> None:
    """A network that breaks now and then costs a part its rest, and the blob nothing."""
    async with slow_rig(tmp_path) as rig:
        blob = rig.upstream.add_blob(APP, LAYER)
        rig.upstream.inject(TROUBLES[trouble], kind=RequestKind.BLOB, skip=1, times=3)

        assert await fetch(rig, blob.digest) == blob.digest

        assert rig.upstream.blob_bytes_sent(blob.digest) < 2 * SIZE


async def test_wrong_parts_fail_once(tmp_path: Path) -> None:
    """An upstream that lies about ranges spoils one fetch, and is asked for whole blobs then."""
    async with slow_rig(tmp_path) as rig:
        blob = rig.upstream.add_blob(APP, LAYER)
        rig.upstream.inject(faults.LyingRange(-1, admit=False), kind=RequestKind.BLOB)

        with pytest.raises(DigestMismatchError):
            await fetch(rig, blob.digest)
        await rig.landed()

        assert rig.files("docker/**/*") == []
        assert await fetch(rig, blob.digest) == blob.digest


async def test_a_disk_without_room_for_parts_is_no_failure(tmp_path: Path) -> None:
    """Parts need a scratch file; the blob does not."""
    disk = Disk()
    async with slow_rig(tmp_path, disk=disk) as rig:
        blob = rig.upstream.add_blob(APP, LAYER)
        disk.refuse("scratch", errno.ENOSPC)

        assert await fetch(rig, blob.digest) == blob.digest
        assert await rig.store.stat_blob(APP, blob.digest) == SIZE


class Sky(OfflineUpstream):
    """An upstream whose transfers begin and bring nothing."""

    def open_blob(
        self,
        _repository: RepositoryName,
        _digest: Digest,
        offset: int,
        *,
        stop: int | None = None,  # noqa: ARG002 - as in the protocol
    ) -> BlobTransfer:
        """Begin one."""
        return Silence(offset)


class Silence:
    """A transfer without bytes."""

    size_bytes: int | None = SIZE

    def __init__(self, start: int) -> None:
        self.start = start

    def read(self) -> bytes:
        """Give nothing."""
        return b""

    def close(self) -> None:
        """Nothing is open."""

    def abort(self) -> None:
        """Nothing blocks."""


def test_parts_take_no_transfer_from_a_flight(tmp_path: Path) -> None:
    """Helpers get what flights leave of the transfers that are allowed."""
    parallel = ParallelTransfers(
        Sky("test"),
        max_transfers=3,
        scratch=FilesystemStore(tmp_path).scratch_file,
        observe=lambda _event: None,
    )
    flights = [parallel.open(APP, Digest.of(b""), 0) for _ in range(2)]
    assert parallel.take()
    assert not parallel.take()

    flights[0].close()
    flights[0].close()
    assert parallel.take()
    assert not parallel.take()
    parallel.close()


async def test_a_stop_in_the_middle_keeps_what_is_contiguous(tmp_path: Path) -> None:
    """The next process resumes; no thread and no file of a part is left."""
    async with slow_rig(tmp_path) as rig:
        blob = rig.upstream.add_blob(APP, LAYER)
        reader = await rig.mirror.blob(APP, blob.digest)
        while not segments(rig):
            await reader.wait_beyond(await reader.wait_beyond(0))
        await rig.flights.aclose()
        with pytest.raises(RoadsteadError):
            await read_all(reader)
        kept = rig.store.partial_blob(blob.digest)
        assert 0 < kept.offset < SIZE
        kept.close()

        async with make_rig(tmp_path, upstream=rig.upstream) as again:
            assert await fetch(again, blob.digest) == blob.digest
