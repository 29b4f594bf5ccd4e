"""Failures 3 and 4: a disk in trouble, or without room, at every step of a cold pull."""

import errno
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.simulator import faults
from roadstead.simulator.content import GeneratedContent, SimulatedImage
from roadstead.simulator.faults import RequestKind
from roadstead.telemetry.events import PassedOn, StorageFailed
from tests.failures.answers import get_blob
from tests.support.failing_store import Disk
from tests.support.rig import APP, Rig, make_rig, serving

# Larger than one read of the pump, so that a write can fail in the middle.
LAYER = GeneratedContent(700_000)
ERRORS = ["ENOSPC", "EDQUOT", "EIO", "EROFS", "EACCES", "EMFILE"]
# What each step is told as, and whether the blob is there for the next client all the same.
STEPS = {
    "open": ("open", 0, False),
    "reader": ("open", 0, False),
    "first write": ("write", 0, False),
    "later write": ("write", 1, False),
    "sync": ("sync", 0, False),
    "rename": ("rename", 0, False),
    "link": ("link", 0, False),
    "manifest": ("manifest", 0, True),
    "tag": ("tag", 0, True),
}


@pytest.fixture
def disk() -> Disk:
    """Give a disk that refuses nothing yet."""
    return Disk()


@pytest.fixture
async def rig(tmp_path: Path, disk: Disk) -> AsyncIterator[Rig]:
    """Give a served mirror on that disk."""
    async with make_rig(tmp_path, disk=disk) as made, serving(made):
        yield made


async def pull(http: ClientSession, rig: Rig, image: SimulatedImage) -> None:
    """Pull an image by its tag; every byte must be right."""
    async with http.get(f"{rig.url}/v2/{APP}/manifests/latest") as answer:
        content = await answer.read()
        assert (answer.status, Digest.of(content)) == (200, image.manifest_digest)
    for layer in json.loads(content)["layers"]:
        digest = Digest.parse(layer["digest"])
        got = await get_blob(http, rig, digest)
        assert (got.status, got.is_whole, Digest.of(got.body)) == (200, True, digest)


def failures(rig: Rig) -> set[StorageFailed]:
    """Return what was told."""
    return {event for event in rig.events if isinstance(event, StorageFailed)}


def damaged(rig: Rig) -> list[str]:
    """List the visible data whose bytes are not those of their digest."""
    return [
        name
        for name in rig.files("docker/registry/v2/blobs/**/data")
        if Digest.of((rig.root / name).read_bytes()).encoded != Path(name).parent.name
    ]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("step", STEPS)
async def test_every_client_gets_the_image(
    rig: Rig, disk: Disk, http: ClientSession, step: str, error: str
) -> None:
    """Whatever the disk refuses: the image arrives, nothing damaged is visible, all is told."""
    operation, after, is_kept = STEPS[step]
    image = rig.upstream.add_image(APP, tag="latest", layers=[LAYER])
    disk.refuse(step.rpartition(" ")[2], getattr(errno, error), after=after)

    for _ in range(2):
        await pull(http, rig, image)
        await rig.landed()

    layer = image.blobs[-1].digest
    assert (await rig.store.stat_blob(APP, layer) is not None) is is_kept
    assert StorageFailed(operation, error) in failures(rig)
    assert damaged(rig) == []
    if step != "rename":
        # What was complete and could not be renamed is resumed, and not fetched again.
        assert rig.files("roadstead/partial/**/*") == []

    disk.mend()
    for _ in range(2):
        await pull(http, rig, image)
        await rig.landed()
    assert await rig.store.stat_blob(APP, layer) == LAYER.size_bytes
    assert rig.served()[-1] == "hit"


@pytest.mark.parametrize("framing", [faults.Headers(), faults.Unsized(chunked=True)])
@pytest.mark.parametrize("habit", [faults.Headers(), faults.WithoutRange()])
async def test_the_rest_is_passed_on_and_hashed_with_the_beginning(
    rig: Rig, disk: Disk, http: ClientSession, framing: faults.Fault, habit: faults.Fault
) -> None:
    """With and without ranges and lengths, wrong bytes behind the failure break off."""
    blob = rig.upstream.add_blob(APP, LAYER)
    rig.upstream.inject(framing, kind=RequestKind.BLOB)
    rig.upstream.inject(habit, kind=RequestKind.BLOB)
    disk.refuse("write", errno.EIO, after=1)

    right = await get_blob(http, rig, blob.digest)
    rig.upstream.inject(faults.WrongBytes(), kind=RequestKind.BLOB)
    wrong = await get_blob(http, rig, blob.digest)

    assert right.is_whole
    assert Digest.of(right.body) == blob.digest
    assert not wrong.is_whole
    assert len(wrong.body) < LAYER.size_bytes


@pytest.mark.parametrize("step", ["open", "write"])
async def test_a_cut_while_passing_on_is_resumed(
    rig: Rig, disk: Disk, http: ClientSession, step: str
) -> None:
    """The client notices neither the disk's failure nor the network's."""
    blob = rig.upstream.add_blob(APP, LAYER)
    rig.upstream.inject(faults.Cut(300_000), kind=RequestKind.BLOB, skip=1, times=1)
    disk.refuse(step, errno.EIO, after=1 if step == "write" else 0)

    answer = await get_blob(http, rig, blob.digest)

    assert answer.is_whole
    assert Digest.of(answer.body) == blob.digest


async def test_a_range_is_passed_on(rig: Rig, disk: Disk, http: ClientSession) -> None:
    """A client that resumes gets what it asks for, with and without ranges upstream."""
    blob = rig.upstream.add_blob(APP, LAYER)
    content = LAYER.read(0, LAYER.size_bytes)
    disk.refuse("open", errno.EROFS)
    url = f"{rig.url}/v2/{APP}/blobs/{blob.digest}"
    for habit in (faults.Headers(), faults.WithoutRange()):
        rig.upstream.inject(habit, kind=RequestKind.BLOB)
        for first, last in ((0, 9), (300_000, 500_000), (699_000, 699_999)):
            headers = {"Range": f"bytes={first}-{last}"}
            async with http.get(url, headers=headers) as answer:
                assert answer.status == 206
                assert await answer.read() == content[first : last + 1]


async def test_an_unreadable_blob_comes_from_upstream_and_heals(
    rig: Rig, disk: Disk, http: ClientSession
) -> None:
    """A held blob that cannot be opened is fetched again, and then held again."""
    blob = rig.upstream.add_blob(APP, LAYER)
    await get_blob(http, rig, blob.digest)
    await rig.landed()
    disk.refuse("read", errno.EIO)

    assert Digest.of((await get_blob(http, rig, blob.digest)).body) == blob.digest

    await rig.landed()
    disk.mend()
    await get_blob(http, rig, blob.digest)
    assert rig.served()[-1] == "hit"
    assert StorageFailed("read", "EIO") in failures(rig)
    assert rig.upstream.count(kind=RequestKind.BLOB, method="GET") == 2


@pytest.mark.parametrize("step", ["read", "tag", "manifest"])
async def test_a_manifest_that_the_disk_does_not_give_comes_from_upstream(
    tmp_path: Path, disk: Disk, http: ClientSession, step: str
) -> None:
    """After a restart nothing is in memory; the disk's refusal is no refusal to the client."""
    async with make_rig(tmp_path, disk=disk) as rig, serving(rig):
        image = rig.upstream.add_image(APP, tag="latest", layers=[b"layer"])
        await pull(http, rig, image)
        await rig.landed()
        disk.refuse(step, errno.EIO)
        rig.clock.advance(1000)
        async with make_rig(tmp_path, disk=disk, upstream=rig.upstream) as again, serving(again):
            await pull(http, again, image)
            await again.landed()


@dataclass
class Allowance:
    """A SpaceKeeper that has room for so many bytes in all of each blob."""

    size_bytes: int
    full: int = 0
    released: int = 0
    asked: list[int | None] = field(default_factory=list)

    def reserve(
        self, _repository: RepositoryName, _digest: Digest, size_bytes: int | None
    ) -> "Allowance | None":
        """Agree up to the allowance."""
        self.asked.append(size_bytes)
        return self if size_bytes is None or size_bytes <= self.size_bytes else None

    async def reserve_on_loop(
        self, repository: RepositoryName, digest: Digest, size_bytes: int
    ) -> "Allowance | None":
        """Do the same for manifests."""
        return self.reserve(repository, digest, size_bytes)

    async def has_room(self, size_bytes: int) -> bool:
        """Agree up to the allowance."""
        return size_bytes <= self.size_bytes

    def grow(self, size_bytes: int) -> bool:
        """Agree up to the allowance."""
        return size_bytes <= self.size_bytes

    def note_full(self) -> None:
        """Count it."""
        self.full += 1

    def release(self) -> None:
        """Count it."""
        self.released += 1


@pytest.mark.parametrize(
    "framing", [faults.Headers(), faults.Unsized(), faults.Unsized(chunked=True)]
)
async def test_what_exceeds_the_limit_is_served_and_leaves_nothing(
    tmp_path: Path, http: ClientSession, framing: faults.Fault
) -> None:
    """Failure 4: with a known size nothing is begun, with an unknown one it is given up."""
    space = Allowance(LAYER.size_bytes - 1)
    async with make_rig(tmp_path, space=space) as rig, serving(rig):
        blob = rig.upstream.add_blob(APP, LAYER)
        small = rig.upstream.add_blob(APP, b"small" * 20_000)
        rig.upstream.inject(framing, kind=RequestKind.BLOB)

        answer = await get_blob(http, rig, blob.digest)
        kept = await get_blob(http, rig, small.digest)
        await rig.landed()

        assert (answer.is_whole, kept.is_whole) == (True, True)
        assert Digest.of(answer.body) == blob.digest
        assert await rig.store.stat_data(blob.digest) is None
        assert await rig.store.stat_data(small.digest) == 100_000
        assert rig.files("roadstead/partial/**/*") == []
        assert failures(rig) == set()
        assert rig.events.count(PassedOn()) == 1
        assert (len(space.asked), space.full) == (2, 0)


async def test_a_full_disk_is_written_again_when_room_was_made(
    tmp_path: Path, disk: Disk, http: ClientSession
) -> None:
    """The keeper hears of it and evicts; the blob is kept, and nobody fetches it twice."""

    class Evicting(Allowance):
        def note_full(self) -> None:
            super().note_full()
            disk.mend()

    space = Evicting(LAYER.size_bytes)
    async with make_rig(tmp_path, disk=disk, space=space) as rig, serving(rig):
        blob = rig.upstream.add_blob(APP, LAYER)
        disk.refuse("write", errno.ENOSPC, after=1)

        answer = await get_blob(http, rig, blob.digest)
        await rig.landed()

        assert Digest.of(answer.body) == blob.digest
        assert await rig.store.stat_blob(APP, blob.digest) == LAYER.size_bytes
        assert rig.upstream.count(kind=RequestKind.BLOB) == 1
        assert (space.full, space.released) == (1, 1)
