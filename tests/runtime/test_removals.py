"""The mirrors' memory follows what is removed from the store."""

import asyncio
from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.oci.reference import Tag
from roadstead.runtime.removals import following_removals
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry.events import Outcome
from tests.support.rig import APP, Rig, make_rig

LATEST = Tag("latest")


class _Turns:
    """A sleep that ends when the test says so."""

    def __init__(self) -> None:
        self._asleep = asyncio.Event()
        self._next = asyncio.Event()

    async def __call__(self, _seconds: float) -> None:
        self._asleep.set()
        await self._next.wait()
        self._next.clear()

    async def pass_on(self) -> None:
        """Let one look happen, and wait for its end."""
        await self._asleep.wait()
        self._asleep.clear()
        self._next.set()
        await self._asleep.wait()


def _evict(store: FilesystemStore, digest: Digest) -> None:
    with store.removing() as removal:
        removal.remove_tag(APP, LATEST)
        removal.remove_manifest(APP, digest)


async def _outcome(rig: Rig, digest: Digest) -> Outcome:
    return (await rig.mirror.manifest(APP, digest)).outcome


async def test_own_removals_are_followed_at_once(tmp_path: Path) -> None:
    """What this process removes is not served from memory afterwards; all else still is."""
    async with make_rig(tmp_path) as rig:
        gone = rig.upstream.add_image(APP, tag=LATEST).manifest_digest
        kept = rig.upstream.add_image(APP, tag="kept", layers=[b"kept"]).manifest_digest
        turns = _Turns()
        async with following_removals(rig.store, rig.mirrors, sleep=turns):
            for digest in (gone, kept):
                await rig.mirror.manifest(APP, digest)
            await turns.pass_on()
            for digest in (gone, kept):
                await rig.mirror.manifest(APP, digest)
            await asyncio.to_thread(_evict, rig.store, gone)
            await asyncio.sleep(0)
            assert await _outcome(rig, gone) is Outcome.MISS
            await turns.pass_on()
            await rig.upstream.stop()
            asked = len(rig.events)
            assert await _outcome(rig, kept) is Outcome.HIT
            assert [event for event in rig.events[asked:] if getattr(event, "hit", False)]


async def test_removals_of_others_are_followed_soon(tmp_path: Path) -> None:
    """What another process removes is forgotten at the next look."""
    async with make_rig(tmp_path) as rig:
        digest = rig.upstream.add_image(APP, tag=LATEST).manifest_digest
        turns = _Turns()
        async with following_removals(rig.store, rig.mirrors, sleep=turns):
            await turns.pass_on()
            await rig.mirror.manifest(APP, digest)
            _evict(FilesystemStore(tmp_path), digest)
            await turns.pass_on()
            assert await _outcome(rig, digest) is Outcome.MISS
