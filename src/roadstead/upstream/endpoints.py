"""The addresses of one upstream, each with its health and its accounts."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from roadstead.errors import UpstreamDeniedError, UpstreamError, UpstreamUnauthorizedError
from roadstead.telemetry import events
from roadstead.upstream.address import Origin
from roadstead.upstream.breaker import Breaker
from roadstead.upstream.budget import Budget, BudgetTracker, Cost
from roadstead.upstream.client import RegistryUpstream

# So long an account that was refused comes after the others: its password may be wrong, and
# asking with it first would cost every call a detour.
_REFUSED_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Member:
    """One way to ask an upstream: an endpoint's address, asked as one account.

    ``account`` names it in metrics and in ``status``: a user name or ``anonymous``.
    """

    endpoint: str
    account: str
    upstream: RegistryUpstream


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """How a member stands: its endpoint's health and what is known of its quota.

    ``next_probe_seconds`` is the time until an endpoint that is not healthy is tried again.
    """

    endpoint: str
    account: str
    healthy: bool
    next_probe_seconds: float
    budget: Budget | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the parts of one upstream share: its name, who is told, and where time comes from."""

    name: str
    observe: events.Observer
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    random: Callable[[], float]


class Account:
    """One account at one endpoint."""

    def __init__(self, member: Member, around: Surroundings) -> None:
        self.member = member
        self.tracker = BudgetTracker(wall_clock=around.wall_clock)
        self.around = around
        self._refused_until = 0.0
        member.upstream.watch_manifest_headers(self._see)

    def note(self, error: UpstreamError) -> None:
        """Remember that its credentials were refused, or may be."""
        if isinstance(error, UpstreamUnauthorizedError | UpstreamDeniedError):
            self._refused_until = self.around.clock() + _REFUSED_SECONDS

    def rank(self, cost: Cost) -> tuple[bool, bool, float]:
        """Order accounts: those that are refused lately last, then as BudgetTracker.rank."""
        return self.around.clock() < self._refused_until, *self.tracker.rank(cost)

    def adopt(self, budget: Budget) -> None:
        """Take what another process was told of this account's quota."""
        before = self.tracker.budget
        self.tracker.adopt(budget)
        self._report(before)

    def _see(self, headers: Mapping[str, str]) -> None:
        before = self.tracker.budget
        self.tracker.see(headers)
        self._report(before)

    def _report(self, before: Budget | None) -> None:
        budget = self.tracker.budget
        if budget is not None and budget is not before:
            self.around.observe(
                events.BudgetSeen(
                    upstream=self.around.name,
                    account=self.member.account,
                    limit=budget.limit,
                    remaining=budget.remaining,
                    resets_at=budget.resets_at,
                )
            )


class Endpoint:
    """One address of an upstream."""

    def __init__(self, url: str, members: Iterable[Member], around: Surroundings) -> None:
        self.authority = Origin.parse(url).authority
        self.accounts = [Account(member, around) for member in members]
        self._around = around
        self.breaker = Breaker(on_change=self._mark, clock=around.clock, random=around.random)

    def announce(self) -> None:
        """Tell how it stands, so that its series exist before anything happens."""
        self._mark(self.breaker.is_healthy)

    def willing(self, cost: Cost) -> list[Account]:
        """Return the accounts that may be asked now, the one with the most quota first."""
        accounts = [one for one in self.accounts if one.tracker.wait_seconds(cost) == 0]
        return sorted(accounts, key=lambda account: account.rank(cost))

    def is_resting(self, cost: Cost) -> bool:
        """Whether one of its accounts is left alone because a 429 asked for it."""
        return any(account.tracker.wait_seconds(cost) > 0 for account in self.accounts)

    def retry_after_seconds(self, cost: Cost) -> float:
        """How long until the first of the accounts that met a 429 may be answered again."""
        waits = (account.tracker.retry_after_seconds(cost) for account in self.accounts)
        return min((seconds for seconds in waits if seconds > 0), default=0.0)

    def status(self) -> list[MemberStatus]:
        """Tell how each of its members stands."""
        return [
            MemberStatus(
                endpoint=self.authority,
                account=account.member.account,
                healthy=self.breaker.is_healthy,
                next_probe_seconds=self.breaker.next_probe_seconds,
                budget=account.tracker.budget,
            )
            for account in self.accounts
        ]

    def _mark(self, healthy: bool) -> None:  # noqa: FBT001 - the only argument of a callback
        self._around.observe(
            events.EndpointMarked(
                upstream=self._around.name, endpoint=self.authority, healthy=healthy
            )
        )
