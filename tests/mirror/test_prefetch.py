"""What is fetched before a client asks for it, and what is not."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.mirror.platforms import SeenPlatforms
from roadstead.mirror.space import Unlimited
from roadstead.oci.reference import Reference, Tag
from roadstead.simulator import faults
from roadstead.simulator.content import SimulatedImage, SimulatedIndex
from roadstead.simulator.faults import RequestKind
from roadstead.telemetry.events import Prefetched, PrefetchUsed
from tests.support.rig import APP, Rig, make_rig, read_all, serving

AMD, ARM = "linux/amd64", "linux/arm64"
LATEST = Tag("latest")


class NoRoom(Unlimited):
    """Everything fits, but not without evicting something."""

    async def has_room(self, _size_bytes: int) -> bool:
        """There is none."""
        return False


def push(rig: Rig) -> tuple[SimulatedIndex, SimulatedImage, SimulatedImage]:
    """Have upstream hold an index of two images."""
    images = [
        rig.upstream.add_image(APP, layers=[f"{platform} 1".encode(), b"2"], platform=platform)
        for platform in (AMD, ARM)
    ]
    return rig.upstream.add_index(APP, images=images, tag="latest"), images[0], images[1]


async def take(rig: Rig, reference: Reference) -> None:
    """Give a manifest to a client, and wait for what follows from it."""
    rig.mirror.taken(APP, await rig.mirror.manifest(APP, reference))
    await settle(rig)


async def settle(rig: Rig) -> None:
    """Wait until nothing more is fetched, ahead or otherwise."""
    assert rig.prefetcher is not None
    await rig.prefetcher.landed()
    await rig.landed()


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something on this event loop."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0)


def is_held(rig: Rig, image: SimulatedImage) -> bool:
    """Say whether all blobs of an image are held."""
    return all(rig.files(f"docker/**/blobs/**/{blob.digest.encoded}/data") for blob in image.blobs)


def counted(rig: Rig, kind: type[Prefetched | PrefetchUsed]) -> list[int]:
    """List the sizes that events of a kind told."""
    return sorted(event.size_bytes for event in rig.events if isinstance(event, kind))


async def test_blobs_follow_their_manifest(tmp_path: Path) -> None:
    """An image's blobs are fetched when its manifest was taken, once, and counted as unused."""
    async with make_rig(tmp_path, seen=SeenPlatforms()) as rig:
        image = rig.upstream.add_image(APP, tag="latest")
        await take(rig, LATEST)
        await take(rig, LATEST)

        assert is_held(rig, image)
        assert counted(rig, Prefetched) == sorted(blob.descriptor.size for blob in image.blobs)
        assert counted(rig, PrefetchUsed) == []
        assert rig.upstream.count(kind=RequestKind.BLOB) == len(image.blobs)


async def test_what_is_asked_for_then_is_counted_once(tmp_path: Path) -> None:
    """A blob that was fetched ahead is used when the first client asks for it."""
    async with make_rig(tmp_path, seen=SeenPlatforms()) as rig:
        image = rig.upstream.add_image(APP, tag="latest")
        await take(rig, LATEST)
        for _ in range(2):
            await read_all(await rig.mirror.blob(APP, image.layers[0].digest))

        assert counted(rig, PrefetchUsed) == [image.layers[0].descriptor.size]


async def test_client_joins_what_is_fetched_ahead(tmp_path: Path) -> None:
    """And what a client has begun to fetch is not fetched a second time."""
    async with make_rig(tmp_path, seen=SeenPlatforms()) as rig:
        image = rig.upstream.add_image(APP, tag="latest")
        release = asyncio.Event()
        first, second = image.layers
        for layer in image.layers:
            rig.upstream.inject(faults.Stall(after=0, release=release), reference=layer.digest)
        manifest = await rig.mirror.manifest(APP, LATEST)
        mine = asyncio.create_task(rig.mirror.blob(APP, first.digest))
        await until(lambda: bool(rig.mirrors.running()))
        rig.mirror.taken(APP, manifest)
        await until(lambda: rig.mirrors.is_in_use(second.digest))
        joined = asyncio.create_task(rig.mirror.blob(APP, second.digest))
        await asyncio.sleep(0)
        release.set()
        await read_all(await mine)
        await read_all(await joined)
        await settle(rig)

        assert rig.upstream.count(kind=RequestKind.BLOB) == len(image.blobs)
        assert counted(rig, PrefetchUsed) == [second.descriptor.size]
        assert first.descriptor.size + second.descriptor.size not in counted(rig, Prefetched)


async def test_index_brings_platforms_that_were_asked_for(tmp_path: Path) -> None:
    """Of an index nothing is fetched at first, then the images for platforms seen here."""
    kept: list[str] = []
    async with make_rig(tmp_path, seen=SeenPlatforms(keep=kept.append)) as rig:
        _, amd, arm = push(rig)
        await take(rig, LATEST)
        assert not is_held(rig, amd)
        await take(rig, amd.manifest_digest)
        assert is_held(rig, amd)
        assert kept == [AMD]

        _, newer, _ = push(rig)
        rig.clock.advance(61)
        await take(rig, LATEST)

        assert is_held(rig, newer)
        assert not is_held(rig, arm)


@pytest.mark.parametrize(("may_spend", "fetched"), [(True, True), (False, False)])
async def test_manifests_are_fetched_where_nobody_counts_them(
    tmp_path: Path, *, may_spend: bool, fetched: bool
) -> None:
    """No pull of a quota is spent on what nobody has asked for."""
    seen = SeenPlatforms([ARM])
    async with make_rig(tmp_path, seen=seen, may_spend=lambda: may_spend) as rig:
        _, _, arm = push(rig)
        await take(rig, LATEST)

        assert is_held(rig, arm) is fetched


async def test_nothing_is_evicted_for_it(tmp_path: Path) -> None:
    """Where there is no room left, nothing is fetched ahead."""
    async with make_rig(tmp_path, seen=SeenPlatforms(), space=NoRoom()) as rig:
        rig.upstream.add_image(APP, tag="latest")
        await take(rig, LATEST)

        assert rig.upstream.count(kind=RequestKind.BLOB) == 0


async def test_clients_come_first(tmp_path: Path) -> None:
    """While clients use half of the transfers nothing is fetched ahead."""
    async with make_rig(tmp_path, seen=SeenPlatforms()) as rig:
        release = asyncio.Event()
        others = [rig.upstream.add_blob(APP, f"other {number}".encode()) for number in range(4)]
        for other in others:
            rig.upstream.inject(faults.Stall(after=0, release=release), reference=other.digest)
        readers = [asyncio.create_task(rig.mirror.blob(APP, other.digest)) for other in others]
        await until(lambda: len(rig.mirrors.running()) == len(others))
        image = rig.upstream.add_image(APP, tag="latest")
        rig.mirror.taken(APP, await rig.mirror.manifest(APP, LATEST))
        assert rig.prefetcher is not None
        await rig.prefetcher.landed()
        assert rig.upstream.count(path_contains=str(image.config.digest)) == 0
        release.set()
        for reader in readers:
            await read_all(await reader)


async def test_upstream_that_has_enough_is_left_alone(tmp_path: Path) -> None:
    """After a 429 nothing is fetched ahead for a minute."""
    async with make_rig(tmp_path, seen=SeenPlatforms()) as rig:
        layers = [f"layer {number}".encode() for number in range(20)]
        rig.upstream.add_image(APP, tag="latest", layers=layers)
        refusal = rig.upstream.inject(faults.Status(429), kind=RequestKind.BLOB)
        await take(rig, LATEST)
        asked = rig.upstream.count(kind=RequestKind.BLOB)
        rig.upstream.withdraw(refusal)
        other = rig.upstream.add_image(APP, tag="other", layers=[b"other"])
        await take(rig, Tag("other"))
        assert not is_held(rig, other)
        rig.clock.advance(61)
        third = rig.upstream.add_image(APP, tag="third", layers=[b"third"])
        await take(rig, Tag("third"))

        assert asked < 3 * 4 + 1
        assert is_held(rig, third)


async def test_only_who_takes_a_manifest_will_want_its_blobs(tmp_path: Path) -> None:
    """A HEAD, or an answer that it has not changed, starts nothing; a GET does."""
    async with make_rig(tmp_path, seen=SeenPlatforms()) as rig, serving(rig):
        image = rig.upstream.add_image(APP, tag="latest")
        url = f"{rig.url}/v2/{APP}/manifests/latest"
        async with ClientSession() as client:
            unchanged = {"If-None-Match": f'"{image.manifest_digest}"'}
            for ask in (client.head(url), client.get(url, headers=unchanged)):
                async with ask:
                    pass
            await settle(rig)
            assert rig.upstream.count(kind=RequestKind.BLOB) == 0
            async with client.get(url):
                pass
            await settle(rig)

        assert is_held(rig, image)
