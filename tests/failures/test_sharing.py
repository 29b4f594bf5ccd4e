"""Failures 10, 12, 13 and 15: many clients, many images, one store."""

import asyncio
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.oci import mediatype
from roadstead.oci.digest import Digest
from roadstead.simulator import faults
from roadstead.simulator.client import PullingClient
from roadstead.simulator.content import GeneratedContent
from roadstead.simulator.faults import RequestKind
from tests.failures.answers import get_blob
from tests.support.rig import APP, OTHER, Rig, make_rig, serving

CLIENTS = 20


async def test_clients_that_leave_harm_nobody(rig: Rig, http: ClientSession) -> None:
    """Failure 10: of twenty clients of a cold blob every second one leaves, the first one first."""
    release = asyncio.Event()
    content = GeneratedContent(2_000_000)
    blob = rig.upstream.add_blob(APP, content)
    stall = faults.Stall(after=1_000_000, release=release)
    rig.upstream.inject(stall, kind=RequestKind.BLOB)
    arrivals = [asyncio.Event() for _ in range(CLIENTS)]
    clients = [
        asyncio.ensure_future(get_blob(http, rig, blob.digest, arriving=arriving))
        for arriving in arrivals
    ]
    await asyncio.gather(*(arriving.wait() for arriving in arrivals))

    leaving, staying = clients[::2], clients[1::2]
    for client in leaving:
        client.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    release.set()
    answers = await asyncio.gather(*staying)

    assert {Digest.of(answer.body) for answer in answers} == {blob.digest}
    assert all(answer.is_whole for answer in answers)
    await rig.landed()
    assert rig.upstream.count(kind=RequestKind.BLOB) == 1
    assert await rig.store.stat_blob(APP, blob.digest) == content.size_bytes


async def test_a_blob_whose_only_client_left_is_there_for_the_next(
    rig: Rig, http: ClientSession
) -> None:
    """Failure 10: the fetch belongs to the mirror and not to the request that began it."""
    release = asyncio.Event()
    blob = rig.upstream.add_blob(APP, GeneratedContent(300_000))
    stall = faults.Stall(after=100_000, release=release)
    rig.upstream.inject(stall, kind=RequestKind.BLOB)
    arriving = asyncio.Event()
    only = asyncio.ensure_future(get_blob(http, rig, blob.digest, arriving=arriving))
    await arriving.wait()
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    release.set()
    await rig.landed()
    await rig.upstream.stop()

    answer = await get_blob(http, rig, blob.digest)

    assert answer.is_whole
    assert Digest.of(answer.body) == blob.digest


@pytest.mark.parametrize(
    "media_type",
    [
        mediatype.DOCKER_MANIFEST,
        mediatype.DOCKER_MANIFEST_LIST,
        mediatype.OCI_MANIFEST,
        mediatype.OCI_INDEX,
    ],
)
async def test_bytes_and_types_are_those_that_were_pushed(
    tmp_path: Path, http: ClientSession, media_type: str
) -> None:
    """Failure 12: cold, warm and after a restart, odd spacing and unknown members included."""
    content = (
        f'{{\t"x": [1,  2.50, "\\u00e9"],\r\n "schemaVersion":2,"mediaType":"{media_type}",'
        '"manifests":[ ],"config":{"mediaType":"a/b","digest":"sha256:'
        f'{"0" * 64}","size":1}},"layers":[]}}\n \n'
    ).encode()
    seen = []
    async with make_rig(tmp_path) as rig:
        rig.upstream.add_manifest(APP, content, media_type, tag="odd")
        for _ in range(2):
            async with make_rig(tmp_path, upstream=rig.upstream) as again, serving(again):
                for reference in ("odd", Digest.of(content), "odd"):
                    url = f"{again.url}/v2/{APP}/manifests/{reference}"
                    async with http.get(url, headers={"Accept": "*/*"}) as answer:
                        digest = answer.headers["Docker-Content-Digest"]
                        seen.append((await answer.read(), answer.headers["Content-Type"], digest))

    assert set(seen) == {(content, media_type, str(Digest.of(content)))}


async def test_a_blob_that_two_images_share_outlives_one_of_them(rig: Rig) -> None:
    """Failure 13: a moved tag, and a repository that is gone upstream, take nothing from others."""
    shared = GeneratedContent(100_000)
    old = rig.upstream.add_image(APP, tag="latest", layers=[shared, b"old"])
    other = rig.upstream.add_image(OTHER, tag="latest", layers=[shared, b"other"])
    async with PullingClient(rig.url) as client:
        for repository in (APP, OTHER):
            assert (await client.pull(repository, "latest")).failure == ""
        new = rig.upstream.add_image(APP, tag="latest", layers=[b"new"])
        rig.clock.advance(61)
        assert (await client.pull(APP, "latest")).digest == str(new.manifest_digest)
        await rig.upstream.stop()

        pulls = [
            await client.pull(APP, str(old.manifest_digest)),
            await client.pull(APP, str(new.manifest_digest)),
            await client.pull(OTHER, str(other.manifest_digest)),
        ]

    assert [pull.failure for pull in pulls] == ["", "", ""]


def collect(root: Path, *, leaves_empty_files: bool) -> None:
    """Take the content of every blob, as a garbage collection beside a running server may."""
    for data in root.glob("docker/registry/v2/blobs/**/data"):
        if leaves_empty_files:
            data.write_bytes(b"")
        else:
            data.unlink()


@pytest.mark.parametrize("damage", ["emptied", "removed"])
@pytest.mark.parametrize("upstream", ["up", "down"])
async def test_what_a_garbage_collection_took_is_never_an_empty_200(
    tmp_path: Path, http: ClientSession, damage: str, upstream: str
) -> None:
    """Failure 15: content that is gone from the disk is fetched again, or is an error."""
    async with make_rig(tmp_path) as rig, serving(rig):
        image = rig.upstream.add_image(APP, tag="latest")
        await rig.hold(image)
        collect(tmp_path, leaves_empty_files=damage == "emptied")
        if upstream == "down":
            await rig.upstream.stop()

        answer = await get_blob(http, rig, image.layers[0].digest)

    if upstream == "up":
        assert answer.body == image.layers[0].read()
    assert answer.is_whole == (upstream == "up")
