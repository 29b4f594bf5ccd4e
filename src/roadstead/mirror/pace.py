"""Whether one blob is worth several connections: from what they bring, as pure state."""

from dataclasses import dataclass

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceRules:
    """How one connection becomes several; sizes in bytes, times in seconds.

    ``connections`` is the most for one blob. What comes at ``fast_rate`` bytes per second, or
    would be over within ``soon_seconds``, stays as it is. Each judgement takes a window of
    ``window_seconds``.
    """

    connections: int = 4
    fast_rate: float = 100e6
    soon_seconds: float = 0.5
    window_seconds: float = 0.3
    least_segment: int = 4 * _MIB
    largest_segment: int = 16 * _MIB

    def segment_bytes(self, left: int) -> int:
        """Cut what is left into about two segments for each connection."""
        wanted = left // (2 * self.connections) // _MIB * _MIB
        return min(max(wanted, self.least_segment), self.largest_segment)


# A reader that spends less of its time waiting for the network is held up by something nearer.
_WAITING_SHARE = 0.5
# What several connections must bring, as a multiple of one, to be kept.
_GAIN = 1.3


class Pace:
    """Begins with one connection, tries all that are allowed, and goes back if that gains little.

    Asked again and again by the thread that reads; the first time when the first byte is here.
    """

    def __init__(self, rules: PaceRules, *, now: float, received: int, waited: float) -> None:
        """Begin at ``now``; see ``look`` for the others."""
        self._rules = rules
        self._settled = rules.connections <= 1
        self._single_rate = 0.0
        self._is_warm = False
        self._since = now
        self._received = received
        self._waited = waited
        self.wanted = 1

    def look(self, now: float, *, received: int, waited: float, left: int) -> int:
        """Return how many connections to use.

        ``received`` bytes have come in all, ``left`` are still to be asked for, and the reader
        has waited for the network for ``waited`` seconds.
        """
        span = now - self._since
        if self._settled or span < self._rules.window_seconds:
            return self.wanted
        rate = (received - self._received) / span
        share = (waited - self._waited) / span
        if self._is_warm:
            self._settled = True
            if rate < _GAIN * self._single_rate:
                self.wanted = 1
        elif self.wanted > 1:
            # The window in which connections are made says nothing of what they bring.
            self._is_warm = True
        elif self._is_worth_it(rate, share, left):
            self._single_rate = rate
            self.wanted = self._rules.connections
        self._since, self._received, self._waited = now, received, waited
        return self.wanted

    def give_up(self) -> None:
        """Use one connection from now on."""
        self._settled = True
        self.wanted = 1

    def _is_worth_it(self, rate: float, share: float, left: int) -> bool:
        return (
            share >= _WAITING_SHARE
            and rate < self._rules.fast_rate
            and left >= 2 * self._rules.least_segment
            and left > rate * self._rules.soon_seconds
        )
