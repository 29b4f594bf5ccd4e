"""What is noted on the request path, kept in memory until the writer takes it.

A pull costs a look-up in a dictionary under a lock that is held for as long; the same image a
thousand times is one row.
"""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from roadstead.metadata.marks import Marks
from roadstead.metadata.totals import HourlyTotals
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName

_MOST_IMAGES = 100_000
"""About 40 MB when full. What comes on top while the database is away is not noted."""

Key = tuple[RepositoryName, Digest]


@dataclass(slots=True)
class NotedPulls:
    """When a manifest was last pulled, and how often since the last flush."""

    at: float
    hits: int


class PullBuffer:
    """Pulls since the last flush."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._noted: dict[Key, NotedPulls] = {}

    def __bool__(self) -> bool:
        return bool(self._noted)

    def note(self, repository: RepositoryName, digest: Digest, at: float, hits: int = 1) -> None:
        """Note pulls."""
        key = (repository, digest)
        with self._lock:
            noted = self._noted.get(key)
            if noted is not None:
                noted.hits += hits
                noted.at = max(noted.at, at)
            elif len(self._noted) < _MOST_IMAGES:
                self._noted[key] = NotedPulls(at, hits)

    def take(self) -> dict[Key, NotedPulls]:
        """Return what is noted and begin anew."""
        with self._lock:
            taken, self._noted = self._noted, {}
        return taken

    def put_back(self, taken: dict[Key, NotedPulls]) -> None:
        """Note again what could not be written."""
        for (repository, digest), noted in taken.items():
            self.note(repository, digest, noted.at, noted.hits)


class Notes:
    """What a process notes beside its database, and before that is open."""

    def __init__(self, path: Path, totals: HourlyTotals | None = None) -> None:
        """``path`` is the database's file; ``totals`` are counted by whoever gives them."""
        self.pulls = PullBuffer()
        # Not "or": one that has counted nothing is false.
        self.totals = HourlyTotals() if totals is None else totals
        self.marks = Marks(path.with_suffix(".behind"))
