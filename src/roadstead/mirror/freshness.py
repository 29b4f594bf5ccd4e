"""When a held tag may be served without asking upstream: pure rules over times.

Times are seconds since the epoch, because "confirmed at" outlives the process.
"""

from dataclasses import dataclass
from enum import Enum, auto

from roadstead.oci.digest import Digest


class Decision(Enum):
    """What to do with a held tag."""

    SERVE = auto()
    """It was confirmed within the freshness window."""
    SERVE_STALE = auto()
    """Upstream has just failed; do not make this client wait for it again."""
    REVALIDATE = auto()
    """Ask upstream."""


@dataclass(frozen=True, slots=True)
class FreshnessRules:
    """Settings of the freshness window, all in seconds.

    ``tag_ttl`` is how long an answer of upstream counts as current (0: never);
    ``retry_after_failure`` how long a failing upstream is left alone while there is something
    to serve; ``revalidation_limit`` how long a client waits for upstream while there is.
    """

    tag_ttl: float = 60.0
    retry_after_failure: float = 10.0
    revalidation_limit: float = 5.0


@dataclass(slots=True)
class TagState:
    """What is known about one held tag.

    ``confirmed_at`` is when upstream last said that the tag points at ``digest``;
    ``failure`` is why it could not say so at ``failed_at``.
    """

    digest: Digest
    confirmed_at: float
    failed_at: float | None = None
    failure: str = ""


def decide(state: TagState, now: float, rules: FreshnessRules) -> Decision:
    """Choose between serving, serving stale and asking upstream.

    A clock that was set back makes an entry old rather than fresh for ever.
    """
    if 0 <= now - state.confirmed_at < rules.tag_ttl:
        return Decision.SERVE
    if state.failed_at is not None and 0 <= now - state.failed_at < rules.retry_after_failure:
        return Decision.SERVE_STALE
    return Decision.REVALIDATE
