"""The freshness window of held tags."""

from hypothesis import given
from hypothesis import strategies as st

from roadstead.mirror.freshness import Decision, FreshnessRules, TagState, decide, stretch
from roadstead.oci.digest import Digest

RULES = FreshnessRules(tag_ttl=60, retry_after_failure=10)
DIGEST = Digest.of(b"manifest")

times = st.floats(min_value=0, max_value=2e9, allow_nan=False)


def test_a_tag_confirmed_within_the_window_is_served() -> None:
    """Within tag_ttl nobody is asked."""
    assert decide(TagState(DIGEST, 1000), 1059.9, RULES) is Decision.SERVE


def test_a_tag_confirmed_before_the_window_is_revalidated() -> None:
    """At the end of tag_ttl upstream is asked."""
    assert decide(TagState(DIGEST, 1000), 1060, RULES) is Decision.REVALIDATE


def test_no_window_means_asking_every_time() -> None:
    """With tag_ttl 0 even a tag confirmed this instant is revalidated, as registry:2 does."""
    rules = FreshnessRules(tag_ttl=0)

    assert decide(TagState(DIGEST, 1000), 1000, rules) is Decision.REVALIDATE


def test_an_upstream_that_has_just_failed_is_left_alone() -> None:
    """For a moment after a failure clients do not wait for upstream again."""
    state = TagState(DIGEST, 1000, failed_at=2000)

    assert decide(state, 2009, RULES) is Decision.SERVE_STALE
    assert decide(state, 2010, RULES) is Decision.REVALIDATE


def test_a_clock_set_back_does_not_make_a_tag_fresh_for_ever() -> None:
    """A confirmation from the future counts for nothing."""
    assert decide(TagState(DIGEST, 5000), 1000, RULES) is Decision.REVALIDATE


@given(confirmed=times, failed=st.none() | times, now=times)
def test_only_a_recent_confirmation_is_served_as_current(
    confirmed: float, failed: float | None, now: float
) -> None:
    """SERVE means exactly: upstream has confirmed it within the last tag_ttl seconds."""
    decision = decide(TagState(DIGEST, confirmed, failed_at=failed), now, RULES)

    assert (decision is Decision.SERVE) == (0 <= now - confirmed < RULES.tag_ttl)


def test_a_dwindling_budget_stretches_freshness() -> None:
    """The fewer pulls are left, the less often upstream is asked."""
    state = TagState(DIGEST, 1000)

    assert decide(state, 1100, RULES, budget=1.0) is Decision.REVALIDATE
    assert decide(state, 1100, RULES, budget=0.4) is Decision.SERVE
    assert decide(state, 1299, RULES, budget=0.2) is Decision.SERVE
    assert decide(state, 1599, RULES, budget=0.05) is Decision.SERVE
    assert decide(state, 1600, RULES, budget=0.05) is Decision.REVALIDATE


@given(st.floats(0, 1), st.floats(0, 1))
def test_less_budget_never_means_more_questions(one: float, other: float) -> None:
    """The factor only grows as the budget falls."""
    low, high = sorted((one, other))

    assert stretch(low) >= stretch(high) >= 1


def test_an_immutable_tag_is_always_fresh() -> None:
    """It never moves, so its age says nothing."""
    assert decide(TagState(DIGEST, 0, is_immutable=True), 1e9, RULES) is Decision.SERVE
