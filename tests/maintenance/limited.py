"""A whole mirror with a metadata database and limits, whose process can die at any step.

Nothing in it happens by itself, or by how long something takes: so what fails once fails again.
"""

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from roadstead.errors import StorageUnavailableError
from roadstead.maintenance.collection import Collection
from roadstead.maintenance.evictor import Evictor
from roadstead.maintenance.keeper import LimitKeeper
from roadstead.maintenance.limits import RetentionRules
from roadstead.maintenance.measure import Measure
from roadstead.maintenance.names import ImageNames
from roadstead.maintenance.plan import Usage
from roadstead.maintenance.promises import Promises
from roadstead.maintenance.retention import Retention
from roadstead.maintenance.steering import Steering
from roadstead.metadata.database import MetadataDatabase
from roadstead.mirror.deletions import Deletions
from roadstead.mirror.mirrors import Mirrors
from roadstead.mirror.routing import RouteRules
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.runtime.metadata import RecordedLinks
from roadstead.runtime.removals import following_removals
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.removal import FilesystemRemoval
from roadstead.storage.survey import Survey
from roadstead.telemetry import events
from tests.support.clock import Clock
from tests.support.rig import Rig, make_rig

_NEVER_SECONDS = 1e9
NAMES = ImageNames([RouteRules("docker.io", frozenset({"docker.io"}))], default="docker.io")


class Fuse:
    """Burns after so many removals, as a process dies."""

    def __init__(self) -> None:
        self.left: int | None = None

    @property
    def is_burnt(self) -> bool:
        """Whether the process is to be taken for dead."""
        return self.left is not None and self.left <= 0

    def burn(self) -> None:
        """Get one removal shorter."""
        if self.is_burnt:
            message = "the process is dead"
            raise StorageUnavailableError(message)
        if self.left is not None:
            self.left -= 1


class _FusedRemoval(FilesystemRemoval):
    fuse: Fuse

    def remove_tag(self, repository: RepositoryName, tag: Tag) -> bool:
        self.fuse.burn()
        return super().remove_tag(repository, tag)

    def remove_manifest(self, repository: RepositoryName, digest: Digest) -> bool:
        self.fuse.burn()
        return super().remove_manifest(repository, digest)

    def remove_layer_link(self, repository: RepositoryName, digest: Digest) -> bool:
        self.fuse.burn()
        return super().remove_layer_link(repository, digest)

    def remove_data(self, digest: Digest) -> int:
        self.fuse.burn()
        return super().remove_data(digest)

    def end(self, *, well: bool) -> None:
        if self.fuse.is_burnt:
            self._departures.close()
        else:
            super().end(well=well)


class FragileStore(FilesystemStore):
    """A store whose process may die between any two removals."""

    fuse: Fuse
    removals = _FusedRemoval

    def _removal(self) -> FilesystemRemoval:
        removal = super()._removal()
        assert isinstance(removal, _FusedRemoval)
        removal.fuse = self.fuse
        return removal


class LimitedMirror:
    """One process of a mirror over ``root``; the next one goes on where it ended."""

    def __init__(
        self,
        rig: Rig,
        store: FragileStore,
        database: MetadataDatabase,
        retention: Retention,
        steering: Steering,
        keeper: LimitKeeper,
        fuse: Fuse,
    ) -> None:
        self.rig = rig
        self.store = store
        self.database = database
        self.retention = retention
        self.steering = steering
        self.keeper = keeper
        self.fuse = fuse
        self.deletions = Deletions(store)

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        await self.rig.landed()
        await self.keeper.settled()

    def collect(self) -> None:
        """Collect garbage, however young; blocks."""
        Collection(FilesystemStore(self.rig.root), say=lambda _line: None, grace_seconds=-1.0).run()


@asynccontextmanager
async def limited_mirror(
    root: Path, *, upstream: ScriptedRegistry, clock: Clock, rules: RetentionRules
) -> AsyncIterator[LimitedMirror]:
    """Run one."""
    async with AsyncExitStack() as stack:
        fuse = Fuse()
        database = MetadataDatabase(
            Layout(root).metadata, Survey(root), clock=clock, flush_seconds=_NEVER_SECONDS
        )
        links = RecordedLinks(database, clock=clock)
        store = FragileStore(root, notes=links)
        store.fuse = fuse
        store.on_removal(links.removed)
        database.start(rebuilding=False)
        stack.push_async_callback(database.aclose)
        await database.flush()
        if not await database.is_whole():
            await database.rebuild(lambda _done: None)
        mirrors: list[Mirrors] = []

        def usage() -> Usage:
            return Usage(mirrors[0].is_in_use, mirrors[0].pulling_since())

        promises = Promises()
        measure = Measure(
            rules=rules,
            names=NAMES,
            store=store,
            metadata=lambda: database,
            promises=promises,
            observe=events.ignore,
        )
        retention = Retention(
            rules=rules,
            names=NAMES,
            metadata=lambda: database,
            evictor=Evictor(store=store, usage=usage, names=NAMES, observe=events.ignore),
            measure=measure,
            usage=usage,
            observe=events.ignore,
            clock=clock,
            timer=lambda: 0.0,
        )
        keeper = LimitKeeper(
            rules=rules,
            names=NAMES,
            promises=promises,
            measure=measure,
            free=retention.free,
            observe=events.ignore,
        )
        rig = await stack.enter_async_context(
            make_rig(
                root,
                upstream=upstream,
                clock=clock,
                store=store,
                space=keeper,
                pulled=lambda repository, digest: database.touch(repository, digest, clock()),
            )
        )
        mirrors.append(rig.mirrors)
        await stack.enter_async_context(following_removals(store, rig.mirrors, sleep=_never))
        stack.push_async_callback(keeper.aclose)
        steering = Steering(retention=retention, names=NAMES, pinned=(), store=store, clock=clock)
        yield LimitedMirror(rig, store, database, retention, steering, keeper, fuse)


class Lives:
    """The volume of a mirror that dies and comes back: each life has a copy of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count()
        self.root = directory / "volume"

    def after_death(self) -> Path:
        """Copy the volume as it lies there, before anybody can tidy it up."""
        before, self.root = self.root, self._directory / f"volume{next(self._numbers)}"
        if before.exists():
            shutil.copytree(before, self.root)
        return before


async def _never(_seconds: float) -> None:
    await asyncio.Event().wait()
