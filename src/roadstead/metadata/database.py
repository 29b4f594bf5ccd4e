"""The metadata database of one process: what roadstead.metadata.base promises, over SQLite."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from roadstead.errors import MetadataError
from roadstead.metadata import flushing, lists, recording
from roadstead.metadata.ballast import Ballast
from roadstead.metadata.buffers import Notes
from roadstead.metadata.reading import Reader
from roadstead.metadata.rebuild import Rebuilt
from roadstead.metadata.rebuilder import Rebuilder, is_whole
from roadstead.metadata.records import Condition, ManifestRecord, MetadataStatus, RemovedRows
from roadstead.metadata.schema import pin
from roadstead.metadata.session import Session
from roadstead.metadata.statements import upsert
from roadstead.metadata.volume import Volume
from roadstead.metadata.writer import Commit, Writer
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.telemetry import events

Value = TypeVar("Value")

_COUNTED_SECONDS = 60.0
"""How old counts for the status may be; counting a million rows takes half a second."""


class MetadataDatabase(Reader):
    """See ``roadstead.metadata.base.Metadata``.

    ``path`` is the file's; locks and marks lie beside it. Nothing touches the disk before
    ``start``. ``touch`` and the ``record_`` methods may be called from any thread, the
    others from the event loop. ``observe`` is called from any thread.
    """

    def __init__(
        self,
        path: Path,
        volume: Volume,
        *,
        observe: events.Observer = events.ignore,
        flush_seconds: float = 5.0,
        clock: Callable[[], float] = time.time,
        notes: Notes | None = None,
        tried: Callable[[], None] = lambda: None,
    ) -> None:
        """``tried`` is called, in the writer's thread, after each attempt to open the file."""
        self._volume = volume
        self._clock = clock
        self.notes = notes or Notes(path)
        self._marks = self.notes.marks
        self._told_whole = False
        self._counted = MetadataStatus(Condition.OPENING)
        self._count_due = 0.0
        writer = Writer(
            partial(Session, path),
            self._marks,
            Ballast(path.with_suffix(".ballast")),
            prepare=self._prepare,
            tried=tried,
            drained=self._drained,
            tick=self._tick,
            tick_seconds=flush_seconds,
            observe=observe,
        )
        self._rebuilder = Rebuilder(
            volume, self._marks, writer, path.with_suffix(".rebuild.lock"), settled=self._settle
        )
        super().__init__(writer, observe)

    def start(self, *, rebuilding: bool = True) -> None:
        """Open the database in the background; ``rebuilding`` mends it there when it must be."""
        if rebuilding:
            self._rebuilder.start()
        self._writer.start()

    async def aclose(self) -> None:
        """Write what is noted, and close; the volume must not be written any more."""
        await asyncio.to_thread(self._close)

    def touch(self, repository: RepositoryName, digest: Digest, at: float) -> None:
        """Note a pull; written with the next flush."""
        self.notes.pulls.note(repository, digest, at)

    def record_manifest(self, manifest: ManifestRecord) -> Future[None]:
        """Note a manifest, its data, and what it points at."""
        return self._record(lambda c: recording.record_manifest(c, manifest))

    def record_tag(self, repository: RepositoryName, tag: Tag, digest: Digest) -> Future[None]:
        """Note what a tag points at."""
        at = self._clock()
        return self._record(lambda c: recording.record_tag(c, repository, tag, digest, at))

    def record_layer(
        self, repository: RepositoryName, digest: Digest, size_bytes: int | None, stored_at: float
    ) -> Future[None]:
        """Note a layer of a repository, and its data if that is held."""
        return self._record(
            lambda c: recording.record_layer(c, repository, digest, size_bytes, stored_at)
        )

    def record_data(self, digest: Digest, size_bytes: int, stored_at: float) -> Future[None]:
        """Note held data."""

        def record(connection: sa.Connection) -> None:
            recording.held_content(connection, digest, size_bytes, stored_at)

        return self._record(record)

    def record_removal(self, removed: RemovedRows) -> Future[None]:
        """Forget what was removed, while nobody can write a link."""
        return self._record(lambda c: recording.forget_all(c, removed))

    async def forget_tag(self, repository: RepositoryName, tag: Tag) -> None:
        """Forget a tag."""
        await self._write(lambda c: recording.forget_tag(c, repository, tag))

    async def forget_manifest(self, repository: RepositoryName, digest: Digest) -> None:
        """Forget a repository's manifest, not its data."""
        await self._write(lambda c: recording.forget_manifest(c, repository, digest))

    async def forget_layer(self, repository: RepositoryName, digest: Digest) -> None:
        """Forget a repository's layer, not its data."""
        await self._write(lambda c: recording.forget_layer(c, repository, digest))

    async def forget_data(self, digest: Digest) -> None:
        """Forget data."""
        await self._write(lambda c: recording.forget_data(c, digest))

    async def seed_pull(self, repository: RepositoryName, digest: Digest, at: float) -> None:
        """Take a time of last pull from elsewhere."""
        await self._write(lambda c: flushing.seed_pull(c, repository, digest, at))

    async def add_pin(self, pattern: str, by: str, at: float) -> None:
        """Pin what matches ``pattern``; one that exists stays as it is."""
        row = {"pattern": pattern, "pinned_by": by, "pinned_at": at}

        def add(connection: sa.Connection) -> None:
            connection.execute(upsert(connection, pin).on_conflict_do_nothing(), row)

        await self._write(add)

    async def remove_pin(self, pattern: str) -> bool:
        """Remove a pin; False if there was none."""
        remove = sa.delete(pin).where(pin.c.pattern == pattern)
        return await self._write(lambda c: bool(c.execute(remove).rowcount))

    async def flush(self) -> None:
        """Write now what is noted of pulls and sums."""
        await self._write(self._flush)

    async def rebuild(self, progress: Callable[[float], None]) -> Rebuilt:
        """Rebuild now, as fast as it goes; ``progress`` is called in another thread.

        Raises:
            OSError: the volume cannot be read.
            MetadataError: the database cannot be written.
        """
        return await asyncio.to_thread(self._rebuilder.rebuild, progress)

    async def is_whole(self) -> bool:
        """Say whether there is a row for every link."""
        try:
            return await self.ask(self._is_whole)
        except MetadataError:
            return False

    def snapshot(self) -> MetadataStatus:
        """Say how the database stands, with the counts of the last minutes."""
        return replace(self._counted, condition=self.condition(), progress=self._rebuilder.progress)

    def condition(self) -> Condition:
        """Say how the database stands, as far as this process knows without looking."""
        if self._writer.has_failed:
            return Condition.FAILED
        if self._writer.session is None:
            return Condition.OPENING
        if self._rebuilder.progress is not None:
            return Condition.REBUILDING
        return Condition.WHOLE if self._told_whole else Condition.BEHIND

    async def status(self) -> MetadataStatus:
        """Say how the database stands; counting takes a moment where much is held."""
        try:
            self._counted = await self.ask(_count)
        except MetadataError:
            self._counted = MetadataStatus(Condition.FAILED)
        return self.snapshot()

    def _record(self, operation: Callable[[sa.Connection], None]) -> Future[None]:
        return self._writer.submit(operation, is_record=True)

    async def _write(self, operation: Callable[[sa.Connection], Value]) -> Value:
        return await asyncio.wrap_future(self._writer.submit(operation))

    def _prepare(self, session: Session, connection: sa.Connection) -> None:
        self._rebuilder.look_at(session, connection)

    def _drained(self) -> None:
        self._rebuilder.want()

    def _tick(self, commit: Commit) -> None:
        if self._writer.owes:
            self._rebuilder.want()
        if self.notes.pulls or self.notes.totals:
            commit(self._flush)
        self._settle()
        if time.monotonic() > self._count_due:
            self._count_due = time.monotonic() + _COUNTED_SECONDS
            self._threads.submit(self._count)

    def _count(self) -> None:
        with suppress(MetadataError):
            self._counted = self.answer(_count)

    def _flush(self, connection: sa.Connection) -> None:
        pulls, totals = self.notes.pulls.take(), self.notes.totals.take()
        try:
            flushing.write_pulls(connection, pulls)
            flushing.write_totals(connection, totals)
        except BaseException:
            self.notes.pulls.put_back(pulls)
            self.notes.totals.put_back(totals)
            raise

    def _settle(self) -> None:
        """Tell the observer when the database became whole, or ceased to be."""
        try:
            whole = self.answer(self._is_whole)
        except MetadataError:
            whole = False
        if whole != self._told_whole:
            self._told_whole = whole
            self._observe(events.MetadataSettled(whole))

    def _is_whole(self, connection: sa.Connection) -> bool:
        try:
            return not self._marks.present() and is_whole(connection)
        except OSError:
            return False

    def _close(self) -> None:
        self._rebuilder.stop()
        self._writer.stop(self._volume.appearance)
        self.close()
        self._marks.close()


def _count(connection: sa.Connection) -> MetadataStatus:
    return MetadataStatus(Condition.WHOLE, None, *lists.count_rows(connection))
