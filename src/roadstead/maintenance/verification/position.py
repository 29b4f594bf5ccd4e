"""How far a verification is, on disk: it takes days, and goes on after a restart."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.storage.boundary import storage_errors
from roadstead.storage.durability import write_atomically
from roadstead.storage.reading import read_regular


@dataclass(frozen=True, slots=True)
class Position:
    """Where the running verification is, and what the last complete one found.

    ``after`` is the last digest that was looked at; None: none, or nothing is running.
    ``started_at`` is None if nothing is running. Times are seconds since the epoch.
    """

    after: str | None = None
    started_at: float | None = None
    blobs: int = 0
    size_bytes: int = 0
    damaged: int = 0
    completed_at: float | None = None
    completed_blobs: int = 0
    completed_bytes: int = 0
    completed_damaged: int = 0
    completed_broken_links: int = 0

    @property
    def after_digest(self) -> Digest | None:
        """Where to go on."""
        return None if self.after is None else Digest.parse(self.after)


def read_position(path: Path) -> Position:
    """Return what is on disk; a new position if that is nothing, or no position.

    Raises:
        StorageError: it cannot be read.
    """
    with storage_errors("reading the position of the verification"):
        content = read_regular(path)
    try:
        position = Position(**json.loads(content or b"{}"))
        _ = position.after_digest
    except (ValueError, TypeError, AttributeError, InvalidReferenceError):
        return Position()
    return position


def write_position(path: Path, position: Position) -> None:
    """Keep a position.

    Raises:
        StorageError: it cannot be written.
    """
    with storage_errors("keeping the position of the verification"):
        write_atomically(path, json.dumps(asdict(position)).encode())
