"""When to leave an endpoint alone, and when to try it again: a state machine with a clock.

An endpoint that fails is avoided for a while that grows with each failure; then one call may
find out whether it is well again. Only after several failures in a row is it not asked at all:
one bad answer must not take away an upstream that has no other endpoint.
"""

import random as random_module
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How an endpoint stands."""

    CLOSED = "closed"
    """It is well; everything goes through."""
    SHAKEN = "shaken"
    """It failed lately, and is asked only where no other can answer."""
    OPEN = "open"
    """It failed several times in a row, and is not asked."""
    PROBING = "probing"
    """One call is finding out whether it is well again; otherwise as before that call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How many failures in a row open the breaker, and the pauses in seconds after each.

    A pause is a random part, at least half, of ``first_seconds`` doubled with each failure, and
    at most ``longest_seconds``.
    """

    trips_after: int = 3
    first_seconds: float = 1.0
    longest_seconds: float = 60.0

    def pause(self, level: int, jitter: float) -> float:
        """Return the pause after the failure number ``level``; ``jitter`` is from 0 to 1."""
        # Beyond that power any first pause has reached any longest one.
        doubled = self.first_seconds * 2.0 ** min(level - 1, 30)
        return min(doubled, self.longest_seconds) * (0.5 + jitter / 2)


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to make one call; its holder says how the call ended, by one of the methods.

    A transfer that began well and broke later says both.
    """

    breaker: "Breaker"
    epoch: int
    is_probe: bool = False

    def succeeded(self) -> None:
        """Note that the endpoint answered."""
        self.breaker.note_success(self)

    def failed(self) -> None:
        """Note that the endpoint could not be reached, fell silent or was in trouble."""
        self.breaker.note_failure(self)

    def released(self) -> None:
        """Note that nothing was learnt: the call was cancelled, or never made."""
        self.breaker.note_nothing(self)


class Breaker:
    """The state of one endpoint; safe to use from any thread."""

    def __init__(
        self,
        *,
        backoff: Backoff | None = None,
        on_change: Callable[[bool], None] = lambda _healthy: None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        """``on_change`` hears, from any thread, when the endpoint becomes unwell and well again."""
        self._backoff = backoff or Backoff()
        self._on_change = on_change
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._failures = 0
        self._level = 0
        self._epoch = 0
        self._pause = 0.0
        self._paused_until = 0.0
        self._probing = False

    @property
    def state(self) -> State:
        """Where it stands now; a pause that is over shows only when a call is admitted."""
        with self._lock:
            if self._failures == 0:
                return State.CLOSED
            if self._probing:
                return State.PROBING
            return State.OPEN if self._is_open() else State.SHAKEN

    @property
    def is_healthy(self) -> bool:
        """Whether the last thing that was heard of the endpoint is good."""
        return self._failures == 0

    @property
    def next_probe_seconds(self) -> float:
        """Seconds until a call may find out whether it is well again; 0 if that is now."""
        with self._lock:
            if self._failures == 0:
                return 0.0
            return max(0.0, self._paused_until - self._clock())

    def admit(self, *, last_resort: bool = False) -> Permit | None:
        """Ask for leave to make a call; None is a no.

        ``last_resort`` says that no other endpoint can answer.
        """
        with self._lock:
            if self._failures == 0:
                return Permit(self, self._epoch)
            if not self._probing and self._clock() >= self._paused_until:
                self._probing = True
                return Permit(self, self._epoch, is_probe=True)
            if last_resort and not self._is_open():
                return Permit(self, self._epoch)
            return None

    def note_success(self, permit: Permit) -> None:
        """See Permit. While it is open, only a probe can say that the endpoint is well."""
        with self._lock:
            self._end_probe(permit)
            if self._failures == 0 or (self._is_open() and not self._is_current_probe(permit)):
                return
            self._failures = 0
        self._on_change(self.is_healthy)

    def note_failure(self, permit: Permit) -> None:
        """See Permit. Calls that were under way together fail once: only the first one counts."""
        with self._lock:
            self._end_probe(permit)
            if permit.epoch != self._epoch:
                return
            was_healthy = self._failures == 0
            now = self._clock()
            # An endpoint that relapses at once after each recovery is not trusted sooner.
            if was_healthy and now > self._paused_until + self._pause:
                self._level = 0
            self._epoch += 1
            self._failures += 1
            self._level += 1
            self._pause = self._backoff.pause(self._level, self._random())
            self._paused_until = now + self._pause
            # A probe that is under way has been overtaken by this news.
            self._probing = False
        if was_healthy:
            self._on_change(self.is_healthy)

    def note_nothing(self, permit: Permit) -> None:
        """See Permit."""
        with self._lock:
            self._end_probe(permit)

    def _is_open(self) -> bool:
        return self._failures >= self._backoff.trips_after

    def _is_current_probe(self, permit: Permit) -> bool:
        return permit.is_probe and permit.epoch == self._epoch

    def _end_probe(self, permit: Permit) -> None:
        if self._is_current_probe(permit):
            self._probing = False
