"""Writes that are whole or not there, and still there after the power was lost.

A name is durable when the directory that holds it is synced, so every function here syncs
the directories that it changed. Files are made with mode 0666 and directories with 0777, less
the umask, as distribution does.
"""

import errno
import os
from pathlib import Path
from uuid import uuid4

# A file system that cannot sync a directory says so in one of these ways (CIFS, some FUSE);
# it then offers nothing better, and PostgreSQL goes on too.
_DIRECTORY_SYNC_UNSUPPORTED = frozenset({errno.EINVAL, errno.EBADF})


def sync_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable, where the file system can."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _DIRECTORY_SYNC_UNSUPPORTED:
            raise
    finally:
        os.close(descriptor)


def make_directories(directory: Path) -> None:
    """Make ``directory`` and its parents where they are missing, each of them durable."""
    if directory.is_dir():
        return
    make_directories(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def temporary_name(path: Path) -> Path:
    """Name a file beside ``path`` to be renamed to it.

    The pattern is that of distribution 3.1, whose readers skip such names.
    """
    return path.with_name(f"{path.name}.{uuid4()}.tmp")


def take_place(temporary: Path, path: Path) -> None:
    """Rename ``temporary`` to ``path``, also if a directory has got there by mistake.

    That goes aside, under a name that readers skip and a collection removes.
    """
    try:
        temporary.replace(path)
    except IsADirectoryError:
        path.rename(temporary_name(path))
        temporary.replace(path)


def write_atomically(path: Path, content: bytes) -> None:
    """Make ``path`` hold ``content``: after a crash it holds that or what it held before."""
    make_directories(path.parent)
    temporary = temporary_name(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        take_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def link_atomically(source: Path, path: Path) -> None:
    """Make ``path`` a second name of the file ``source``, in place of whatever was there."""
    make_directories(path.parent)
    temporary = temporary_name(path)
    try:
        temporary.hardlink_to(source)
        take_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
