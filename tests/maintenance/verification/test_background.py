"""Verifying in the background: what is damaged is fetched again, and a stop loses no work."""

import asyncio
import itertools
import json
import threading
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from roadstead.maintenance.verification.background import BackgroundVerification, Heal
from roadstead.maintenance.verification.position import Position, read_position, write_position
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.simulator.content import SimulatedImage
from roadstead.storage.base import Damage, Linker
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.telemetry import events
from tests.support.rig import APP, Rig, make_rig

NOW = 1_700_000_000.0


async def never(_seconds: float) -> None:
    """Sleep until cancelled."""
    await asyncio.Event().wait()


def background(
    rig: Rig,
    *,
    sleep: Callable[[float], Awaitable[None]] = never,
    rate: float | None = None,
    clock: Callable[[], float] = lambda: NOW,
    heal: Heal | None = None,
) -> BackgroundVerification:
    """Make one over a rig's store."""
    return BackgroundVerification(
        rig.store,
        state_file=Layout(rig.root).verification,
        bytes_per_second=rate,
        next_time=lambda now: now + 3600,
        heal=heal or rig.mirrors.fetch_again,
        observe=rig.events.append,
        clock=clock,
        sleep=sleep,
    )


async def hold(rig: Rig) -> SimulatedImage:
    """Pull an image with a layer that is too large to be hashed by a request."""
    image = rig.upstream.add_image(APP, tag="latest", layers=[b"small", bytes(100_000)])
    await rig.hold(image)
    return image


def turn(rig: Rig, digest: Digest) -> None:
    """Damage data without changing its size."""
    path = Layout(rig.root).blob(digest)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


async def verify(one: BackgroundVerification) -> None:
    """Verify everything, and wait until all is fetched again."""
    await one.verify()
    await asyncio.sleep(0)
    await one.healed()


async def test_damage_is_fetched_again(tmp_path: Path) -> None:
    """A layer and a manifest: put away, fetched through the normal flight, and counted."""
    async with make_rig(tmp_path) as rig:
        image = await hold(rig)
        layer = image.layers[1].digest
        for digest in (layer, image.manifest_digest):
            turn(rig, digest)
        rig.upstream.requests.clear()

        await verify(background(rig))
        await rig.landed()

        assert Layout(tmp_path).blob(layer).read_bytes() == image.layers[1].read()
        assert Layout(tmp_path).blob(image.manifest_digest).read_bytes() == image.content
        # The manifest was in memory.
        assert [record.path for record in rig.upstream.requests] == [f"/v2/{APP}/blobs/{layer}"]
        assert {one.digest for one in rig.store.quarantined()} == {layer, image.manifest_digest}
        assert rig.events.count(events.DamageFound(Damage.CONTENT)) == 2
        assert rig.events.count(events.Healed()) == 2
        assert events.VerificationEnded(NOW) in rig.events


async def test_without_upstream_it_heals_at_the_next_request(tmp_path: Path) -> None:
    """What cannot be fetched stays missing, and is said so."""
    async with make_rig(tmp_path) as rig:
        image = await hold(rig)
        layer = image.layers[1]
        turn(rig, layer.digest)
        await rig.upstream.stop()

        await verify(background(rig))
        await rig.landed()
        await rig.upstream.start()

        assert events.Healed("UpstreamUnreachableError") in rig.events
        assert rig.store.open_blob(layer.digest) is None
        await rig.mirror.restore_blob(APP, layer.digest)
        await rig.landed()
        assert Layout(tmp_path).blob(layer.digest).read_bytes() == layer.read()


async def test_another_repository_may_give_it(tmp_path: Path) -> None:
    """Data that several repositories link to is fetched for the first whose upstream has it."""
    async with make_rig(tmp_path) as rig:
        asked: list[Linker] = []
        other = RepositoryName("library/a-first")
        layers = [bytes(100_000)]
        image = rig.upstream.add_image(APP, tag="latest", layers=layers)
        rig.upstream.add_image(other, tag="latest", layers=layers)
        await rig.hold(image)
        layer = image.layers[0].digest
        await rig.store.link_blob(other, layer)
        rig.upstream.delete_blob(other, layer)
        turn(rig, layer)

        async def heal(linker: Linker) -> None:
            asked.append(linker)
            await rig.mirrors.fetch_again(linker)

        await verify(background(rig, heal=heal))
        await rig.landed()

        assert [linker.repository for linker in asked] == [other, APP]
        assert rig.events.count(events.Healed()) == 1


async def test_a_stop_is_resumed_where_it_was(tmp_path: Path) -> None:
    """The next process goes on behind the last digest, and adds to the same sums."""
    async with make_rig(tmp_path) as rig:
        image = await hold(rig)
        held = [one.digest for one in rig.store.walk.data()]
        half = Position(after=str(held[1]), started_at=5.0, blobs=2, size_bytes=10)
        write_position(Layout(tmp_path).verification, half)
        turn(rig, held[0])

        await verify(background(rig))

        # What lies before was looked at already.
        assert rig.store.quarantined() == []
        verified = [one for one in rig.events if isinstance(one, events.Verified)]
        assert len(verified) == len(held) - 2 == len(image.blobs) + 1 - 2
        position = read_position(Layout(tmp_path).verification)
        assert (position.started_at, position.completed_at) == (None, NOW)
        assert position.completed_blobs == len(held)


async def test_a_stop_in_the_middle_keeps_the_position(tmp_path: Path) -> None:
    """At a rate that would take hours, a cancelled run ends at once and knows how far it was."""
    begun = threading.Event()
    calls = itertools.count()

    def clock() -> float:
        # Once when it is due, and then when it begins.
        if next(calls):
            begun.set()
        return NOW

    async with make_rig(tmp_path) as rig:
        await hold(rig)
        task = asyncio.create_task(background(rig, rate=1.0, clock=clock).verify())
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with suppress(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await task

        assert read_position(Layout(tmp_path).verification).started_at == NOW


async def test_it_waits_for_its_time(tmp_path: Path) -> None:
    """Until the time that the schedule tells, then for the next."""
    waits: list[float] = []
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 2:
            enough.set()
            await never(seconds)

    async with make_rig(tmp_path) as rig:
        await hold(rig)
        task = asyncio.create_task(background(rig, sleep=sleep).run())
        await enough.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    assert waits == [3600.0, 3600.0, 3600.0]
    assert rig.events.count(events.VerificationEnded(NOW)) == 2


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"odd": 1}', json.dumps({"after": "x"}).encode()]
)
def test_a_damaged_position_is_a_new_one(tmp_path: Path, content: bytes) -> None:
    """It costs one run from the beginning."""
    path = tmp_path / "verification.json"
    path.write_bytes(content)

    assert read_position(path) == Position()
    write_position(path, Position(blobs=3))
    assert read_position(path) == Position(blobs=3)


async def test_a_manifest_is_restored_from_memory_without_upstream(tmp_path: Path) -> None:
    """The process that serves it knows its bytes."""
    async with make_rig(tmp_path) as rig:
        image = await hold(rig)
        await rig.mirror.manifest(APP, Tag("latest"))
        await rig.upstream.stop()
        turn(rig, image.manifest_digest)

        await verify(background(rig))

        assert Layout(tmp_path).blob(image.manifest_digest).read_bytes() == image.content


@pytest.mark.parametrize("is_done", [False, True], ids=["not-done", "done"])
async def test_only_one_verifies_at_a_time(tmp_path: Path, *, is_done: bool) -> None:
    """The next waits for it, and has nothing to do if it came to the end."""
    waits: list[float] = []
    with ExitStack() as other:

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            if is_done:
                write_position(Layout(tmp_path).verification, Position(completed_at=NOW + 1))
            other.close()

        async with make_rig(tmp_path) as rig:
            await hold(rig)
            other.enter_context(FilesystemStore(tmp_path).verifying())

            await verify(background(rig, sleep=sleep))

            assert waits == [5.0]
            assert (events.VerificationEnded(NOW) in rig.events) is not is_done
