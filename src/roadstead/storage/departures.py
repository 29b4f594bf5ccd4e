"""What a batch of removals is about to remove, noted on disk, step by step.

Whoever keeps rows hears of removals at the end of a batch. The process may be killed before, so
the next batch, of whatever process, reads here what the last one did not get to tell. One batch
runs at a time on a volume (see barrier), so one file is enough. It has its room from the
beginning, because on a full disk a removal must not need any.

Notes are not synced: they are for processes that are killed.
"""

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import parse_repository, parse_tag
from roadstead.storage.base import (
    Removed,
    RemovedData,
    RemovedLayerLink,
    RemovedManifest,
    RemovedTag,
)
from roadstead.storage.journal import give_to_owner_of
from roadstead.storage.layout import Layout
from roadstead.storage.reading import AbsenceIgnored, read_regular

_ROOM_BYTES: Final = 64 * 1024
_END: Final = b"\0"


class Departures:
    """The notes of one volume; only while the lock on links is held alone, but for ``any``.

    Every method raises OSError.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = layout.own / "departures"
        self._file: FileIO | None = None
        self._end = 0

    def any(self) -> bool:
        """Say whether a batch is running, or was cut short; quick."""
        return bool((read_regular(self._path, limit_bytes=1) or _END).strip(_END))

    def left(self) -> list[Removed]:
        """Return what a batch that was cut short has removed; what it has not is still there."""
        noted = (read_regular(self._path) or b"").partition(_END)[0]
        found = (_parse(line) for line in noted.splitlines())
        return [one for one in found if one is not None and self._is_gone(one)]

    def open(self) -> None:
        """Begin a batch, without any notes."""
        self._file = self._open()
        self.clear()

    def note(self, one: Removed) -> bool:
        """Note what is about to go; False, and nothing is noted, if there is no room."""
        line = f"{_words(one)}\n".encode("ascii") + _END
        if self._end + len(line) > _ROOM_BYTES:
            return False
        if self._file is not None:
            os.pwrite(self._file.fileno(), line, self._end)
            self._end += len(line) - len(_END)
        return True

    def clear(self) -> None:
        """Forget all notes: what they name has been told of."""
        self._end = 0
        if self._file is not None:
            os.pwrite(self._file.fileno(), _END, 0)

    def close(self) -> None:
        """End the batch; notes that were not cleared stay."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> FileIO | None:
        with suppress(FileNotFoundError):
            return FileIO(self._path, "r+")
        file = FileIO(self._path, "x+")
        give_to_owner_of(self._layout.own, file)
        with suppress(OSError):
            if file.write(bytes(_ROOM_BYTES)) == _ROOM_BYTES:
                return file
        # On a disk that is full already this batch goes without notes, and makes room.
        file.close()
        self._path.unlink()
        return None

    def _is_gone(self, one: Removed) -> bool:
        with AbsenceIgnored():
            self._place(one).lstat()
            return False
        return True

    def _place(self, one: Removed) -> Path:
        match one:
            case RemovedTag():
                return self._layout.tag_current_link(one.repository, one.tag)
            case RemovedManifest():
                return self._layout.revision_link(one.repository, one.digest)
            case RemovedLayerLink():
                return self._layout.layer_link(one.repository, one.digest)
            case RemovedData():
                return self._layout.blob(one.digest)


def _words(one: Removed) -> str:
    match one:
        case RemovedTag():
            return f"tag {one.repository} {one.tag}"
        case RemovedManifest():
            return f"manifest {one.repository} {one.digest}"
        case RemovedLayerLink():
            return f"layer {one.repository} {one.digest}"
        case RemovedData():
            return f"data {one.digest} {one.size_bytes}"


def _parse(line: bytes) -> Removed | None:
    """Return what a line means; None if it was spoiled, as by a power loss."""
    try:
        kind, first, second = line.decode("ascii").split(" ")
        match kind:
            case "tag":
                return RemovedTag(parse_repository(first), parse_tag(second))
            case "manifest":
                return RemovedManifest(parse_repository(first), Digest.parse(second))
            case "layer":
                return RemovedLayerLink(parse_repository(first), Digest.parse(second))
            case "data":
                return RemovedData(Digest.parse(first), int(second))
    except (ValueError, InvalidReferenceError):
        pass
    return None
