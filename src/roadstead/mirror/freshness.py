"""When a held tag may be served without asking upstream: pure rules over times.

Times are seconds since the epoch, because "confirmed at" outlives the process.
"""

import re
from dataclasses import dataclass
from enum import Enum, auto

from roadstead.errors import UpstreamRateLimitedError
from roadstead.oci.digest import Digest

# How many times longer tags stay fresh as the pulls that are left dwindle: (fraction, factor).
_STRETCHES = ((0.1, 10.0), (0.25, 5.0), (0.5, 2.0))


class Decision(Enum):
    """What to do with a held tag."""

    SERVE = auto()
    """It was confirmed within the freshness window, or never moves."""
    SERVE_STALE = auto()
    """Upstream has just failed; do not make this client wait for it again."""
    REVALIDATE = auto()
    """Ask upstream."""


@dataclass(frozen=True, slots=True)
class FreshnessRules:
    """Settings of one upstream's freshness, times in seconds.

    ``tag_ttl`` is how long an answer of upstream counts as current (0: never); ``immutable``
    matches tags that never move; ``stale_limit`` is how long after its confirmation a tag may be
    served when upstream cannot confirm it (None: for ever); ``retry_after_failure`` is how long
    a failing upstream is left alone while there is something to serve; ``revalidation_limit``
    how long a client waits for upstream while there is; ``negative_ttl`` how long a refusal is
    remembered.
    """

    tag_ttl: float = 60.0
    immutable: re.Pattern[str] | None = None
    stale_limit: float | None = None
    retry_after_failure: float = 10.0
    revalidation_limit: float = 5.0
    negative_ttl: float = 5.0

    def is_immutable(self, tag: str) -> bool:
        """Say whether this tag never moves."""
        return self.immutable is not None and self.immutable.fullmatch(tag) is not None

    def remember_refusal_for(self, error: Exception) -> float:
        """Return for how long, in seconds, the same question gets the same refusal.

        A 429 passes sooner than others: after the pause that it asks for, or a second.
        containerd repeats it five times at once (facts/protocol.md, 2.2).
        """
        if isinstance(error, UpstreamRateLimitedError):
            return min(error.retry_after_seconds or 1.0, self.negative_ttl)
        return self.negative_ttl


@dataclass(slots=True)
class TagState:
    """What is known about one held tag.

    ``confirmed_at`` is when upstream last said that the tag points at ``digest``; ``failure`` is
    why it could not say so at ``failed_at``.
    """

    digest: Digest
    confirmed_at: float
    is_immutable: bool = False
    failed_at: float | None = None
    failure: Exception | None = None

    def age(self, now: float) -> float:
        """Return the seconds since upstream last confirmed the tag."""
        return max(0.0, now - self.confirmed_at)


def decide(state: TagState, now: float, rules: FreshnessRules, *, budget: float = 1.0) -> Decision:
    """Choose between serving, serving stale and asking upstream.

    ``budget`` is the fraction of the pulls upstream allows that is left. A clock that was set
    back makes an entry old rather than fresh for ever.
    """
    if state.is_immutable or fresh_for(state, now, rules, budget=budget) > 0:
        return Decision.SERVE
    if state.failed_at is not None and 0 <= now - state.failed_at < rules.retry_after_failure:
        return Decision.SERVE_STALE
    return Decision.REVALIDATE


def fresh_for(state: TagState, now: float, rules: FreshnessRules, *, budget: float = 1.0) -> float:
    """Return for how many seconds more the tag is served without asking upstream."""
    if now < state.confirmed_at:
        return 0.0
    return max(0.0, state.confirmed_at + rules.tag_ttl * stretch(budget) - now)


def asked_again_in(
    state: TagState, now: float, rules: FreshnessRules, *, budget: float = 1.0
) -> float | None:
    """Return in how many seconds a request leads to a question upstream; None is never."""
    if state.is_immutable:
        return None
    fresh = fresh_for(state, now, rules, budget=budget)
    if fresh > 0 or state.failed_at is None or now < state.failed_at:
        return fresh
    return max(0.0, state.failed_at + rules.retry_after_failure - now)


def may_be_stale(state: TagState, now: float, rules: FreshnessRules) -> bool:
    """Say whether the tag may still be served although upstream cannot confirm it."""
    return rules.stale_limit is None or state.age(now) <= rules.stale_limit


def stretch(budget: float) -> float:
    """Return how many times longer than usual tags stay fresh with this much budget left."""
    return next((factor for limit, factor in _STRETCHES if budget < limit), 1.0)
