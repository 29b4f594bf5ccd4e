"""Reads that take whatever a crash has left behind for absence.

A missing file, a directory or a pipe where a file should be, an empty file that should not be
empty: all of these mean "not held", and the next write puts things right. Any other OSError
goes through, for a fault must not be mistaken for absence.
"""

import errno
import os
import stat
from io import FileIO
from pathlib import Path
from types import TracebackType

from roadstead.oci.digest import Digest

_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})


class AbsenceIgnored:
    """Leaves its block quietly when what is looked for there does not exist."""

    def __enter__(self) -> None:
        """Enter the block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        """Swallow an OSError that means absence."""
        return isinstance(error, OSError) and error.errno in _ABSENT


def open_regular(path: Path | str) -> FileIO | None:
    """Open a regular file for reading, unbuffered; None if there is none."""
    with AbsenceIgnored():
        # Non-blocking has no effect on a regular file and keeps a stray pipe from holding us.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return FileIO(descriptor, "rb")
        os.close(descriptor)
    return None


def read_regular(path: Path, *, limit_bytes: int = -1) -> bytes | None:
    """Return a regular file's content, up to ``limit_bytes`` of it; None if there is none."""
    file = open_regular(path)
    if file is None:
        return None
    with file:
        return file.read(limit_bytes)


def data_size(path: Path, digest: Digest) -> int | None:
    """Return the size in bytes of the data of ``digest`` at ``path``; None if there is none."""
    with AbsenceIgnored():
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            return plausible_size(found.st_size, digest)
    return None


def plausible_size(size_bytes: int, digest: Digest) -> int | None:
    """Return ``size_bytes``, or None for the empty file that a crash left.

    distribution before 3.1 truncates in place, and a full disk ends a write early, so an
    empty file is a leftover unless the digest is that of nothing.
    """
    if size_bytes == 0 and digest.hasher().hexdigest() != digest.encoded:
        return None
    return size_bytes
