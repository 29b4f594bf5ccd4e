"""What an eviction leaves that dies in the middle."""

from contextlib import suppress
from pathlib import Path

import pytest

from roadstead.errors import StorageUnavailableError
from roadstead.maintenance.limits import MinFree, RetentionRules
from roadstead.oci.reference import Tag
from roadstead.simulator.registry import ScriptedRegistry
from tests.maintenance.limited import limited_mirror
from tests.support.clock import Clock
from tests.support.rig import APP, read_all

PLATFORMS = ("amd64", "arm", "arm64", "386", "ppc64le", "s390x")


@pytest.mark.parametrize("removals", range(4))
async def test_an_index_goes_before_its_manifests(tmp_path: Path, removals: int) -> None:
    """As long as it is held, so is all that it needs."""
    rules = RetentionRules(min_free=MinFree(size_bytes=0), grace_seconds=0.0)
    clock = Clock()
    async with (
        ScriptedRegistry() as upstream,
        limited_mirror(tmp_path, upstream=upstream, clock=clock, rules=rules) as mirror,
    ):
        images = [upstream.add_image(APP, platform=f"linux/{one}") for one in PLATFORMS]
        index = upstream.add_index(APP, tag="latest", images=images)
        await mirror.rig.mirror.manifest(APP, Tag("latest"))
        for image in images:
            await mirror.rig.mirror.manifest(APP, image.manifest_digest)
            for blob in image.blobs:
                await read_all(await mirror.rig.mirror.blob(APP, blob.digest))
        await mirror.settled()
        clock.advance(1.0)
        mirror.fuse.left = removals
        with suppress(StorageUnavailableError):
            await mirror.steering.evict(["library/**"], dry_run=False)
        mirror.fuse.left = None

        held = await mirror.store.list_manifests(APP)
        assert len(held) == 7 - max(0, removals - 1)
        assert (index.manifest_digest in held) is (len(held) == 7)
