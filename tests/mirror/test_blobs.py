"""Blobs through the mirror: one fetch, any number of readers, nothing wrong ever kept."""

import asyncio
from pathlib import Path

import pytest

from roadstead.errors import (
    BlobUnknownError,
    ContentError,
    DigestMismatchError,
    RoadsteadError,
    UpstreamError,
)
from roadstead.oci.digest import Digest
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.telemetry import events
from roadstead.telemetry.events import Outcome
from tests.support.rig import APP, OTHER, PATIENT, Rig, make_rig, read_all

CONTENT = bytes(range(256)) * 4096  # 1 MiB


async def test_a_blob_is_fetched_once_and_then_held(rig: Rig) -> None:
    """The first reader starts the one fetch; later ones read from the store."""
    blob = rig.upstream.add_blob(APP, CONTENT)

    cold = await rig.mirror.blob(APP, blob.digest)
    assert await read_all(cold) == CONTENT
    await rig.landed()
    await rig.upstream.stop()
    warm = await rig.mirror.blob(APP, blob.digest)

    assert await read_all(warm) == CONTENT
    assert (cold.outcome, warm.outcome) == (Outcome.MISS, Outcome.HIT)


async def test_many_readers_share_one_fetch(rig: Rig) -> None:
    """Twenty clients of one cold blob cost upstream one transfer of its bytes."""
    blob = rig.upstream.add_blob(APP, CONTENT)

    async def pull() -> bytes:
        return await read_all(await rig.mirror.blob(APP, blob.digest))

    bodies = await asyncio.gather(*(pull() for _ in range(20)))

    assert set(map(Digest.of, bodies)) == {blob.digest}
    assert rig.upstream.blob_bytes_sent(blob.digest) == len(CONTENT)
    assert rig.upstream.count(kind=RequestKind.BLOB) == 1


async def test_a_reader_may_join_in_the_middle(rig: Rig) -> None:
    """Who comes late reads from byte 0, while the rest still arrives."""
    release = asyncio.Event()
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Stall(after=500_000, release=release), kind=RequestKind.BLOB)
    first = await rig.mirror.blob(APP, blob.digest)
    await first.wait_beyond(0)

    late = await rig.mirror.blob(APP, blob.digest)
    reading = asyncio.ensure_future(read_all(late))
    release.set()

    assert await reading == CONTENT
    assert late.outcome is Outcome.JOINED
    assert await read_all(first) == CONTENT
    assert rig.upstream.count(kind=RequestKind.BLOB) == 1


async def test_a_reader_that_leaves_changes_nothing(rig: Rig) -> None:
    """The client that started the fetch goes away; the fetch goes on and is kept."""
    release = asyncio.Event()
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Stall(after=1000, release=release), kind=RequestKind.BLOB)
    starter = await rig.mirror.blob(APP, blob.digest)
    starter.close()
    release.set()

    await rig.landed()

    assert await rig.store.stat_blob(APP, blob.digest) == len(CONTENT)


async def test_all_readers_may_leave_before_upstream_answers(rig: Rig) -> None:
    """Cancelled before the first byte, the fetch still ends well and leaves nothing open."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.pause()
    waiting = asyncio.ensure_future(rig.mirror.blob(APP, blob.digest))
    await asyncio.sleep(0.05)
    waiting.cancel()
    rig.upstream.resume()

    await rig.landed()

    assert await rig.store.stat_blob(APP, blob.digest) == len(CONTENT)


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("offset", [0, 1, 700_000, len(CONTENT) - 1])
async def test_a_cut_transfer_is_resumed(rig: Rig, offset: int, *, reset: bool) -> None:
    """Wherever upstream cuts, readers get the right bytes, each of them fetched once."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Cut(offset, reset=reset), kind=RequestKind.BLOB, times=1)

    content = await read_all(await rig.mirror.blob(APP, blob.digest))

    assert content == CONTENT
    assert rig.upstream.count(kind=RequestKind.BLOB) == 2


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "until close"])
async def test_an_unsized_body_is_served_and_verified(rig: Rig, *, chunked: bool) -> None:
    """Without Content-Length the size is known only at the end, and the digest decides."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Unsized(chunked=chunked), kind=RequestKind.BLOB)

    assert await read_all(await rig.mirror.blob(APP, blob.digest)) == CONTENT


async def test_an_unsized_body_that_is_cut_never_completes(rig: Rig) -> None:
    """A cut that looks like the end of the body is not mistaken for it."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Unsized(), kind=RequestKind.BLOB)
    rig.upstream.inject(faults.Cut(400_000), kind=RequestKind.BLOB)

    with pytest.raises(RoadsteadError):
        await read_all(await rig.mirror.blob(APP, blob.digest))

    await rig.landed()
    assert await rig.store.stat_data(blob.digest) is None


UNRANGED = {
    "no ranges": faults.WithoutRange(),
    "another range": faults.LyingRange(shift=10),
}


@pytest.mark.parametrize("fault", UNRANGED.values(), ids=UNRANGED.keys())
async def test_a_resumption_is_never_trusted_blindly(rig: Rig, fault: faults.Fault) -> None:
    """An upstream that ignores or misreads Range leads to right bytes or to an error."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Cut(300_000), kind=RequestKind.BLOB, times=1)
    rig.upstream.inject(fault, kind=RequestKind.BLOB)

    try:
        content = await read_all(await rig.mirror.blob(APP, blob.digest))
    except UpstreamError:
        await rig.landed()
        assert await rig.store.stat_data(blob.digest) is None
    else:
        assert content == CONTENT


async def test_a_lie_about_the_range_is_found_by_the_digest(rig: Rig) -> None:
    """Bytes from another place under the right Content-Range never complete a blob."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Cut(300_000), kind=RequestKind.BLOB, times=1)
    rig.upstream.inject(faults.LyingRange(shift=-7, admit=False), kind=RequestKind.BLOB)

    with pytest.raises(ContentError):
        await read_all(await rig.mirror.blob(APP, blob.digest))

    await rig.landed()
    assert rig.files() == []


@pytest.mark.parametrize("position", [0, None], ids=["first byte", "last byte"])
async def test_wrong_bytes_are_neither_completed_nor_kept(rig: Rig, position: int | None) -> None:
    """Readers of content with another digest get an error, and the next try starts clean."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.WrongBytes(position), kind=RequestKind.BLOB, times=1)

    reader = await rig.mirror.blob(APP, blob.digest)
    with pytest.raises(DigestMismatchError):
        await read_all(reader)
    await rig.landed()

    assert rig.files() == []
    assert await read_all(await rig.mirror.blob(APP, blob.digest)) == CONTENT


async def test_a_web_page_is_not_taken_for_a_blob(rig: Rig) -> None:
    """HTML with status 200 (captive portals, Harbor's report of 2026) fails the digest."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Html(), kind=RequestKind.BLOB)

    with pytest.raises(RoadsteadError):
        await read_all(await rig.mirror.blob(APP, blob.digest))

    await rig.landed()
    assert rig.files() == []


async def test_an_unknown_blob_is_unknown_and_leaves_nothing(rig: Rig) -> None:
    """A 404 becomes "unknown", without any file."""
    with pytest.raises(BlobUnknownError):
        await rig.mirror.blob(APP, Digest.of(b"nowhere"))

    await rig.landed()
    assert rig.files() == []


async def test_the_size_of_an_absent_blob_costs_one_head(rig: Rig) -> None:
    """HEAD never starts a download."""
    blob = rig.upstream.add_blob(APP, CONTENT)

    size, outcome = await rig.mirror.stat_blob(APP, blob.digest)

    assert (size, outcome) == (len(CONTENT), Outcome.MISS)
    assert [record.method for record in rig.upstream.requests] == ["HEAD"]
    assert rig.upstream.blob_bytes_sent(blob.digest) == 0


async def test_where_head_is_refused_one_byte_is_asked_for(rig: Rig) -> None:
    """public.ecr.aws answers 401 to HEAD: a GET of one byte tells the size."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Status(405), kind=RequestKind.BLOB, method="HEAD")

    size, _ = await rig.mirror.stat_blob(APP, blob.digest)

    assert size == len(CONTENT)
    assert rig.upstream.blob_bytes_sent(blob.digest) == 1


async def test_another_repository_needs_its_own_permission(rig: Rig) -> None:
    """What is held for one repository is shown in another only if upstream has it there."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    await read_all(await rig.mirror.blob(APP, blob.digest))
    await rig.landed()

    with pytest.raises(BlobUnknownError):
        await rig.mirror.blob(OTHER, blob.digest)


async def test_another_repository_with_permission_downloads_nothing(rig: Rig) -> None:
    """One question upstream, then the held bytes are linked and served."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.add_blob(OTHER, CONTENT)
    await read_all(await rig.mirror.blob(APP, blob.digest))
    await rig.landed()

    content = await read_all(await rig.mirror.blob(OTHER, blob.digest))

    assert content == CONTENT
    assert rig.upstream.blob_bytes_sent(blob.digest) == len(CONTENT)
    assert await rig.store.stat_blob(OTHER, blob.digest) == len(CONTENT)


async def test_another_repository_joins_a_flight_only_with_permission(rig: Rig) -> None:
    """A running fetch is no way around the boundary between repositories."""
    release = asyncio.Event()
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(
        faults.Stall(after=1000, release=release), kind=RequestKind.BLOB, repository=APP
    )
    first = await rig.mirror.blob(APP, blob.digest)

    with pytest.raises(BlobUnknownError):
        await rig.mirror.blob(OTHER, blob.digest)
    rig.upstream.add_blob(OTHER, CONTENT)
    joined = await rig.mirror.blob(OTHER, blob.digest)
    release.set()

    assert await read_all(joined) == CONTENT
    assert await read_all(first) == CONTENT
    await rig.landed()
    asked = [(record.method, record.status) for record in rig.upstream.requests]
    assert asked.count(("GET", 200)) == 1
    assert await rig.store.stat_blob(OTHER, blob.digest) == len(CONTENT)


async def test_a_manifest_is_no_blob(rig: Rig) -> None:
    """A held manifest asked for as a blob is unknown: as octet-stream it poisons containerd."""
    image = rig.upstream.add_image(APP)
    await rig.mirror.manifest(APP, image.manifest_digest)
    rig.upstream.requests.clear()

    with pytest.raises(BlobUnknownError):
        await rig.mirror.blob(APP, image.manifest_digest)
    with pytest.raises(BlobUnknownError):
        await rig.mirror.stat_blob(APP, image.manifest_digest)

    assert rig.upstream.requests == []


async def test_a_vanished_file_heals_at_the_next_request(rig: Rig) -> None:
    """Data that somebody has deleted is fetched again, although it was known to be held."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    await read_all(await rig.mirror.blob(APP, blob.digest))
    await rig.landed()
    await read_all(await rig.mirror.blob(APP, blob.digest))
    (data,) = rig.root.glob("docker/**/data")
    data.unlink()

    assert await read_all(await rig.mirror.blob(APP, blob.digest)) == CONTENT
    await rig.landed()
    assert data.exists()


async def test_an_empty_blob_is_served(rig: Rig) -> None:
    """Zero bytes are content too, with a digest that is checked."""
    blob = rig.upstream.add_blob(APP, b"")

    assert await read_all(await rig.mirror.blob(APP, blob.digest)) == b""
    await rig.landed()
    assert await rig.store.stat_blob(APP, blob.digest) == 0


async def test_stopping_keeps_partial_downloads(rig: Rig) -> None:
    """What has arrived when the process stops is resumed by the next one."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    stall = rig.upstream.inject(faults.Stall(after=600_000), kind=RequestKind.BLOB)
    reader = await rig.mirror.blob(APP, blob.digest)
    await reader.wait_beyond(599_999)
    reader.close()
    await rig.mirrors.aclose()
    rig.upstream.withdraw(stall)
    rig.upstream.requests.clear()

    async with make_rig(rig.root, upstream=rig.upstream) as restarted:
        content = await read_all(await restarted.mirror.blob(APP, blob.digest))

    assert content == CONTENT
    (request,) = rig.upstream.requests
    assert request.headers["range"] == "bytes=600000-"


async def test_a_complete_partial_file_is_accepted(rig: Rig) -> None:
    """A crash between the last byte and the commit costs no second download."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    partial = rig.store.partial_blob(blob.digest)
    partial.write(CONTENT)
    partial.close()

    content = await read_all(await rig.mirror.blob(APP, blob.digest))

    assert content == CONTENT
    assert rig.upstream.blob_bytes_sent(blob.digest) == 0


async def test_a_partial_file_longer_than_the_blob_is_dropped(rig: Rig) -> None:
    """A leftover that cannot be a beginning of the blob does not stand in its way."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    partial = rig.store.partial_blob(blob.digest)
    partial.write(CONTENT + b"more")
    partial.close()

    assert await read_all(await rig.mirror.blob(APP, blob.digest)) == CONTENT


async def test_what_happens_is_told(rig: Rig) -> None:
    """Flights, fetches and stored bytes are events with true figures."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    await read_all(await rig.mirror.blob(APP, blob.digest))
    await rig.landed()

    told = [event for event in rig.events if not isinstance(event, events.StorageTimed)]

    assert events.FlightStarted(resumed_bytes=0) in told
    assert events.Stored(events.Kind.BLOB, len(CONTENT)) in told
    assert events.FlightEnded(error=None) in told
    (fetched,) = [event for event in told if isinstance(event, events.Fetched)]
    assert (fetched.size_bytes, fetched.upstream) == (len(CONTENT), rig.upstream.host)


async def test_a_range_far_ahead_passes_through(rig: Rig) -> None:
    """Exactly the wanted bytes come from upstream, without waiting for the flight."""
    blob = rig.upstream.add_blob(APP, CONTENT)

    async with rig.mirror.stream_range(APP, blob.digest, 1000, 1999) as chunks:
        assert chunks is not None
        content = b"".join([chunk async for chunk in chunks])

    assert content == CONTENT[1000:2000]


async def test_stopping_does_not_wait_for_a_silent_upstream(tmp_path: Path) -> None:
    """A blocked read is broken off when the process stops."""
    async with make_rig(tmp_path, timeouts=PATIENT) as rig:
        blob = rig.upstream.add_blob(APP, CONTENT)
        rig.upstream.inject(faults.Stall(after=1000), kind=RequestKind.BLOB)
        reader = await rig.mirror.blob(APP, blob.digest)
        reader.close()

        async with asyncio.timeout(20):
            await rig.mirrors.aclose()
