"""A blob that another process of this mirror fetches, followed through the file that it writes.

Runs in the pump's thread, before the pump fetches itself: a blob that was stored meanwhile, or is
being fetched by a worker process beside this one, is not fetched again. When that process dies the
pump goes on from the byte where it stopped.
"""

import os
import threading
from collections.abc import Callable
from contextlib import closing
from typing import BinaryIO, Final

from roadstead.errors import (
    StorageBusyError,
    StorageUnavailableError,
    UpstreamUnreachableError,
)
from roadstead.mirror.pump import Progress
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.base import BlobStore, GrowingBlob, GrowthEnd, PartialBlob

# While nothing arrives the pauses double up to the longer one.
_SHORTEST_PAUSE_SECONDS: Final = 0.002
_LONGEST_PAUSE_SECONDS: Final = 0.02
# Longer than a process that is alive is silent: it gives its upstream up before.
_PATIENCE_SECONDS: Final = 180.0


class Follower:
    """Gets the partial blob for a pump, following whoever else has it."""

    def __init__(
        self,
        store: BlobStore,
        repository: RepositoryName,
        digest: Digest,
        *,
        host: str,
        confirm: Callable[[], None],
        replaces: bool,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        """``confirm`` asks upstream whether the repository has the blob, and raises if not.

        ``replaces``: data that is held is damaged, so that it counts for nothing. A process that
        writes nothing for ``patience_seconds`` is followed no longer; readers go on without it.
        """
        self._patience_seconds = patience_seconds
        self._store = store
        self._repository = repository
        self._digest = digest
        self._host = host
        self._confirm = confirm
        self._replaces = replaces
        self._confirmed = False
        self._shown = Progress()

    def open(
        self, publish: Callable[[Progress], None], stopping: threading.Event
    ) -> PartialBlob | None:
        """Return the partial blob to go on with, None if the blob is in the store now.

        ``publish`` is told what readers may be shown meanwhile.

        Raises:
            UpstreamError: upstream does not have it in this repository, or the process stops.
            StorageError: the file cannot be had, or the one that readers have was given up.
        """
        while not stopping.is_set():
            try:
                partial = self._store.partial_blob(self._digest)
            except StorageBusyError:
                growing = self._store.growing_blob(self._digest)
                if growing is None:
                    stopping.wait(_SHORTEST_PAUSE_SECONDS)
                elif self._is_stored(growing, publish, stopping):
                    return None
            else:
                return self._begun(partial, publish)
        message = "the transfer was stopped"
        raise UpstreamUnreachableError(message, upstream=self._host)

    def _is_stored(
        self, growing: GrowingBlob, publish: Callable[[Progress], None], stopping: threading.Event
    ) -> bool:
        """Follow a growing blob to its end; say whether it is stored and shown."""
        try:
            self._require_same(growing.file)
            ended = self._follow(growing, publish, stopping)
        finally:
            if self._shown.file is not growing.file:
                growing.file.close()
        if self._shown.file is None or ended not in {GrowthEnd.COMMITTED, GrowthEnd.GONE}:
            return False
        if not self._shown.complete:
            if ended is GrowthEnd.GONE:
                raise _given_up()
            self._show(_whole(self._shown.file), publish)
        return True

    def _follow(
        self, growing: GrowingBlob, publish: Callable[[Progress], None], stopping: threading.Event
    ) -> GrowthEnd | None:
        """Show what arrives until its writer has ended, or the process stops."""
        before, pause, silent = 0, _SHORTEST_PAUSE_SECONDS, 0.0
        while not stopping.is_set():
            arrived = growing.arrived()
            self._show(self._look(growing, arrived, before), publish)
            if arrived > before:
                before, pause, silent = arrived, _SHORTEST_PAUSE_SECONDS, 0.0
            elif (ended := growing.end()) is not None:
                return ended
            else:
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                silent += pause
                if silent > self._patience_seconds:
                    raise _given_up()
            stopping.wait(pause)
        return None

    def _look(self, growing: GrowingBlob, arrived: int, before: int) -> Progress:
        """Say what may be shown; what may be the end waits until the digest is known to be right.

        Of a blob of unknown size, any piece may be the end until another one follows.
        """
        shown = self._shown
        if shown.complete:
            return shown
        if shown.file is None or arrived == before:
            told = growing.announcement()
            if told is None:
                return shown
            self._require_confirmed(told.repository)
            file = shown.file or growing.file
            if told.is_verified:
                return _whole(file)
            shown = Progress(file, told.size_bytes, shown.available, followed=True)
        size = shown.size_bytes
        available = before if size is None else arrived if arrived < size else 0
        return Progress(shown.file, size, max(available, shown.available), followed=True)

    def _begun(
        self, partial: PartialBlob, publish: Callable[[Progress], None]
    ) -> PartialBlob | None:
        """Go on with a partial blob, unless its blob was committed a moment ago."""
        try:
            if not partial.offset and not self._replaces:
                held = self._store.open_blob(self._digest)
                if held is not None:
                    partial.discard()
                    self._require_same(held.file)
                    self._require_confirmed(None)
                    self._show(_whole(held.file), publish)
                    return None
            if self._shown.file is not None:
                with closing(partial.open_reader()) as file:
                    self._require_same(file)
        except BaseException:
            partial.close()
            raise
        return partial

    def _show(self, progress: Progress, publish: Callable[[Progress], None]) -> None:
        if progress != self._shown:
            self._shown = progress
            publish(progress)

    def _require_confirmed(self, repository: RepositoryName | None) -> None:
        """Make sure that upstream has the blob in our repository, and not only in another."""
        if not self._confirmed and repository != self._repository:
            self._confirm()
        self._confirmed = True

    def _require_same(self, file: BinaryIO) -> None:
        """Make sure that readers would go on in the file that they began with."""
        ours = self._shown.file
        if ours is not None and not os.path.sameopenfile(ours.fileno(), file.fileno()):
            raise _given_up()


def _whole(file: BinaryIO) -> Progress:
    size = os.fstat(file.fileno()).st_size
    return Progress(file, size, size, complete=True, followed=True)


def _given_up() -> StorageUnavailableError:
    return StorageUnavailableError("the process that fetched it has given it up")
