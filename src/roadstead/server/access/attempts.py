"""How many wrong credentials one client may try."""

import time
from collections.abc import Callable
from typing import Final

from cachetools import TTLCache

_SITES: Final = 20_000


class Attempts:
    """Counts failures by site (see ``networks.site_of``) over a sliding minute or so.

    Only attempts that have to be looked at are refused: who is known already stays welcome, so
    one broken machine behind a shared address does not lock out the others.
    """

    def __init__(
        self,
        *,
        most: int = 30,
        window_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow ``most`` failures within ``window_seconds`` of the first one."""
        self._most = most
        self._window_seconds = window_seconds
        self._failures: TTLCache[str, list[float]] = TTLCache(_SITES, window_seconds, timer=clock)
        self._clock = clock

    def wait_seconds(self, site: str) -> float:
        """Return how long this site must wait before its next attempt; 0.0 if it need not."""
        counted = self._failures.get(site)
        if counted is None or len(counted) < self._most:
            return 0.0
        return max(0.0, counted[0] + self._window_seconds - self._clock())

    def failed(self, site: str) -> None:
        """Count one failure."""
        counted = self._failures.get(site)
        if counted is None:
            self._failures[site] = [self._clock()]
        elif len(counted) < self._most:
            counted.append(self._clock())
