"""One call to an upstream, tried at one member after the other until one answers.

What leads on: an endpoint that cannot be reached, is silent, in trouble (5xx) or sends nonsense,
and one that says 404, since a regional mirror need not have everything, to the next endpoint;
a refusal (401, 403, 429) to the endpoint's next account. Where nobody answers, the word of the
last endpoint, the origin, is the answer: what the others say is hearsay. A fault is never taken
for absence.
"""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from types import TracebackType

from roadstead.errors import (
    ContentError,
    RoadsteadError,
    UnknownContentError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamUnauthorizedError,
    UpstreamUnavailableError,
)
from roadstead.telemetry.events import CallKind, UpstreamAsked
from roadstead.upstream.breaker import Permit
from roadstead.upstream.budget import Cost
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.endpoints import Account, Endpoint

_REFUSALS = (UpstreamUnauthorizedError, UpstreamDeniedError, UpstreamRateLimitedError)


class Attempt:
    """A try at one member; as a context manager it takes in every failure that leads on."""

    def __init__(self, account: Account, permit: Permit, cost: Cost, kind: CallKind) -> None:
        self.permit = permit
        self.failure: RoadsteadError | None = None
        self._account = account
        self._cost = cost
        self._kind = kind
        self._began_at = 0.0

    @property
    def leads_to_next_account(self) -> bool:
        """Whether another account at the same endpoint may fare better."""
        return isinstance(self.failure, _REFUSALS)

    def __enter__(self) -> RegistryUpstream:
        self._began_at = self._account.around.clock()
        return self._account.member.upstream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._settle(error)
        self._tell(error)
        if not isinstance(error, UnknownContentError | ContentError | UpstreamError):
            return False
        self.failure = error
        return True

    def _tell(self, error: BaseException | None) -> None:
        """Tell how long it took, and what it led to."""
        around = self._account.around
        cause = None
        if error is not None:
            cause = type(error).__name__ if isinstance(error, RoadsteadError) else "cancelled"
        elapsed = around.clock() - self._began_at
        around.observe(UpstreamAsked(around.name, self._kind, elapsed, cause))

    def _settle(self, error: BaseException | None) -> None:
        """Tell breaker and quota. A refusal, too, is an answer of an endpoint that is well."""
        if isinstance(error, UpstreamError):
            self._account.note(error)
            if isinstance(error, UpstreamRateLimitedError):
                self._account.tracker.refuse(error, self._cost)
            if error.retryable:
                self.permit.failed()
                return
        answered = error is None or isinstance(error, UnknownContentError)
        if answered or (isinstance(error, UpstreamError) and error.status is not None):
            self.permit.succeeded()
        else:
            self.permit.released()


class Round:
    """All attempts at one call."""

    def __init__(
        self, endpoints: Sequence[Endpoint], kind: CallKind, cost: Cost = Cost.FREE
    ) -> None:
        """Try ``endpoints`` in this order; the last one is the origin."""
        self._endpoints = endpoints
        self._kind = kind
        self._cost = cost
        self._origin_failures: list[RoadsteadError] = []

    def attempts(self) -> Iterator[Attempt]:
        """Give the attempts to make, one by one; each must be entered and left.

        Endpoints that failed lately come after those that are well; those that are left alone
        do not come at all.
        """
        waiting = list(self._endpoints)
        for last_resort in (False, True):
            for endpoint in tuple(waiting):
                accounts = endpoint.willing(self._cost)
                permit = endpoint.breaker.admit(last_resort=last_resort) if accounts else None
                if permit is None:
                    continue
                waiting.remove(endpoint)
                for account in accounts:
                    attempt = Attempt(account, permit, self._cost, self._kind)
                    yield attempt
                    if endpoint is self._endpoints[-1] and attempt.failure is not None:
                        self._origin_failures.append(attempt.failure)
                    if not attempt.leads_to_next_account:
                        break

    def answer(self) -> RoadsteadError:
        """Return what to raise when all attempts have failed."""
        origin = self._endpoints[-1]
        if not self._origin_failures:
            return self._not_asked(origin)
        last = self._origin_failures[-1]
        if not isinstance(last, _REFUSALS):
            return last
        # A quota comes back by itself, so a 429 is better news than another account's 401.
        limited = [one for one in self._origin_failures if _is_rate_limit(one)]
        if limited:
            return min(limited, key=_wish)
        return self._resting(origin) if origin.is_resting(self._cost) else last

    def _not_asked(self, origin: Endpoint) -> UpstreamError:
        if not origin.willing(self._cost):
            return self._resting(origin)
        seconds = min(endpoint.breaker.next_probe_seconds for endpoint in self._endpoints)
        message = f"failed several times in a row; it is asked again in {seconds:.1f} s"
        return UpstreamUnavailableError(
            message, upstream=origin.authority, retry_after_seconds=seconds
        )

    def _resting(self, origin: Endpoint) -> UpstreamRateLimitedError:
        return UpstreamRateLimitedError(
            "answered 429 lately, and wants to be left alone for a while",
            upstream=origin.authority,
            status=HTTPStatus.TOO_MANY_REQUESTS,
            retry_after_seconds=origin.retry_after_seconds(self._cost),
        )


def _is_rate_limit(error: RoadsteadError) -> bool:
    return isinstance(error, UpstreamRateLimitedError)


def _wish(error: RoadsteadError) -> float:
    """Return how long a 429 asks to wait, in seconds; the longest where it does not say."""
    asked = error.retry_after_seconds if isinstance(error, UpstreamRateLimitedError) else None
    return float("inf") if asked is None else asked
