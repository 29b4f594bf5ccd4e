"""What is noted on the request path, kept in memory until the writer takes it.

A pull costs a look-up in a dictionary under a lock that is held for as long; the same image a
thousand times is one row.
"""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from roadstead.metadata.marks import Marks
from roadstead.metadata.records import Totals
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName

_HOUR_SECONDS = 3600
_MOST_IMAGES = 100_000
"""About 40 MB when full. What comes on top while the database is away is not noted."""
_MOST_TOTALS = 10_000

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


class TotalsBuffer:
    """Sums per hour and upstream since the last flush."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sums: dict[tuple[int, str], list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(
        self,
        upstream: str,
        at: float,
        *,
        requests: int = 0,
        hits: int = 0,
        served_bytes: int = 0,
        fetched_bytes: int = 0,
    ) -> None:
        """Add to the sums of the hour of ``at``."""
        key = (int(at) // _HOUR_SECONDS * _HOUR_SECONDS, upstream)
        with self._lock:
            sums = self._sums.get(key)
            if sums is None:
                if len(self._sums) >= _MOST_TOTALS:
                    return
                sums = self._sums[key] = [0, 0, 0, 0]
            sums[0] += requests
            sums[1] += hits
            sums[2] += served_bytes
            sums[3] += fetched_bytes

    def take(self) -> list[Totals]:
        """Return the sums and begin anew."""
        with self._lock:
            taken, self._sums = self._sums, {}
        return [Totals(hour, upstream, *sums) for (hour, upstream), sums in taken.items()]

    def put_back(self, taken: list[Totals]) -> None:
        """Add again what could not be written."""
        for one in taken:
            self.add(
                one.upstream,
                one.hour,
                requests=one.requests,
                hits=one.hits,
                served_bytes=one.served_bytes,
                fetched_bytes=one.fetched_bytes,
            )


class Notes:
    """What a process notes beside its database, and before that is open."""

    def __init__(self, path: Path) -> None:
        """``path`` is the database's file."""
        self.pulls = PullBuffer()
        self.totals = TotalsBuffer()
        self.marks = Marks(path.with_suffix(".behind"))
