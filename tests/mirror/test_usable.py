"""Whether a held manifest could be pulled from what is held."""

import pytest

from roadstead.mirror.usable import count_blobs, is_usable
from roadstead.simulator.content import SimulatedImage, SimulatedIndex
from tests.support.rig import APP, Rig, read_all


@pytest.fixture
def index(rig: Rig) -> SimulatedIndex:
    """Give an index of two images, upstream."""
    return rig.upstream.add_index(APP, tag="latest")


async def hold(rig: Rig, image: SimulatedImage, *, blobs: int) -> None:
    """Pull an image's manifest and so many of its two blobs."""
    await rig.mirror.manifest(APP, image.manifest_digest)
    for blob in image.blobs[:blobs]:
        await read_all(await rig.mirror.blob(APP, blob.digest))
    await rig.landed()


async def test_an_image_needs_all_its_blobs(rig: Rig, index: SimulatedIndex) -> None:
    """One that lacks a layer would fail in the middle of a pull."""
    image = index.images[0]

    await hold(rig, image, blobs=1)
    assert not await is_usable(rig.store, APP, image.content)
    assert await count_blobs(rig.store, APP, image.content) == (1, 2)
    await hold(rig, image, blobs=2)
    assert await is_usable(rig.store, APP, image.content)
    assert await count_blobs(rig.store, APP, image.content) == (2, 2)


async def test_an_index_needs_one_whole_image(rig: Rig, index: SimulatedIndex) -> None:
    """Clients pull one platform, so the others need not be held."""
    first, second = index.images

    await hold(rig, first, blobs=1)
    assert not await is_usable(rig.store, APP, index.content)
    await hold(rig, second, blobs=2)
    assert await is_usable(rig.store, APP, index.content)
    assert await count_blobs(rig.store, APP, index.content) == (3, 4)


async def test_an_image_that_is_not_held_counts_for_nothing(
    rig: Rig, index: SimulatedIndex
) -> None:
    """Its blobs are not known before its manifest is."""
    assert not await is_usable(rig.store, APP, index.content)
    assert await count_blobs(rig.store, APP, index.content) == (0, 0)


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b"{}"])
async def test_what_is_no_manifest_is_not_usable(rig: Rig, content: bytes) -> None:
    """And it has no blobs."""
    assert not await is_usable(rig.store, APP, content)
    assert await count_blobs(rig.store, APP, content) == (0, 0)


async def test_an_index_of_nothing_is_usable(rig: Rig) -> None:
    """There is nothing that a client could miss."""
    content = b'{"schemaVersion": 2, "manifests": []}'

    assert await is_usable(rig.store, APP, content)
