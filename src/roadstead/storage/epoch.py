"""The removal epoch: how other processes notice that something was removed.

A file that holds another text after every batch of removals. Whoever keeps in memory what the
store holds reads it now and then, and forgets when it changed.
"""

from contextlib import suppress
from pathlib import Path
from threading import Lock
from uuid import UUID, uuid4

from roadstead.storage.journal import give_to_owner_of
from roadstead.storage.reading import read_regular

_TEXT_BYTES = 64
_BEGINNING = str(UUID(int=0)).encode("ascii")


class RemovalEpoch:
    """The epoch of the store whose own directory is ``directory``; for all threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "removals"
        self._lock = Lock()
        self._known: bytes | None = None
        self._others = False

    def prepare(self) -> None:
        """Make the file, if there is none; whoever reads it does not take that for a removal.

        Raises:
            OSError: it cannot be made.
        """
        with suppress(FileExistsError), self._path.open("xb", buffering=0) as file:
            file.write(_BEGINNING)
            give_to_owner_of(self._directory, file)

    def advance(self) -> None:
        """Begin a new epoch; only while the lock on links is held alone.

        Raises:
            OSError: it cannot be written.
        """
        text = str(uuid4()).encode("ascii")
        self.prepare()
        with self._lock:
            found = self._read()
            self._others = self._others or found != self._known
            # In place, which needs no room.
            with self._path.open("r+b", buffering=0) as file:
                file.write(text)
            self._known = text

    def has_passed(self) -> bool:
        """Say whether anybody else has removed something since the last call.

        What was removed through this object does not count; the first answer is always yes.

        Raises:
            OSError: it cannot be read.
        """
        with self._lock:
            found = self._read()
            passed = self._others or found != self._known
            self._known = found
            self._others = False
            return passed

    def _read(self) -> bytes:
        return read_regular(self._path, limit_bytes=_TEXT_BYTES) or _BEGINNING
