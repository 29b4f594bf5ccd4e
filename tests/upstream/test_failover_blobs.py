"""Blobs over several endpoints: a transfer goes on elsewhere from where it broke."""

import asyncio
from pathlib import Path

import pytest

from roadstead.errors import (
    BlobUnknownError,
    UpstreamError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.telemetry.events import TransferResumed
from roadstead.upstream.failover import FailoverUpstream
from tests.support.rig import make_rig, read_all
from tests.upstream.pools import make_pool, patience_with

APP = RepositoryName("library/app")
CONTENT = bytes(range(256)) * 8192  # 2 MiB
MIDDLE = 700_000


def stock(*registries: ScriptedRegistry) -> Digest:
    """Put the same blob into all registries."""
    for registry in registries:
        registry.add_blob(APP, CONTENT)
    return Digest.of(CONTENT)


async def fetch(upstream: FailoverUpstream, digest: Digest) -> bytes:
    """Fetch a blob as the pump does, in a thread, until it is whole or nothing comes."""

    def whole() -> bytes:
        content = b""
        while len(content) < len(CONTENT):
            before = len(content)
            transfer = upstream.open_blob(APP, digest, before)
            try:
                assert transfer.start == before
                assert transfer.size_bytes == len(CONTENT)
                while piece := transfer.read():
                    content += piece
            except UpstreamError:
                if len(content) == before:
                    raise
            finally:
                transfer.close()
        return content

    return await asyncio.to_thread(whole)


@pytest.mark.parametrize(
    "fault",
    [
        faults.Status(500),
        faults.Status(401),
        faults.Status(404),
        faults.Status(429),
        faults.Stall(),
    ],
    ids=str,
)
async def test_the_next_endpoint_sends(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, fault: faults.Fault
) -> None:
    """Whatever keeps the first endpoint from sending, the second one does."""
    digest = stock(registry, elsewhere)
    registry.inject(fault, kind=RequestKind.BLOB)

    async with make_pool(registry.url, elsewhere.url, first=patience_with(fault)) as pool:
        assert await fetch(pool.upstream, digest) == CONTENT


async def test_a_refused_connection_leads_on(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """A blob comes from the second endpoint when nobody listens at the first."""
    digest = stock(elsewhere)
    await registry.stop()

    async with make_pool(registry.url, elsewhere.url) as pool:
        assert await fetch(pool.upstream, digest) == CONTENT


@pytest.mark.parametrize(
    "fault",
    [faults.Cut(after=MIDDLE), faults.Cut(after=MIDDLE, reset=True), faults.Stall(after=MIDDLE)],
    ids=["cut", "reset", "stall"],
)
async def test_a_broken_transfer_goes_on_elsewhere(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, fault: faults.Fault
) -> None:
    """The second endpoint is asked for the rest only: no byte comes twice."""
    digest = stock(registry, elsewhere)
    registry.inject(fault, kind=RequestKind.BLOB)

    async with make_pool(registry.url, elsewhere.url, first=patience_with(fault)) as pool:
        assert await fetch(pool.upstream, digest) == CONTENT

    assert registry.count(kind=RequestKind.BLOB) == 1
    (rest,) = elsewhere.requests
    first = int(rest.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < first <= MIDDLE
    assert elsewhere.blob_bytes_sent(digest) == len(CONTENT) - first


async def test_the_first_endpoint_is_used_again_after_its_pause(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """A cut is forgiven after a second."""
    digest = stock(registry, elsewhere)
    registry.inject(faults.Cut(after=MIDDLE), kind=RequestKind.BLOB, times=1)

    async with make_pool(registry.url, elsewhere.url) as pool:
        await fetch(pool.upstream, digest)
        pool.clock.advance(1)
        await fetch(pool.upstream, digest)

    assert elsewhere.count(kind=RequestKind.BLOB) == 1
    assert registry.count(kind=RequestKind.BLOB) == 2


async def test_a_single_endpoint_resumes_at_once(registry: ScriptedRegistry) -> None:
    """With no other endpoint a cut transfer goes on where it was, without a pause."""
    digest = stock(registry)
    registry.inject(faults.Cut(after=MIDDLE), kind=RequestKind.BLOB, times=1)

    async with make_pool(registry.url) as pool:
        assert await fetch(pool.upstream, digest) == CONTENT


async def test_an_aborted_transfer_marks_nobody(registry: ScriptedRegistry) -> None:
    """That this process stops says nothing about the endpoint."""
    digest = stock(registry)
    registry.inject(faults.Stall(after=MIDDLE), kind=RequestKind.BLOB)

    async with make_pool(registry.url) as pool:
        transfer = await asyncio.to_thread(pool.upstream.open_blob, APP, digest, 0)
        reading = asyncio.create_task(asyncio.to_thread(lambda: [*iter(transfer.read, b"")]))
        await asyncio.sleep(0)
        transfer.abort()
        with pytest.raises(UpstreamUnreachableError):
            await reading
        transfer.close()

        assert pool.upstream.status()[0].healthy


async def test_no_endpoint_has_it(registry: ScriptedRegistry, elsewhere: ScriptedRegistry) -> None:
    """A blob that no endpoint has is unknown."""
    async with make_pool(registry.url, elsewhere.url) as pool:
        with pytest.raises(BlobUnknownError):
            await fetch(pool.upstream, Digest.of(b"nobody has this"))

    assert registry.count(kind=RequestKind.BLOB) == elsewhere.count(kind=RequestKind.BLOB) == 1


async def test_everything_down_is_said_at_once(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """When both endpoints are left alone, a transfer is refused, with the time of the next try."""
    await registry.stop()
    await elsewhere.stop()
    digest = Digest.of(CONTENT)

    async with make_pool(registry.url, elsewhere.url) as pool:
        for _ in range(3):
            with pytest.raises(UpstreamUnreachableError):
                await fetch(pool.upstream, digest)
        with pytest.raises(UpstreamUnavailableError, match="asked again in 4") as caught:
            await fetch(pool.upstream, digest)

    assert caught.value.retry_after_seconds == 4


async def test_a_flight_goes_on_at_another_endpoint(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, tmp_path: Path
) -> None:
    """A reader of the mirror gets every byte once, in one piece, from two endpoints."""
    digest = stock(registry, elsewhere)
    registry.inject(faults.Cut(after=MIDDLE), kind=RequestKind.BLOB)

    async with (
        make_pool(registry.url, elsewhere.url) as pool,
        make_rig(tmp_path, client=pool.upstream) as rig,
    ):
        content = await read_all(await rig.mirror.blob(APP, digest))
        await rig.landed()
        (resumed,) = [event for event in rig.events if isinstance(event, TransferResumed)]

    assert content == CONTENT
    assert 0 < resumed.offset_bytes <= MIDDLE
    assert elsewhere.blob_bytes_sent(digest) == len(CONTENT) - resumed.offset_bytes


async def test_a_flight_goes_on_when_the_first_endpoint_stops(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, tmp_path: Path
) -> None:
    """Stopping an endpoint in the middle of a transfer is not noticed by the reader."""
    digest = stock(registry, elsewhere)
    registry.inject(faults.Stall(after=MIDDLE), kind=RequestKind.BLOB)

    async with (
        make_pool(registry.url, elsewhere.url) as pool,
        make_rig(tmp_path, client=pool.upstream) as rig,
    ):
        reader = await rig.mirror.blob(APP, digest)
        await reader.wait_beyond(0)
        await registry.stop()
        assert await read_all(reader) == CONTENT
