"""Small calls over several endpoints: who is asked, in which order, and what is the answer."""

import asyncio

import pytest

from roadstead.errors import (
    BlobUnknownError,
    DigestMismatchError,
    ManifestUnknownError,
    RepositoryUnknownError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.telemetry import events
from roadstead.upstream.failover import FailoverUpstream
from roadstead.upstream.limits import CallLimit
from tests.upstream.conftest import connect
from tests.upstream.pools import make_pool, patience_with

APP = RepositoryName("library/app")
LATEST = Tag("latest")
UNKNOWN = Digest.of(b"nobody has this")


def stock(*registries: ScriptedRegistry) -> Digest:
    """Put the same image into all registries."""
    images = [registry.add_image(APP, tag="latest") for registry in registries]
    return images[0].descriptor.digest


def asked(*registries: ScriptedRegistry) -> list[int]:
    """Count the requests that each got."""
    return [len(registry.requests) for registry in registries]


@pytest.mark.parametrize(
    "fault",
    [
        faults.Status(500),
        faults.Status(503),
        faults.Status(401),
        faults.Status(403),
        faults.Status(404),
        faults.Status(429),
        faults.Status(418),
        faults.Stall(),
        faults.Html(),
        faults.Cut(after=10),
        faults.WrongBytes(),
        faults.Redirect("/v2/"),
    ],
    ids=str,
)
async def test_the_next_endpoint_answers(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, fault: faults.Fault
) -> None:
    """Whatever is wrong with the first endpoint, the second one gives the manifest."""
    digest = stock(registry, elsewhere)
    registry.inject(fault)

    async with make_pool(registry.url, elsewhere.url, first=patience_with(fault)) as pool:
        fetched = await pool.upstream.get_manifest(APP, digest)

    assert fetched.descriptor.digest == digest


async def test_a_refused_connection_leads_on(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """An endpoint that nobody listens at costs nothing but the try."""
    digest = stock(elsewhere)
    await registry.stop()

    async with make_pool(registry.url, elsewhere.url) as pool:
        assert (await pool.upstream.get_manifest(APP, LATEST)).descriptor.digest == digest


async def test_every_small_call_fails_over(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """HEAD, sizes, ranges, tags and referrers come from the second endpoint, too."""
    digest = stock(elsewhere)
    blob = elsewhere.add_blob(APP, b"0123456789")
    await registry.stop()

    async with make_pool(registry.url, elsewhere.url) as pool:
        head = await pool.upstream.head_manifest(APP, LATEST)
        size = await pool.upstream.stat_blob(APP, blob.digest)
        tags = await pool.upstream.list_tags(APP, limit=None, after=None)
        referrers = await pool.upstream.list_referrers(APP, digest)
        async with pool.upstream.stream_range(APP, blob.digest, 2, 5) as stream:
            assert stream is not None
            part = b"".join([piece async for piece in stream])

    assert head is not None
    assert head.digest == digest
    assert (size, tags.tags, referrers, part) == (10, ["latest"], [], b"2345")


async def test_the_first_endpoint_is_asked_alone(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """While the regional mirror answers, the origin is left in peace."""
    stock(registry, elsewhere)

    async with make_pool(registry.url, elsewhere.url) as pool:
        for _ in range(3):
            await pool.upstream.head_manifest(APP, LATEST)

    assert asked(registry, elsewhere) == [3, 0]


async def test_a_failed_endpoint_is_avoided_until_its_pause_is_over(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """After a failure the first endpoint is not asked for a second, then it is used again."""
    stock(registry, elsewhere)
    registry.inject(faults.Status(503), times=1)

    async with make_pool(registry.url, elsewhere.url) as pool:
        for _ in range(3):
            await pool.upstream.head_manifest(APP, LATEST)
        assert asked(registry, elsewhere) == [1, 3]

        pool.clock.advance(1)
        for _ in range(3):
            await pool.upstream.head_manifest(APP, LATEST)
        assert asked(registry, elsewhere) == [4, 3]


async def test_one_probe_at_a_time(registry: ScriptedRegistry, elsewhere: ScriptedRegistry) -> None:
    """While one call finds out about a silent endpoint, no other one waits there."""
    stock(registry, elsewhere)
    registry.inject(faults.Status(503), times=1)
    release = asyncio.Event()

    async with make_pool(registry.url, elsewhere.url) as pool:
        await pool.upstream.head_manifest(APP, LATEST)
        pool.clock.advance(1)
        silence = registry.inject(faults.Stall(release=release))
        calls = [asyncio.create_task(pool.upstream.head_manifest(APP, LATEST)) for _ in range(20)]
        for number, call in enumerate(asyncio.as_completed(calls), start=1):
            await call
            if number == len(calls) - 1:
                release.set()

    assert silence.used == 1


async def test_health_is_told(registry: ScriptedRegistry, elsewhere: ScriptedRegistry) -> None:
    """Marks are events: all well at the start, then each change; status shows the same."""
    stock(registry, elsewhere)
    registry.inject(faults.Status(503), times=1)

    async with make_pool(registry.url, elsewhere.url) as pool:
        await pool.upstream.head_manifest(APP, LATEST)
        first, second = pool.upstream.status()
        pool.clock.advance(1)
        await pool.upstream.head_manifest(APP, LATEST)

    assert (first.endpoint, first.healthy, first.next_probe_seconds) == (registry.host, False, 1.0)
    assert (second.endpoint, second.healthy) == (elsewhere.host, True)
    marks = [event for event in pool.events if isinstance(event, events.EndpointMarked)]
    assert marks == [
        events.EndpointMarked("docker.io", registry.host, healthy=True),
        events.EndpointMarked("docker.io", elsewhere.host, healthy=True),
        events.EndpointMarked("docker.io", registry.host, healthy=False),
        events.EndpointMarked("docker.io", registry.host, healthy=True),
    ]
    asked = [event for event in pool.events if isinstance(event, events.UpstreamAsked)]
    assert {one.kind for one in asked} == {events.CallKind.MANIFEST_HEAD}
    assert [one.error for one in asked] == ["UpstreamUnavailableError", None, None]


async def test_absence_is_no_fault(registry: ScriptedRegistry, elsewhere: ScriptedRegistry) -> None:
    """An endpoint that lacks something stays the first to be asked for the next thing."""
    stock(elsewhere)

    async with make_pool(registry.url, elsewhere.url) as pool:
        await pool.upstream.get_manifest(APP, LATEST)
        await pool.upstream.get_manifest(APP, LATEST)

    assert asked(registry, elsewhere) == [2, 2]
    assert all(status.healthy for status in pool.upstream.status())


async def test_unknown_everywhere_is_unknown(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """What neither endpoint has is unknown, in the error of each call."""
    async with make_pool(registry.url, elsewhere.url) as pool:
        with pytest.raises(ManifestUnknownError):
            await pool.upstream.get_manifest(APP, LATEST)
        with pytest.raises(BlobUnknownError):
            await pool.upstream.stat_blob(APP, UNKNOWN)
        with pytest.raises(RepositoryUnknownError):
            await pool.upstream.list_tags(APP, limit=None, after=None)

    assert all(asked(registry, elsewhere))


async def test_the_origins_404_is_the_answer(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """That a mirror in front of it is down does not keep the origin from saying no."""
    registry.inject(faults.Status(503))

    async with make_pool(registry.url, elsewhere.url) as pool:
        with pytest.raises(ManifestUnknownError):
            await pool.upstream.get_manifest(APP, LATEST)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.Status(503), UpstreamUnavailableError),
        (faults.Status(403), UpstreamDeniedError),
        (faults.Cut(after=0), UpstreamUnreachableError),
        (faults.WrongBytes(), DigestMismatchError),
    ],
    ids=str,
)
async def test_a_mirrors_404_hides_no_fault_of_the_origin(
    registry: ScriptedRegistry,
    elsewhere: ScriptedRegistry,
    fault: faults.Fault,
    error: type[Exception],
) -> None:
    """A fault is never taken for absence: the origin's failure is the answer."""
    stock(elsewhere)
    elsewhere.inject(fault)

    async with make_pool(registry.url, elsewhere.url) as pool:
        with pytest.raises(error):
            await pool.upstream.get_manifest(APP, LATEST)


async def test_a_mirrors_404_is_not_the_answer_for_an_origin_that_is_not_asked(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """While the origin is left alone, what the mirror lacks is unavailable and not unknown."""
    stock(elsewhere)
    elsewhere.inject(faults.Status(503))

    async with make_pool(registry.url, elsewhere.url) as pool:
        for _ in range(4):
            with pytest.raises(UpstreamUnavailableError, match=elsewhere.host):
                await pool.upstream.get_manifest(APP, LATEST)

    assert asked(registry, elsewhere) == [4, 3]


async def test_everything_down_fails_at_once_and_says_when(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """When both endpoints are left alone, a call is answered without one being asked."""
    registry.inject(faults.Status(502))
    elsewhere.inject(faults.Status(502))

    async with make_pool(registry.url, elsewhere.url) as pool:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await pool.upstream.head_manifest(APP, LATEST)
        before = asked(registry, elsewhere)
        with pytest.raises(UpstreamUnavailableError) as caught:
            await pool.upstream.head_manifest(APP, LATEST)

    assert asked(registry, elsewhere) == before
    assert caught.value.retry_after_seconds == 4


async def test_each_pause_ends_with_a_probe(registry: ScriptedRegistry) -> None:
    """An upstream that is back is used again with the first call after the pause."""
    stock(registry)
    outage = registry.inject(faults.Status(503))

    async with make_pool(registry.url) as pool:
        for _ in range(5):
            with pytest.raises(UpstreamUnavailableError):
                await pool.upstream.head_manifest(APP, LATEST)
        assert len(registry.requests) == 3

        pool.clock.advance(4)
        with pytest.raises(UpstreamUnavailableError):
            await pool.upstream.head_manifest(APP, LATEST)
        assert len(registry.requests) == 4

        registry.withdraw(outage)
        pool.clock.advance(8)
        assert await pool.upstream.head_manifest(APP, LATEST) is not None


async def test_one_bad_answer_does_not_take_a_single_endpoint_away(
    registry: ScriptedRegistry,
) -> None:
    """With no other endpoint, a failure of one manifest leaves all others available."""
    stock(registry)
    broken = Tag("broken")
    registry.inject(faults.Status(500), reference=broken)

    async with make_pool(registry.url) as pool:
        for _ in range(10):
            with pytest.raises(UpstreamUnavailableError):
                await pool.upstream.head_manifest(APP, broken)
            assert await pool.upstream.head_manifest(APP, LATEST) is not None


async def test_a_mirror_without_referrers_api_leads_on(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """Referrers come from the first endpoint that has the API; None where none has it."""
    subject = stock(registry, elsewhere)
    registry.api.referrers_enabled = False

    async with make_pool(registry.url, elsewhere.url) as pool:
        assert await pool.upstream.list_referrers(APP, subject) == []
        elsewhere.api.referrers_enabled = False
        assert await pool.upstream.list_referrers(APP, subject) is None


async def test_a_range_that_breaks_marks_its_endpoint(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """After a range that was cut, the next one comes from the other endpoint."""
    content = bytes(range(256)) * 400
    blob = registry.add_blob(APP, content)
    elsewhere.add_blob(APP, content)
    registry.inject(faults.Cut(after=50_000), kind=RequestKind.BLOB)

    async def whole(upstream: FailoverUpstream) -> bytes:
        async with upstream.stream_range(APP, blob.digest, 0, None) as stream:
            assert stream is not None
            return b"".join([piece async for piece in stream])

    async with make_pool(registry.url, elsewhere.url) as pool:
        with pytest.raises(UpstreamUnreachableError):
            await whole(pool.upstream)
        assert await whole(pool.upstream) == content

    assert elsewhere.blob_bytes_sent(blob.digest) == len(content)


async def test_stored_names_become_upstreams_own(registry: ScriptedRegistry) -> None:
    """The prefix of the store is cut off; a name without it belongs to another upstream."""
    stock(registry)
    stored = RepositoryName(f"ghcr.io/{APP}")

    async with make_pool(registry.url, name="ghcr.io", store_prefix="ghcr.io/") as pool:
        assert await pool.upstream.head_manifest(stored, LATEST) is not None
        with pytest.raises(ValueError, match=r"no repository of ghcr\.io"):
            await pool.upstream.head_manifest(APP, LATEST)

    assert registry.requests[0].path == f"/v2/{APP}/manifests/latest"


async def test_work_for_one_upstream_is_bounded(registry: ScriptedRegistry) -> None:
    """Beyond the limit, calls wait for their turn, then are refused; nothing piles up."""
    stock(registry)
    release = asyncio.Event()
    registry.inject(faults.Stall(release=release))
    limit = CallLimit(calls=2, wait_seconds=0.1)

    async with make_pool(registry.url, limit=limit) as pool:
        calls = [asyncio.create_task(pool.upstream.head_manifest(APP, LATEST)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(UpstreamUnavailableError, match="2 calls"):
            await pool.upstream.head_manifest(APP, LATEST)
        release.set()
        assert all(await asyncio.gather(*calls))
        assert await pool.upstream.head_manifest(APP, LATEST) is not None

    assert len(registry.requests) == 3


async def test_a_cancelled_call_leaves_nothing_behind(registry: ScriptedRegistry) -> None:
    """Who gives up gives the turn back, and says nothing about the endpoint."""
    stock(registry)
    silence = registry.inject(faults.Stall())

    async with make_pool(registry.url, limit=CallLimit(calls=1)) as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.upstream.head_manifest(APP, LATEST)
        registry.withdraw(silence)

        assert pool.upstream.status()[0].healthy
        assert await pool.upstream.head_manifest(APP, LATEST) is not None


async def test_a_cancelled_probe_makes_room_for_the_next(registry: ScriptedRegistry) -> None:
    """Who gives up while finding out about an endpoint does not keep others from it."""
    stock(registry)
    outage = registry.inject(faults.Status(503), times=3)

    async with make_pool(registry.url) as pool:
        for _ in range(3):
            with pytest.raises(UpstreamUnavailableError):
                await pool.upstream.head_manifest(APP, LATEST)
        assert outage.used == 3
        pool.clock.advance(4)
        silence = registry.inject(faults.Stall())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await pool.upstream.head_manifest(APP, LATEST)
        registry.withdraw(silence)

        assert await pool.upstream.head_manifest(APP, LATEST) is not None


async def test_a_silent_upstream_slows_no_other(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """While a hundred calls wait for one upstream, another one answers."""
    stock(registry, elsewhere)
    registry.inject(faults.Stall())

    async with (
        make_pool(registry.url, name="silent") as silent,
        make_pool(elsewhere.url, name="well") as well,
    ):
        waiting = [
            asyncio.create_task(silent.upstream.head_manifest(APP, LATEST)) for _ in range(100)
        ]
        await asyncio.sleep(0)
        for _ in range(10):
            await well.upstream.get_manifest(APP, LATEST)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def test_an_upstream_needs_an_endpoint() -> None:
    """Without any member there is nothing to build."""
    with pytest.raises(ValueError, match="no endpoint"):
        FailoverUpstream("docker.io", [], observe=events.ignore)


async def test_a_member_that_is_used_alone_needs_no_listener(registry: ScriptedRegistry) -> None:
    """A plain upstream takes quota headers without anybody to tell them to."""
    stock(registry)
    registry.inject(faults.Headers({"ratelimit-limit": "1;w=1", "ratelimit-remaining": "1;w=1"}))

    async with connect(registry.url) as upstream:
        assert await upstream.head_manifest(APP, LATEST) is not None
