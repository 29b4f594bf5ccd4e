"""What is promised to content that is arriving: sizes by digest and upstream; thread-safe."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from roadstead.oci.digest import Digest


@dataclass(slots=True, eq=False)
class Promise:
    """Room for one piece of content; ``size_bytes`` grows where upstream tells no size."""

    digest: Digest
    upstream: str
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The promises of one moment: digest, upstream and full size of each."""

    promises: tuple[tuple[Digest, str, int], ...]

    def promised_bytes(self, upstream: str | None = None) -> int:
        """Return the full size of all that arrives, for one upstream or for all."""
        return sum(size for _, of, size in self.promises if upstream in (None, of))

    def unwritten_bytes(self, partials: Mapping[Digest, int]) -> int:
        """Return how much of what is promised is not on disk yet."""
        return sum(max(0, size - partials.get(digest, 0)) for digest, _, size in self.promises)

    def idle_bytes(self, partials: Mapping[Digest, int]) -> int:
        """Return how much partial files take for which nothing is promised."""
        digests = {digest for digest, _, _ in self.promises}
        return sum(size for digest, size in partials.items() if digest not in digests)


class Promises:
    """All open promises, and what was promised and kept since upstreams were last summed up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, Promise] = {}
        self._closed_bytes: Counter[str] = Counter()

    def add(self, promise: Promise) -> None:
        """Count a promise from now on."""
        with self._lock:
            self._open[id(promise)] = promise

    def raise_to(self, promise: Promise, size_bytes: int) -> None:
        """Promise so much in all, unless it was closed meanwhile."""
        with self._lock:
            promise.size_bytes = size_bytes

    def close(self, promise: Promise) -> None:
        """Count it as arrived, once."""
        with self._lock:
            if self._open.pop(id(promise), None) is not None:
                self._closed_bytes[promise.upstream] += promise.size_bytes

    def snapshot(self) -> "Snapshot":
        """Return what is open now.

        To be taken before the store is measured: what arrives meanwhile is counted twice then,
        and not missed by both.
        """
        with self._lock:
            return Snapshot(
                tuple((one.digest, one.upstream, one.size_bytes) for one in self._open.values())
            )

    def closed_bytes(self, upstream: str) -> int:
        """Return the size of what has arrived for an upstream since ``forget_closed``."""
        with self._lock:
            return self._closed_bytes[upstream]

    def forget_closed(self, upstream: str) -> None:
        """Begin anew: what has arrived is about to be seen in the database."""
        with self._lock:
            del self._closed_bytes[upstream]
