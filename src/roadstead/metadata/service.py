"""The database of a serving process: there from the first moment, opened when there is time.

Importing what the database needs takes longer than all else that a start does, so it happens in
a thread of its own, some time after the listeners are up. What is recorded before that waits in
memory, under a mark.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

from roadstead.errors import MetadataError
from roadstead.metadata.base import Recorder
from roadstead.metadata.buffers import Notes
from roadstead.metadata.records import Condition, ManifestRecord, MetadataStatus, RemovedRows
from roadstead.metadata.totals import HourlyTotals
from roadstead.metadata.volume import Volume
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.telemetry import events

if TYPE_CHECKING:
    from roadstead.metadata.database import MetadataDatabase

_MOST_WAITING = 20_000
"""Records that may wait for the database to be opened."""
_OPENING_SECONDS = 5.0
"""How long the end of the process waits for it."""


class MetadataService:
    """A ``Recorder`` and ``Pulled`` at once; ``database`` is the rest, once it is open.

    Records and pulls may be noted from any thread.
    """

    def __init__(
        self,
        path: Path,
        volume: Volume,
        *,
        totals: HourlyTotals | None = None,
        observe: events.Observer = events.ignore,
    ) -> None:
        """``path`` is the database's file; ``observe`` is called from any thread.

        ``totals`` are written with the pulls.
        """
        self._path = path
        self._volume = volume
        self._observe = observe
        self._notes = Notes(path, totals)
        self._lock = threading.Lock()
        self._waiting: list[Callable[[Recorder], Future[None]]] = []
        self._opened: MetadataDatabase | None = None
        self._made: MetadataDatabase | None = None
        self._closing = threading.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._make, name="metadata-opening", daemon=True)

    @property
    def database(self) -> "MetadataDatabase | None":
        """The database, as soon as it was opened, or could not be, for the first time."""
        return self._opened

    def status(self) -> MetadataStatus:
        """Say how it stands, with the counts of the last minutes; asks nobody."""
        if self._opened is None:
            return MetadataStatus(Condition.OPENING)
        return self._opened.snapshot()

    async def check(self) -> None:
        """Prove that the last attempt to open or to write the database went well.

        Raises:
            MetadataError: it did not.
        """
        if self.status().condition is Condition.FAILED:
            message = "the database cannot be opened or written: nothing is evicted until it can"
            raise MetadataError(message)

    def start(self, *, delay_seconds: float = 0.0) -> None:
        """Begin to open the database, after a while."""
        self._delay_seconds = delay_seconds
        self._thread.start()

    async def aclose(self) -> None:
        """Write what is noted, and close; the volume must not be written any more."""
        self._closing.set()
        if self._thread.ident is not None:
            # A process that ends so early should not leave a debt behind.
            await asyncio.to_thread(self._tried.wait, _OPENING_SECONDS)
        if self._made is not None:
            await self._made.aclose()
        self._notes.marks.close()

    def touch(self, repository: RepositoryName, digest: Digest, at: float) -> None:
        """Note a pull; written with the next flush."""
        self._notes.pulls.note(repository, digest, at)

    def record_manifest(self, manifest: ManifestRecord) -> Future[None]:
        """Note a manifest, its data, and what it points at."""
        return self._record(lambda recorder: recorder.record_manifest(manifest))

    def record_tag(self, repository: RepositoryName, tag: Tag, digest: Digest) -> Future[None]:
        """Note what a tag points at."""
        return self._record(lambda recorder: recorder.record_tag(repository, tag, digest))

    def record_layer(
        self, repository: RepositoryName, digest: Digest, size_bytes: int | None, stored_at: float
    ) -> Future[None]:
        """Note a layer of a repository, and its data if that is held."""
        return self._record(
            lambda recorder: recorder.record_layer(repository, digest, size_bytes, stored_at)
        )

    def record_data(self, digest: Digest, size_bytes: int, stored_at: float) -> Future[None]:
        """Note held data."""
        return self._record(lambda recorder: recorder.record_data(digest, size_bytes, stored_at))

    def record_removal(self, removed: RemovedRows) -> Future[None]:
        """Forget what was removed, while nobody can write a link."""
        return self._record(lambda recorder: recorder.record_removal(removed))

    def _record(self, record: Callable[[Recorder], Future[None]]) -> Future[None]:
        with self._lock:
            if self._opened is None and len(self._waiting) < _MOST_WAITING:
                return self._put_by(record)
            database = self._opened or self._made
        if database is None:
            return _failed("the metadata database is still being opened", None)
        return record(database)

    def _put_by(self, record: Callable[[Recorder], Future[None]]) -> Future[None]:
        """Let a record wait, under a mark, so that nothing has to wait for it."""
        try:
            self._notes.marks.leave()
        except OSError as error:
            return _failed("a link cannot be written: its row cannot be noted as missing", error)
        self._waiting.append(record)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _make(self) -> None:
        if self._closing.wait(self._delay_seconds) and not self._waiting:
            self._tried.set()
            return
        from roadstead.metadata.database import MetadataDatabase  # noqa: PLC0415 - see the module

        made = self._made = MetadataDatabase(
            self._path,
            self._volume,
            observe=self._observe,
            notes=self._notes,
            tried=lambda: self._hand_over(made),
        )
        made.start()

    def _hand_over(self, made: "MetadataDatabase") -> None:
        """Give what has waited to the database: in its writer's thread, so it comes first."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            for record in waiting:
                record(made)
            self._opened = made
        self._tried.set()


def _failed(message: str, cause: OSError | None) -> Future[None]:
    error = MetadataError(message)
    error.__cause__ = cause
    failed: Future[None] = Future()
    failed.set_exception(error)
    return failed
