"""Two mirrors over one store, as worker processes are: one fetch for both of them."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from roadstead.errors import BlobUnknownError, RoadsteadError, StorageUnavailableError
from roadstead.mirror.following import Follower
from roadstead.oci.digest import Digest
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry import events
from roadstead.telemetry.events import Outcome
from tests.support.rig import APP, OTHER, PATIENT, Rig, make_rig, read_all

CONTENT = bytes(range(256)) * 4000
HALF = len(CONTENT) // 2


@contextlib.asynccontextmanager
async def two(root: Path) -> AsyncIterator[tuple[ScriptedRegistry, Rig, Rig]]:
    """Give an upstream and two mirrors of it."""
    async with (
        ScriptedRegistry() as upstream,
        make_rig(root, upstream=upstream, shared=True, timeouts=PATIENT) as first,
        make_rig(root, upstream=upstream, shared=True, timeouts=PATIENT) as second,
    ):
        yield upstream, first, second


async def test_what_another_process_fetches_is_followed(tmp_path: Path) -> None:
    """Readers of both get the bytes while they arrive; upstream is asked once."""
    async with two(tmp_path) as (upstream, first, second):
        blob = upstream.add_blob(APP, CONTENT)
        release = asyncio.Event()
        upstream.inject(faults.Stall(after=HALF, release=release), kind=RequestKind.BLOB)
        reader = await first.mirror.blob(APP, blob.digest)
        await reader.wait_beyond(HALF - 1)

        follower = await second.mirror.blob(APP, blob.digest)
        assert follower.size_bytes == len(CONTENT)
        assert follower.outcome is Outcome.JOINED
        assert await follower.wait_beyond(HALF - 1) == HALF
        release.set()

        assert await read_all(follower) == CONTENT
        assert await read_all(reader) == CONTENT
        await asyncio.gather(first.landed(), second.landed())
        held = await second.mirror.blob(APP, blob.digest)
        assert held.outcome is Outcome.HIT
        held.close()

    assert upstream.blob_bytes_sent(blob.digest) == len(CONTENT)
    assert upstream.count() == 1
    assert not any(isinstance(one, events.FlightStarted) for one in second.events)
    assert not [name for name in first.files() if "partial" in name]


async def test_many_readers_of_both_from_the_first_moment(tmp_path: Path) -> None:
    """Whoever is first, and however small the blob: one fetch."""
    async with two(tmp_path) as (upstream, first, second):
        for size in (1, 1000, len(CONTENT)):
            blob = upstream.add_blob(APP, CONTENT[:size])
            readers = await asyncio.gather(
                *(rig.mirror.blob(APP, blob.digest) for rig in (first, second) * 4)
            )
            assert set(await asyncio.gather(*map(read_all, readers))) == {CONTENT[:size]}
            await asyncio.gather(first.landed(), second.landed())
            # Who comes between the data and its link asks whether it may have it, and no more.
            assert upstream.count(path_contains=str(blob.digest), method="GET") == 1


async def test_a_fetch_goes_on_where_its_process_stopped(tmp_path: Path) -> None:
    """When the owner ends, the follower asks for the rest, and its readers notice nothing."""
    async with two(tmp_path) as (upstream, first, second):
        blob = upstream.add_blob(APP, CONTENT)
        upstream.inject(faults.Stall(after=HALF), kind=RequestKind.BLOB, times=1)
        reader = await first.mirror.blob(APP, blob.digest)
        await reader.wait_beyond(HALF - 1)
        follower = await second.mirror.blob(APP, blob.digest)
        await follower.wait_beyond(HALF - 1)

        reader.close()
        await first.flights.aclose()

        assert await read_all(follower) == CONTENT
        await second.landed()

    assert upstream.blob_bytes_sent(blob.digest) == len(CONTENT)


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_blob_of_unknown_size_is_followed(tmp_path: Path, *, chunked: bool) -> None:
    """Its end is known when its digest is."""
    async with two(tmp_path) as (upstream, first, second):
        blob = upstream.add_blob(APP, CONTENT)
        upstream.inject(faults.Unsized(chunked=chunked), kind=RequestKind.BLOB)
        readers = await asyncio.gather(
            *(rig.mirror.blob(APP, blob.digest) for rig in (first, second))
        )
        assert await asyncio.gather(*map(read_all, readers)) == [CONTENT, CONTENT]

    assert upstream.count(kind=RequestKind.BLOB) == 1


async def test_wrong_bytes_never_end_cleanly_for_followers(tmp_path: Path) -> None:
    """The follower's readers get an error in place of the last bytes."""
    async with two(tmp_path) as (upstream, first, second):
        blob = upstream.add_blob(APP, CONTENT)
        release = asyncio.Event()
        upstream.inject(faults.WrongBytes(), kind=RequestKind.BLOB)
        upstream.inject(faults.Stall(after=HALF, release=release), kind=RequestKind.BLOB)
        readers = [await rig.mirror.blob(APP, blob.digest) for rig in (first, second)]
        release.set()

        results = await asyncio.gather(*map(read_all, readers), return_exceptions=True)

        assert all(isinstance(one, RoadsteadError) for one in results)
        assert await second.store.stat_data(blob.digest) is None


async def test_a_refusal_is_everybodys_own(tmp_path: Path) -> None:
    """An upstream that has no such blob says so to whoever asks."""
    async with two(tmp_path) as (_, first, second):
        missing = Digest.of(b"missing")
        results = await asyncio.gather(
            *(rig.mirror.blob(APP, missing) for rig in (first, second)), return_exceptions=True
        )
        assert [type(one) for one in results] == [BlobUnknownError, BlobUnknownError]


async def test_another_repository_is_confirmed_before_it_follows(tmp_path: Path) -> None:
    """The link stays the boundary: what is fetched for one repository is not shown to all."""
    async with two(tmp_path) as (upstream, first, second):
        blob = upstream.add_blob(APP, CONTENT)
        release = asyncio.Event()
        upstream.inject(faults.Stall(after=HALF, release=release), kind=RequestKind.BLOB, times=1)
        reader = await first.mirror.blob(APP, blob.digest)
        with pytest.raises(BlobUnknownError):
            await second.mirror.blob(OTHER, blob.digest)

        upstream.add_blob(OTHER, CONTENT)
        follower = await second.mirror.blob(OTHER, blob.digest)
        release.set()

        assert await read_all(follower) == await read_all(reader) == CONTENT
        await asyncio.gather(first.landed(), second.landed())
        assert await second.store.stat_blob(OTHER, blob.digest) == len(CONTENT)

    assert upstream.blob_bytes_sent(blob.digest) < len(CONTENT) + 1000  # refusals have bodies too


def test_a_process_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """What it has locked is given up, so that readers go on by themselves."""
    store = FilesystemStore(tmp_path, shared=True)
    digest = Digest.of(CONTENT)
    with closing(store.partial_blob(digest)) as hanging:
        hanging.write(CONTENT[:HALF])
        follower = Follower(
            store,
            APP,
            digest,
            host="test",
            confirm=lambda: None,
            replaces=False,
            patience_seconds=0.01,
        )
        with pytest.raises(StorageUnavailableError):
            follower.open(lambda _: None, threading.Event())


async def test_damaged_data_is_fetched_again(tmp_path: Path) -> None:
    """What is held and cannot be used does not count as stored meanwhile."""
    async with two(tmp_path) as (upstream, first, second):
        blob = upstream.add_blob(APP, CONTENT)
        await read_all(await first.mirror.blob(APP, blob.digest))
        await first.landed()
        (data,) = [tmp_path / name for name in first.files() if name.endswith("/data")]
        data.write_bytes(b"")

        assert await read_all(await second.mirror.blob(APP, blob.digest)) == CONTENT
