"""Several accounts for one endpoint: the one with the most quota left is used."""

import pytest

from roadstead.errors import UpstreamRateLimitedError, UpstreamUnauthorizedError
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.telemetry import events
from tests.upstream.pools import Pool, Quotas, make_pool, require_accounts

APP = RepositoryName("library/app")
LATEST = Tag("latest")


def stock(registry: ScriptedRegistry, quotas: Quotas) -> None:
    """Put an image in, and let the users of ``quotas`` pull it."""
    registry.add_image(APP, tag="latest")
    require_accounts(registry, quotas)


async def pull(pool: Pool, times: int = 1) -> None:
    """Fetch the manifest."""
    for _ in range(times):
        await pool.upstream.get_manifest(APP, LATEST)


async def test_the_account_with_the_most_quota_is_used(registry: ScriptedRegistry) -> None:
    """Once both are known, pulls go to the fuller account until they are level."""
    quotas = Quotas({"poor": 10, "rich": 15})
    stock(registry, quotas)

    async with make_pool(registry.url, accounts=["poor", "rich"]) as pool:
        await pull(pool, 2)
        assert quotas.asked == ["poor", "rich"]
        await pull(pool, 5)

    assert quotas.asked[2:] == ["rich"] * 5
    assert quotas.remaining == {"poor": 9, "rich": 9}


async def test_a_spent_account_comes_last(registry: ScriptedRegistry) -> None:
    """No pull is refused while another account has some left."""
    quotas = Quotas({"spent": 1, "fresh": 5})
    stock(registry, quotas)

    async with make_pool(registry.url, accounts=["spent", "fresh"]) as pool:
        await pull(pool, 6)

    assert quotas.remaining == {"spent": 0, "fresh": 0}
    assert {record.status for record in registry.requests} <= {200, 401}


async def test_a_429_leads_to_the_next_account(registry: ScriptedRegistry) -> None:
    """A refused account is passed over, and not asked again before the others."""
    quotas = Quotas({"spent": 0, "fresh": 5})
    stock(registry, quotas)

    async with make_pool(registry.url, accounts=["spent", "fresh"]) as pool:
        await pull(pool, 3)

    assert quotas.asked == ["spent", "fresh", "fresh", "fresh"]


async def test_a_429_is_passed_on_when_nobody_has_quota(registry: ScriptedRegistry) -> None:
    """With all accounts refused the answer is the 429, with Retry-After as upstream said it."""
    quotas = Quotas({"one": 0, "two": 0}, retry_after="120")
    stock(registry, quotas)

    async with make_pool(registry.url, accounts=["one", "two"]) as pool:
        with pytest.raises(UpstreamRateLimitedError) as caught:
            await pull(pool)
        assert caught.value.retry_after_seconds == 120
        assert all(status.healthy for status in pool.upstream.status())


async def test_retry_after_is_respected_for_a_minute_at_a_time(
    registry: ScriptedRegistry,
) -> None:
    """Upstream is left alone as it asked, and what it said is still told; HEAD goes on."""
    quotas = Quotas({"one": 0}, retry_after="120")
    stock(registry, quotas)

    async with make_pool(registry.url, accounts=["one"]) as pool:
        with pytest.raises(UpstreamRateLimitedError):
            await pull(pool)
        pool.clock.advance(50)
        with pytest.raises(UpstreamRateLimitedError) as caught:
            await pull(pool)
        assert caught.value.retry_after_seconds == 70
        assert quotas.asked == ["one"]

        assert await pool.upstream.head_manifest(APP, LATEST) is not None
        quotas.remaining["one"] = 1
        pool.clock.advance(10)
        await pull(pool)

    assert quotas.asked == ["one", "one", "one"]


async def test_a_429_of_a_mirror_leads_to_the_origin(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """Another endpoint may answer although all accounts of the first are spent."""
    quotas = Quotas({"one": 0}, retry_after="120")
    stock(registry, quotas)
    stock(elsewhere, Quotas({"one": 5}))

    async with make_pool(registry.url, elsewhere.url, accounts=["one"]) as pool:
        await pull(pool, 3)

    assert quotas.asked == ["one"]


async def test_a_refused_password_leads_to_the_next_account(registry: ScriptedRegistry) -> None:
    """An account whose password is wrong costs one detour a minute, not one per call."""
    quotas = Quotas({"good": 50})
    stock(registry, quotas)

    async with make_pool(registry.url, accounts=["expired", "good"]) as pool:
        await pull(pool, 5)
        refused = [record for record in registry.requests if record.status == 401]
        # Without and with credentials, and those of the second account unasked.
        assert len(refused) <= 4
        before = len(registry.requests)
        await pull(pool)
        assert len(registry.requests) == before + 1
        pool.clock.advance(60)
        await pull(pool)
        assert len(registry.requests) > before + 2


async def test_all_refused_is_the_answer(registry: ScriptedRegistry) -> None:
    """If no account is admitted, the answer is upstream's refusal."""
    stock(registry, Quotas({"somebody-else": 5}))

    async with make_pool(registry.url, accounts=["one", "two"]) as pool:
        with pytest.raises(UpstreamUnauthorizedError):
            await pull(pool)


async def test_a_429_outweighs_another_accounts_refusal(registry: ScriptedRegistry) -> None:
    """One account spent, the other refused: waiting helps, so the 429 is the answer."""
    stock(registry, Quotas({"spent": 0}, retry_after="30"))

    async with make_pool(registry.url, accounts=["spent", "refused"]) as pool:
        for seconds in (30, 20):
            with pytest.raises(UpstreamRateLimitedError) as caught:
                await pull(pool)
            assert caught.value.retry_after_seconds == seconds
            pool.clock.advance(10)


async def test_budgets_are_told(registry: ScriptedRegistry) -> None:
    """Each answer about a manifest tells what is left, as an event and in the status."""
    stock(registry, Quotas({"alice": 20}))

    async with make_pool(registry.url, accounts=["alice"]) as pool:
        now = pool.clock()
        await pool.upstream.head_manifest(APP, LATEST)
        await pull(pool)
        (status,) = pool.upstream.status()

    told = [event for event in pool.events if isinstance(event, events.BudgetSeen)]
    assert told == [
        events.BudgetSeen("docker.io", "alice", 100, 20, now + 21600),
        events.BudgetSeen("docker.io", "alice", 100, 19, now + 21600),
    ]
    assert status.account == "alice"
    assert status.budget is not None
    assert status.budget.remaining == 19


async def test_no_limit_is_no_event(registry: ScriptedRegistry) -> None:
    """An upstream that tells no quota has none in metrics and status."""
    registry.add_image(APP, tag="latest")

    async with make_pool(registry.url) as pool:
        await pull(pool)
        (status,) = pool.upstream.status()

    assert (status.account, status.budget) == ("anonymous", None)
    assert not any(isinstance(event, events.BudgetSeen) for event in pool.events)


async def test_a_429_to_a_blob_leaves_manifests_alone(registry: ScriptedRegistry) -> None:
    """What is refused for blobs is no word about the quota of manifests."""
    registry.add_image(APP, tag="latest")
    blob = registry.add_blob(APP, b"content")
    registry.inject(faults.Status(429, headers={"Retry-After": "600"}), kind=RequestKind.BLOB)

    async with make_pool(registry.url) as pool:
        with pytest.raises(UpstreamRateLimitedError):
            await pool.upstream.stat_blob(APP, blob.digest)
        await pull(pool)
