"""Docker Hub's rate limit, read as a budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.errors import UpstreamRateLimitedError
from roadstead.upstream.budget import RETRY_SECONDS, Budget, BudgetTracker, Cost, parse_budget
from tests.support.clock import Clock

HUB = {
    "ratelimit-limit": "100;w=21600",
    "ratelimit-remaining": "20;w=21600",
    "docker-ratelimit-source": "192.0.2.7",
}


def too_many(retry_after: float | None) -> UpstreamRateLimitedError:
    """Make a 429."""
    return UpstreamRateLimitedError(
        "answered 429", upstream="registry.example", status=429, retry_after_seconds=retry_after
    )


def budgets() -> st.SearchStrategy[Budget]:
    """Make budgets of every size."""
    return st.integers(1, 10**9).flatmap(
        lambda limit: st.builds(
            Budget,
            limit=st.just(limit),
            remaining=st.integers(0, limit),
            window_seconds=st.integers(1, 10**9),
            seen_at=st.floats(0, 4e9),
        )
    )


def test_the_hubs_headers() -> None:
    """Limit, remaining pulls, window and source are read as the Hub writes them."""
    budget = parse_budget(HUB, now=1000.0)

    assert budget == Budget(
        limit=100, remaining=20, window_seconds=21600, seen_at=1000.0, source="192.0.2.7"
    )
    assert budget.fraction(1000.0) == 0.2
    assert budget.resets_at == 22600.0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ratelimit-limit": "100;w=21600"},
        {"ratelimit-remaining": "20;w=21600"},
        # GitLab: requests of any kind, no window.
        {"RateLimit-Limit": "2000", "RateLimit-Remaining": "1999", "RateLimit-Reset": "1700000000"},
        {"ratelimit-limit": "0;w=21600", "ratelimit-remaining": "0;w=21600"},
        {"ratelimit-limit": "100;w=0", "ratelimit-remaining": "20;w=0"},
        {"ratelimit-limit": "-1;w=21600", "ratelimit-remaining": "20;w=21600"},
        {"ratelimit-limit": "٣;w=21600", "ratelimit-remaining": "٣;w=21600"},
        {"ratelimit-limit": "9" * 5000 + ";w=1", "ratelimit-remaining": "1;w=1"},
    ],
)
def test_headers_that_tell_no_quota(headers: dict[str, str]) -> None:
    """What is missing, has no window or makes no sense is no budget."""
    assert parse_budget(headers, now=0.0) is None


def test_varieties_of_spelling() -> None:
    """Case, blanks, further policies and a remainder above the limit do no harm."""
    headers = {
        "RateLimit-Limit": " 100 ; w = 21600, 200;w=86400",
        "RATELIMIT-REMAINING": "500;w=21600;comment=x",
        "Docker-RateLimit-Source": "x" * 1000,
    }

    budget = parse_budget(headers, now=0.0)

    assert budget == Budget(limit=100, remaining=100, window_seconds=21600, seen_at=0.0)
    assert budget.resets_at == 0.0


@given(st.text(), st.text(), st.text())
def test_odd_headers_never_raise(limit: str, remaining: str, source: str) -> None:
    """Whatever upstream sends, parsing gives a usable budget or none."""
    headers = {
        "ratelimit-limit": limit,
        "ratelimit-remaining": remaining,
        "docker-ratelimit-source": source,
    }

    budget = parse_budget(headers, now=0.0)

    assert budget is None or 0 <= budget.fraction(1.0) <= 1


@given(budgets(), st.floats(-4e9, 8e9), st.floats(0, 1e9))
def test_the_estimate_only_grows(budget: Budget, now: float, later: float) -> None:
    """What is left is at least what was told, grows with time, and never exceeds the limit."""
    assert budget.remaining <= budget.left(now) <= budget.left(now + later) <= budget.limit
    assert budget.left(budget.seen_at) == budget.remaining
    assert budget.fraction(budget.seen_at + 2.0 * budget.window_seconds + 1) == 1


def test_absence_does_not_erase_what_was_told() -> None:
    """A sponsored repository, which nobody pays for, does not make the account unlimited."""
    tracker = BudgetTracker(wall_clock=Clock())
    tracker.see(HUB)

    tracker.see({})

    assert tracker.budget is not None
    assert tracker.budget.remaining == 20


def test_a_refusal_with_a_pause_is_kept() -> None:
    """Retry-After leaves the account alone, one minute at a time, and is told in full."""
    clock = Clock()
    tracker = BudgetTracker(wall_clock=clock)

    tracker.refuse(too_many(3600), Cost.COUNTED)

    assert tracker.wait_seconds(Cost.COUNTED) == RETRY_SECONDS
    assert tracker.retry_after_seconds(Cost.COUNTED) == 3600
    clock.advance(RETRY_SECONDS)
    assert tracker.wait_seconds(Cost.COUNTED) == 0
    assert tracker.retry_after_seconds(Cost.COUNTED) == 3540


def test_a_refused_get_does_not_stop_what_is_free() -> None:
    """A 429 to a GET of a manifest leaves HEAD, blobs and lists as they were."""
    tracker = BudgetTracker(wall_clock=Clock())

    tracker.refuse(too_many(3600), Cost.COUNTED)

    assert tracker.wait_seconds(Cost.FREE) == 0
    assert tracker.rank(Cost.FREE) < tracker.rank(Cost.COUNTED)


def test_a_refusal_without_a_pause_only_counts_against_the_account() -> None:
    """Without Retry-After the account comes last for a minute, but may be asked."""
    clock = Clock()
    tracker = BudgetTracker(wall_clock=clock)
    unknown = tracker.rank(Cost.COUNTED)

    tracker.refuse(too_many(None), Cost.COUNTED)

    assert tracker.wait_seconds(Cost.COUNTED) == 0
    assert tracker.rank(Cost.COUNTED) > unknown
    clock.advance(RETRY_SECONDS)
    assert tracker.rank(Cost.COUNTED) == unknown


def test_order_of_accounts() -> None:
    """No known limit comes first, then the most pulls left, then none left, then refused."""
    clock = Clock()

    def tracker(limit: int | None, remaining: int = 0) -> BudgetTracker:
        one = BudgetTracker(wall_clock=clock)
        if limit is not None:
            one.see(
                {
                    "ratelimit-limit": f"{limit};w=21600",
                    "ratelimit-remaining": f"{remaining};w=21600",
                }
            )
        return one

    unlimited, rich, poor, spent, refused = (
        tracker(None),
        tracker(200, 100),
        tracker(100, 90),
        tracker(100, 0),
        tracker(200, 150),
    )
    refused.refuse(too_many(10), Cost.COUNTED)

    ranks = [one.rank(Cost.COUNTED) for one in (unlimited, rich, poor, spent, refused)]
    assert ranks == sorted(ranks)
    assert spent.rank(Cost.COUNTED)[0]


def test_news_of_pulls_left_end_a_refusal() -> None:
    """A HEAD that tells of pulls left makes the account one to be used again."""
    tracker = BudgetTracker(wall_clock=Clock())
    tracker.refuse(too_many(None), Cost.COUNTED)

    tracker.see(HUB)

    assert tracker.retry_after_seconds(Cost.COUNTED) == 0
