"""Blobs while they arrive, as files that outlive the process.

One process writes a partial file, and holds a lock on it for as long. The lock, not the name,
is the ownership: whoever finds the file locked fetches into a private one, which costs a
second transfer and harms nobody. Worker processes, which share partial files, follow it instead
(see growing).
"""

import fcntl
import hashlib
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from threading import Lock
from typing import BinaryIO
from uuid import uuid4

from roadstead.errors import DigestMismatchError, StorageBusyError, StorageError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.storage.barrier import Barrier
from roadstead.storage.base import LinkNotes
from roadstead.storage.boundary import Boundary
from roadstead.storage.durability import make_directories, sync_directory, take_place
from roadstead.storage.growing import announcement_of, write_announcement, write_verified
from roadstead.storage.layout import Layout
from roadstead.storage.links import write_link

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def current_boot_id() -> str:
    """Name this run of the kernel; where it has no name, this process.

    Partial files are not synced while they are written, so one from before a power loss may
    have the right size and holes in it. The hash would show that in the end, at the price of
    the whole transfer. Only what the running kernel wrote is resumed; that it keeps, whatever
    happens to our process.
    """
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return str(uuid4())


def try_lock(file: FileIO, path: Path) -> bool:
    """Lock ``file`` for this process; False if it is another's or no longer at ``path``.

    The second is for the moment between opening and locking, in which the former owner may
    have committed the file: it must not be written any more.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file.fileno()), found)


def is_private(path: Path) -> bool:
    """Say whether this is a file that no later attempt will look for."""
    return bool(path.suffix)


class FilesystemPartialBlob:
    """A ``PartialBlob`` of the filesystem store; see the protocol for the contract."""

    def __init__(
        self,
        digest: Digest,
        *,
        layout: Layout,
        boot_id: str,
        boundary: Boundary,
        barrier: Barrier,
        notes: LinkNotes,
        shared: bool = False,
    ) -> None:
        """Open the partial file of ``digest`` and hash what is in it.

        Raises:
            StorageBusyError: it is ``shared`` with other processes, and one of them writes it.
            StorageError: it cannot be opened or read.
        """
        self._shared = shared
        self._digest = digest
        self._layout = layout
        self._boundary = boundary
        self._barrier = barrier
        self._notes = notes
        self._path = layout.partial(boot_id, digest)
        self._moving = Lock()
        self._committed = False
        self._synced = False
        with boundary.step("opening a partial blob", "open"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._open_locked()
            self._file.seek(0)
            self._hash = hashlib.file_digest(self._file, digest.hasher)
            self._offset = self._file.tell()

    @property
    def offset(self) -> int:
        """How many bytes are written."""
        return self._offset

    def open_reader(self) -> BinaryIO:
        """Open the growing file, unbuffered; the handle outlives commit and discard."""
        with self._boundary.step("opening a partial blob", "open"), self._moving:
            return self._path.open("rb", buffering=0)

    def write(self, chunk: bytes) -> None:
        """Append and hash; what a full disk refuses is not counted.

        Raises:
            StorageError: not all of it could be written.
        """
        rest = memoryview(chunk)
        self._synced = False
        with self._boundary.step("writing a partial blob", "write"):
            while rest:
                written = self._file.write(rest)
                self._hash.update(rest[:written])
                self._offset += written
                rest = rest[written:]

    def prefix_hexdigest(self) -> str:
        """Return the hash of all that is written so far, in the blob's own algorithm."""
        return self._hash.copy().hexdigest()

    def verify(self) -> None:
        """Compare the hash of what is written with the blob's digest.

        Raises:
            DigestMismatchError: it is something else.
        """
        actual = self.prefix_hexdigest()
        if actual != self._digest.encoded:
            raise DigestMismatchError(str(self._digest), f"{self._digest.algorithm}:{actual}")

    def sync(self) -> None:
        """Make all that is written durable. Idempotent.

        Raises:
            StorageError: it may be lost; the partial blob is discarded.
        """
        if self._synced:
            return
        try:
            with self._boundary.step("syncing a partial blob", "sync"):
                os.fsync(self._file.fileno())
        except StorageError:
            # The kernel reports a failed write-back once and then takes the pages for clean:
            # a second attempt would succeed with the bytes lost.
            with suppress(StorageError):
                self.discard()
            raise
        self._synced = True

    def commit(self, repositories: frozenset[RepositoryName]) -> None:
        """Sync the blob, make it visible, link it into ``repositories``; ends all writing.

        Data that is there already is replaced: it holds the same bytes, or damaged ones.

        Raises:
            DigestMismatchError: the bytes are not those of the digest.
            StorageError: a step failed. Before the rename the partial file stays.
        """
        self.verify()
        data = self._layout.blob(self._digest)
        partial = self._path
        self.sync()
        with self._boundary.action("Move", "rename"), self._barrier.linking([self._digest]):
            # Before it is seen: a crash in between must not leave data that nobody knows of.
            for repository in sorted(repositories):
                self._notes.layer(repository, self._digest, self._offset)
            make_directories(data.parent)
            with self._moving:
                take_place(partial, data)
                self._path = data
                self._committed = True
            self._withdraw(partial)
            sync_directory(data.parent)
            with self._boundary.step("linking a blob", "link"):
                for repository in sorted(repositories):
                    write_link(self._layout.layer_link(repository, self._digest), self._digest)
        # Its lock goes last: who followed it finds the links.
        self._file.close()

    def announce(self, repository: RepositoryName, size_bytes: int | None) -> None:
        """Tell those who follow the file, as far as there is room to; see growing."""
        if self._shared:
            with suppress(StorageError), self._boundary.step("announcing a blob", "write"):
                write_announcement(self._path, self._file, repository, size_bytes)

    def announce_verified(self) -> None:
        """Let those who follow show the last bytes too."""
        if self._shared:
            with suppress(StorageError), self._boundary.step("announcing a blob", "write"):
                write_verified(self._path)

    def restart(self) -> None:
        """Forget all bytes written and begin anew at offset 0.

        In the same file, unless others may have shown what is in it.
        """
        with self._boundary.step("restarting a partial blob", "write"):
            if self._shared:
                self._replace()
            else:
                self._file.truncate(0)
        self._hash = self._digest.hasher()
        self._offset = 0

    def discard(self) -> None:
        """Remove the partial file, unless it is committed, and let go of it."""
        with self._boundary.step("discarding a partial blob", "remove"):
            if not self._committed and not self._file.closed:
                self._withdraw(self._path)
                self._path.unlink(missing_ok=True)
            self._file.close()

    def close(self) -> None:
        """Let go of the file and keep it on disk, but for a private one. Idempotent."""
        if is_private(self._path):
            self.discard()
        self._file.close()

    def _open_locked(self) -> FileIO:
        shared = self._path
        while True:
            # Appending, so that a restart through this handle needs no seek.
            file = self._path.open("a+b", buffering=0)
            if try_lock(file, self._path):
                return file
            file.close()
            if self._shared:
                raise _busy()
            self._path = shared.with_name(f"{shared.name}.{uuid4()}")

    def _replace(self) -> None:
        """Put a new file, locked already, in the place of the old one."""
        self._withdraw(self._path)
        fresh = self._path.with_name(f"{self._path.name}.{uuid4()}")
        file = fresh.open("a+b", buffering=0)
        fcntl.flock(file, fcntl.LOCK_EX)
        fresh.replace(self._path)
        self._file.close()
        self._file = file

    def _withdraw(self, partial: Path) -> None:
        if self._shared:
            announcement_of(partial).unlink(missing_ok=True)


def _busy() -> StorageBusyError:
    error = StorageBusyError("another process is fetching this blob")
    # No trouble of the store.
    error.is_told = True
    return error
