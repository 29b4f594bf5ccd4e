"""Marks beside the database that say: a link may have been written without its row.

A database that cannot be written cannot say so itself, hence files. Each process has its own,
and holds a lock on it while it owes the database something; a mark that nobody has locked was
left by a process that died owing.
"""

import fcntl
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from threading import Lock
from uuid import uuid4


class Marks:
    """The marks in ``directory``; safe from all threads. Every method raises OSError."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own: tuple[Path, FileIO] | None = None
        self._lock = Lock()

    def leave(self) -> None:
        """Leave this process's mark, durably, before the link is written."""
        with self._lock:
            if self._own is not None:
                return
            self._directory.mkdir(parents=True, exist_ok=True)
            path = self._directory / str(uuid4())
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_EX)
            for directory in (self._directory, self._directory.parent):
                _sync(directory)
            self._own = (path, file)

    def withdraw(self) -> None:
        """Take this process's mark away: it owes nothing any more."""
        with self._lock:
            taken, self._own = self._own, None
        if taken is not None:
            clear([taken])

    def close(self) -> None:
        """Leave this process's mark, if there is one, as that of a process that ended owing."""
        with self._lock:
            taken, self._own = self._own, None
        if taken is not None:
            let_go([taken])

    def present(self) -> bool:
        """Say whether there is a mark of anybody."""
        return bool(self._paths())

    def take(self) -> "list[tuple[Path, FileIO]]":
        """Take over this process's mark and those of dead ones, for a rebuild to ``clear``.

        What goes wrong from now on leaves a new mark. Marks of other running processes are
        theirs.
        """
        with self._lock:
            taken = [] if self._own is None else [self._own]
            self._own = None
        owned = {path for path, _ in taken}
        for path in self._paths():
            if path not in owned:
                with suppress(FileNotFoundError):
                    file = path.open("rb", buffering=0)
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        file.close()
                    else:
                        taken.append((path, file))
        return taken

    def _paths(self) -> list[Path]:
        try:
            return [Path(entry.path) for entry in os.scandir(self._directory)]
        except FileNotFoundError:
            return []


def clear(taken: "list[tuple[Path, FileIO]]") -> None:
    """Remove marks whose debts are paid."""
    for path, file in taken:
        with file:
            path.unlink(missing_ok=True)


def let_go(taken: "list[tuple[Path, FileIO]]") -> None:
    """Leave marks for the next rebuild, as those of a dead process."""
    for _, file in taken:
        file.close()


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A file system that cannot sync directories offers nothing better.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
