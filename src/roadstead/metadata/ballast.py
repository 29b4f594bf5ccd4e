"""Room put by for the database: on a full disk nothing can be evicted without it.

A plan writes down pulls first, and removals are forgotten behind. So a file of some size lies
beside the database, and goes when a write finds no room.
"""

import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_log = logging.getLogger("roadstead.metadata")

BALLAST_BYTES: Final = 1024 * 1024
"""Some dozen transactions, or one opening and a few."""
_PLENTY: Final = 4


class Ballast:
    """The file; for one thread of each process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def lay(self) -> None:
        """Put the room by, if there is plenty and that is not done."""
        with suppress(OSError):
            if self._path.exists() or self._free_bytes() < _PLENTY * BALLAST_BYTES:
                return
            try:
                self._path.write_bytes(bytes(BALLAST_BYTES))
            except OSError:
                self._path.unlink(missing_ok=True)

    def throw(self) -> bool:
        """Make the room free if the disk is full; False if it is not, or there is none."""
        with suppress(OSError):
            if self._free_bytes() < BALLAST_BYTES // 2:
                self._path.unlink()
                _log.warning("the disk is full: the database takes the room put by for it")
                return True
        return False

    def _free_bytes(self) -> int:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize
