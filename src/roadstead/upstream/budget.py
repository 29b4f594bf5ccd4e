"""Docker Hub's rate limit, read as a budget of manifest GETs (facts/protocol.md, section 3.1).

The headers come on GET and HEAD of manifests; only GETs of manifests count. Their absence says
nothing of the account, since sponsored repositories are not limited for anybody.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from roadstead.errors import UpstreamRateLimitedError

# Where a 429 does not say when to come back; also the longest time that one is believed, since
# in a rolling window pulls come back one by one.
RETRY_SECONDS = 60.0

# Of "100;w=21600" and of its like with several policies, the first with a window.
_POLICY = re.compile(r"\s*(\d{1,9})\s*;\s*w\s*=\s*(\d{1,9})\s*(?:[;,].*)?", re.ASCII)
_MAX_SOURCE_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Budget:
    """What an upstream last said of an account's quota; limit and window are positive.

    ``remaining`` of ``limit`` pulls in a rolling window of ``window_seconds``, as of ``seen_at``
    in seconds since the epoch. ``source`` is the address or user that upstream counts for.
    """

    limit: int
    remaining: int
    window_seconds: int
    seen_at: float
    source: str = ""

    def left(self, now: float) -> float:
        """Estimate the pulls that are left at ``now``, as if the spent ones were spread evenly."""
        elapsed = min(max((now - self.seen_at) / self.window_seconds, 0.0), 1.0)
        return self.remaining + (self.limit - self.remaining) * elapsed

    def fraction(self, now: float) -> float:
        """Estimate the part of the quota that is left at ``now``, from 0 to 1."""
        return self.left(now) / self.limit

    @property
    def resets_at(self) -> float:
        """When all pulls are back if none is spent until then, in seconds since the epoch."""
        return self.seen_at if self.remaining == self.limit else self.seen_at + self.window_seconds


def parse_budget(headers: Mapping[str, str], *, now: float) -> Budget | None:
    """Read the headers of a manifest answer, names in any case; None if they tell no quota.

    GitLab's headers of the same names have no window, and mean requests of any kind.
    """
    given = {name.lower(): value for name, value in headers.items()}
    limit = _POLICY.fullmatch(given.get("ratelimit-limit", ""))
    remaining = _POLICY.fullmatch(given.get("ratelimit-remaining", ""))
    if limit is None or remaining is None:
        return None
    pulls, window = int(limit[1]), int(limit[2])
    if pulls == 0 or window == 0:
        return None
    source = given.get("docker-ratelimit-source", "")
    return Budget(
        limit=pulls,
        remaining=min(int(remaining[1]), pulls),
        window_seconds=window,
        seen_at=now,
        source=source if source.isprintable() and len(source) <= _MAX_SOURCE_LENGTH else "",
    )


class Cost(Enum):
    """Whether a call is counted against the quota."""

    COUNTED = auto()
    """A GET of a manifest."""
    FREE = auto()
    """Everything else."""


class BudgetTracker:
    """The quota of one account at one endpoint: what was told, and what was refused.

    Told on the event loop; refusals also from transfer threads, one plain assignment each.
    """

    def __init__(self, *, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._budget: Budget | None = None
        self._refused_until: dict[Cost, float] = {}
        self._asked_not_before: dict[Cost, float] = {}

    @property
    def budget(self) -> Budget | None:
        """What was last told; None as long as nothing was, which is as good as no limit."""
        return self._budget

    def see(self, headers: Mapping[str, str]) -> None:
        """Take the headers of a manifest answer."""
        budget = parse_budget(headers, now=self._wall_clock())
        if budget is not None:
            self.adopt(budget)

    def adopt(self, budget: Budget) -> None:
        """Take what was told, here or to another process that asks as the same account."""
        if self._budget is None or budget.seen_at >= self._budget.seen_at:
            self._budget = budget
            if budget.remaining > 0:
                self._refused_until.pop(Cost.COUNTED, None)

    def refuse(self, error: UpstreamRateLimitedError, cost: Cost) -> None:
        """Take a 429: nothing is left for calls of this cost until it says so.

        Where it asks for a pause, that is kept (RFC 9110, section 10.2.3), for one minute at
        a time.
        """
        now = self._wall_clock()
        asked = error.retry_after_seconds
        self._refused_until[cost] = now + (RETRY_SECONDS if asked is None else asked)
        if asked is not None:
            self._asked_not_before[cost] = now + min(asked, RETRY_SECONDS)

    def wait_seconds(self, cost: Cost) -> float:
        """How long upstream wants to be left alone with calls of this cost; 0 if it does not."""
        return max(0.0, self._asked_not_before.get(cost, 0.0) - self._wall_clock())

    def retry_after_seconds(self, cost: Cost) -> float:
        """How long until a call of this cost may be answered again, as far as it was told."""
        return max(0.0, self._refused_until.get(cost, 0.0) - self._wall_clock())

    def rank(self, cost: Cost) -> tuple[bool, float]:
        """Order accounts: no known limit first, then by what is left, refused ones last."""
        if self.retry_after_seconds(cost) > 0:
            return True, 0.0
        if self._budget is None:
            return False, float("-inf")
        left = self._budget.left(self._wall_clock())
        return left < 1, -left
