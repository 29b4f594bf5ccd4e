"""A list of platforms beside the store: which ones clients have asked for."""

import logging
from pathlib import Path
from typing import Final

from roadstead.storage.journal import give_to_owner_of
from roadstead.storage.reading import read_regular

_log = logging.getLogger("roadstead.storage")

_MOST_BYTES: Final = 4096


class PlatformList:
    """One text in each line; what cannot be read or written is not known, and no error."""

    def __init__(self, path: Path) -> None:
        """Keep it in the file at ``path``."""
        self._path = path

    def read(self) -> list[str]:
        """Return the texts."""
        try:
            content = read_regular(self._path, limit_bytes=_MOST_BYTES)
        except OSError:
            return []
        return [] if content is None else content.decode("ascii", "replace").split()

    def add(self, text: str) -> None:
        """Add a text; other processes may do the same at the same time."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                file.write(f"{text}\n".encode("ascii", "replace"))
                give_to_owner_of(self._path.parent, file)
        except OSError as error:
            fields = {"path": str(self._path), "error": str(error)}
            _log.debug("a platform is not remembered", extra={"fields": fields})
