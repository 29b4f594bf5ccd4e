"""Journals of links: what was linked while somebody finds out what may go.

Each running mark has a file; every link writer appends to all of them. The owner of a journal
holds a lock on it for as long as it lives, so the journal of a crashed owner is known by its
lock being free, and is removed by whoever comes upon it.
"""

import errno
import fcntl
import os
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.storage.boundary import storage_errors
from roadstead.storage.durability import make_directories
from roadstead.storage.reading import AbsenceIgnored

Lock: TypeAlias = Callable[[FileIO, int], None]
"""``fcntl.flock``, or what a test has in its place."""


class Journal:
    """The links that were written since a mark began."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._read = 0

    def linked(self) -> set[Digest]:
        """Return what was linked since the last call. Complete only while removing.

        Raises:
            StorageError: the journal cannot be read.
        """
        with storage_errors("reading a journal"):
            size = os.fstat(self._file.fileno()).st_size
            lines = os.pread(self._file.fileno(), size - self._read, self._read).split(b"\n")
        self._read = size
        return {digest for line in lines if (digest := _digest(line)) is not None}


class Journals:
    """All journals, in ``directory``."""

    def __init__(self, directory: Path, lock: Lock) -> None:
        self._directory = directory
        self._lock = lock

    def prepare(self) -> None:
        """Make the directory.

        Raises:
            OSError: it cannot be made.
        """
        make_directories(self._directory)

    def begin(self) -> tuple[Path, FileIO]:
        """Make a journal and lock it; only while no link can be written.

        Raises:
            OSError: it cannot be made.
        """
        self.prepare()
        path = self._directory / str(uuid4())
        file = path.open("x+b", buffering=0)
        give_to_owner_of(self._directory, file)
        self._lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path, file

    def note(self, digests: Iterable[Digest]) -> None:
        """Append to every journal whose owner lives; remove the others.

        Raises:
            OSError: a journal cannot be written.
        """
        with AbsenceIgnored():
            # Between line ends, so that what a crash cut off spoils only itself.
            lines = "".join(f"\n{digest}\n" for digest in digests).encode("ascii")
            for path in self._directory.iterdir():
                self._append(path, lines)

    def _append(self, path: Path, lines: bytes) -> None:
        with AbsenceIgnored(), _open_to_append(path) as file:
            try:
                self._lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if file.write(lines) != len(lines):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
            else:
                path.unlink(missing_ok=True)


def give_to_owner_of(directory: Path, file: FileIO) -> None:
    """Give a file made by root to whom ``directory`` belongs: the server may be another user."""
    if os.geteuid() == 0:
        found = directory.stat()
        os.fchown(file.fileno(), found.st_uid, found.st_gid)


def _open_to_append(path: Path) -> FileIO:
    """Open a file that is there; the mode "a" would make it."""
    return FileIO(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), "wb")


def _digest(line: bytes) -> Digest | None:
    try:
        return Digest.parse(line.decode("ascii"))
    except (UnicodeDecodeError, InvalidReferenceError):
        return None
