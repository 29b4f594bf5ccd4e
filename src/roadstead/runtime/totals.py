"""What each upstream's clients got per hour, counted from events."""

from collections.abc import Mapping
from typing import Protocol

from roadstead.telemetry import events
from roadstead.telemetry.events import Event, Outcome

_HITS = frozenset({Outcome.HIT, Outcome.REVALIDATED, Outcome.STALE})


class Add(Protocol):
    """Adds to an upstream's sums of this hour; see MetadataService.add."""

    def __call__(
        self,
        upstream: str,
        *,
        requests: int = 0,
        hits: int = 0,
        served_bytes: int = 0,
        fetched_bytes: int = 0,
    ) -> None:
        """Add."""


class HourlyTotals:
    """An observer that counts by upstream; what is fetched is told by the upstream's host."""

    def __init__(self) -> None:
        self._add: Add | None = None
        self._names: Mapping[str, str] = {}

    def feed(self, add: Add, names: Mapping[str, str]) -> None:
        """Begin to count; ``names`` are those of the upstreams, by host."""
        self._add = add
        self._names = names

    def __call__(self, event: Event) -> None:
        """Count ``event``, if it is one to count."""
        add = self._add
        if add is None:
            return
        # Most events are none of its business, and come with every request.
        match event:
            case events.Repeated():
                add(event.upstream, requests=1, hits=1, served_bytes=event.sent_bytes)
            case events.Served():
                hits = event.outcome in _HITS
                add(event.upstream, requests=1, hits=hits, served_bytes=event.sent_bytes)
            case events.Fetched():
                name = self._names.get(event.host, event.host)
                add(name, fetched_bytes=event.size_bytes)
            case _:
                pass
