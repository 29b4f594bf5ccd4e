"""Manifests through the mirror: fetched once, verified, fresh or honestly stale."""

import asyncio
import re
from pathlib import Path

import pytest

from roadstead.errors import (
    ContentError,
    ManifestUnknownError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamUnauthorizedError,
)
from roadstead.mirror.freshness import FreshnessRules
from roadstead.mirror.manifests import Manifests
from roadstead.mirror.soundness import Soundness
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Tag
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.telemetry import events
from roadstead.telemetry.events import Outcome
from roadstead.upstream.client import RegistryUpstream
from tests.support.rig import APP, OTHER, PATIENT, Rig, make_rig, read_all

LATEST = Tag("latest")


def manifest_requests(rig: Rig) -> list[str]:
    """Return the verbs of all manifest requests that upstream has seen."""
    return [
        record.method for record in rig.upstream.requests if record.kind == RequestKind.MANIFEST
    ]


async def test_a_tag_is_resolved_by_head_and_fetched_by_digest(rig: Rig) -> None:
    """A cold tag costs one HEAD, free of Docker Hub's quota, and one GET of that digest."""
    image = rig.upstream.add_image(APP, tag="latest")

    manifest = await rig.mirror.manifest(APP, LATEST)

    assert manifest.content == image.content
    assert manifest.descriptor.digest == image.manifest_digest
    assert manifest.outcome is Outcome.MISS
    assert manifest_requests(rig) == ["HEAD", "GET"]
    assert str(image.manifest_digest) in rig.upstream.requests[-1].path


async def test_a_fresh_tag_costs_nothing(rig: Rig) -> None:
    """Within the freshness window upstream is not asked."""
    rig.upstream.add_image(APP, tag="latest")
    await rig.mirror.manifest(APP, LATEST)
    rig.upstream.requests.clear()

    again = await rig.mirror.manifest(APP, LATEST)

    assert again.outcome is Outcome.HIT
    assert rig.upstream.requests == []


async def test_an_old_tag_is_revalidated_by_one_head(rig: Rig) -> None:
    """Behind the window one HEAD confirms the tag and opens a new window."""
    rig.upstream.add_image(APP, tag="latest")
    await rig.mirror.manifest(APP, LATEST)
    rig.upstream.requests.clear()
    rig.clock.advance(61)

    first = await rig.mirror.manifest(APP, LATEST)
    second = await rig.mirror.manifest(APP, LATEST)

    assert (first.outcome, second.outcome) == (Outcome.REVALIDATED, Outcome.HIT)
    assert manifest_requests(rig) == ["HEAD"]


async def test_a_moved_tag_moves_here_too(rig: Rig) -> None:
    """When HEAD tells another digest, that one is fetched, served and linked."""
    rig.upstream.add_image(APP, tag="latest", layers=[b"old"])
    await rig.mirror.manifest(APP, LATEST)
    new = rig.upstream.add_image(APP, tag="latest", layers=[b"new"])
    rig.clock.advance(61)

    manifest = await rig.mirror.manifest(APP, LATEST)

    assert manifest.content == new.content
    held = await rig.store.resolve_tag(APP, LATEST)
    assert held is not None
    assert held.digest == new.manifest_digest


async def test_a_digest_is_asked_for_once_and_never_again(rig: Rig) -> None:
    """What a digest names cannot change: after the first fetch upstream is not asked."""
    image = rig.upstream.add_image(APP)

    first = await rig.mirror.manifest(APP, image.manifest_digest)
    await rig.upstream.stop()
    rig.clock.advance(10**8)
    second = await rig.mirror.manifest(APP, image.manifest_digest)

    assert (first.outcome, second.outcome) == (Outcome.MISS, Outcome.HIT)
    assert second.content == image.content


@pytest.mark.parametrize("by_tag", [True, False], ids=["by tag", "by digest"])
async def test_many_clients_cost_one_fetch(rig: Rig, *, by_tag: bool) -> None:
    """Twenty requests at once for a cold manifest become one question upstream."""
    image = rig.upstream.add_image(APP, tag="latest")
    reference = LATEST if by_tag else image.manifest_digest

    manifests = await asyncio.gather(*(rig.mirror.manifest(APP, reference) for _ in range(20)))

    assert {manifest.content for manifest in manifests} == {image.content}
    assert manifest_requests(rig) == (["HEAD", "GET"] if by_tag else ["GET"])
    outcomes = [manifest.outcome for manifest in manifests]
    assert outcomes.count(Outcome.MISS) == 1
    assert outcomes.count(Outcome.JOINED) == 19


TROUBLES: dict[str, faults.Fault] = {
    "401": faults.Status(401, "UNAUTHORIZED"),
    "403": faults.Status(403, "DENIED"),
    "404": faults.Status(404, "MANIFEST_UNKNOWN"),
    "429": faults.Status(429, "TOOMANYREQUESTS"),
    "429 with Retry-After": faults.Status(429, "TOOMANYREQUESTS", headers={"Retry-After": "3600"}),
    "500": faults.Status(500),
    "503": faults.Status(503),
    "a web page": faults.Html(),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
async def test_a_held_tag_outlives_any_trouble_upstream(rig: Rig, trouble: faults.Fault) -> None:
    """Whatever upstream answers to it, a held tag is served, and said to be stale."""
    image = rig.upstream.add_image(APP, tag="latest")
    await rig.hold(image)
    rig.upstream.inject(trouble, kind=RequestKind.MANIFEST)
    rig.clock.advance(3600)

    manifest = await rig.mirror.manifest(APP, LATEST)

    assert manifest.content == image.content
    assert manifest.outcome is Outcome.STALE
    assert manifest.age_seconds == 3600
    assert manifest.stale_reason


async def test_every_answer_by_tag_tells_its_age_and_the_next_question(rig: Rig) -> None:
    """Whether it is fetched, held, confirmed or stale."""
    rig.upstream.add_image(APP, tag="latest")
    told = []
    for seconds in (0, 20, 41):
        rig.clock.advance(seconds)
        told.append(await rig.mirror.manifest(APP, LATEST))
    rig.upstream.inject(faults.Status(429), kind=RequestKind.MANIFEST)
    for seconds in (61, 4):
        rig.clock.advance(seconds)
        told.append(await rig.mirror.manifest(APP, LATEST))

    assert [(one.outcome, one.age_seconds, one.fresh_for_seconds) for one in told] == [
        (Outcome.MISS, 0, 60),
        (Outcome.HIT, 20, 40),
        (Outcome.REVALIDATED, 0, 60),
        (Outcome.STALE, 61, 10),
        (Outcome.STALE, 65, 6),
    ]


async def test_a_stretched_tag_tells_when_it_is_asked_for_again(rig: Rig) -> None:
    """With a tenth of the quota left five times as late as usual."""
    rig.upstream.add_image(APP, tag="latest")
    async with RegistryUpstream(rig.upstream.url) as client:
        manifests = Manifests(
            store=rig.store,
            upstream=client,
            rules=FreshnessRules(),
            soundness=Soundness(rig.store, observe=rig.events.append),
            observe=rig.events.append,
            budget=lambda: 0.1,
            clock=rig.clock,
        )
        await manifests.by_tag(APP, LATEST)
        rig.clock.advance(100)
        later = await manifests.by_tag(APP, LATEST)
        await manifests.aclose()

    assert (later.outcome, later.fresh_for_seconds) == (Outcome.HIT, 200)


async def test_an_immutable_tag_is_never_asked_for_again(tmp_path: Path) -> None:
    """There is no time to tell."""
    async with make_rig(tmp_path, rules=FreshnessRules(immutable=re.compile("latest"))) as rig:
        rig.upstream.add_image(APP, tag="latest")
        await rig.mirror.manifest(APP, LATEST)
        rig.clock.advance(1000)
        later = await rig.mirror.manifest(APP, LATEST)

    assert (later.outcome, later.age_seconds, later.fresh_for_seconds) == (Outcome.HIT, 1000, None)


async def test_a_stopped_upstream_is_left_alone_for_a_while(rig: Rig) -> None:
    """After a failure clients get the stale answer at once, and upstream is asked again later."""
    image = rig.upstream.add_image(APP, tag="latest")
    await rig.hold(image)
    await rig.upstream.stop()
    rig.clock.advance(61)
    await rig.mirror.manifest(APP, LATEST)
    await rig.upstream.start()
    rig.upstream.requests.clear()

    meanwhile = await rig.mirror.manifest(APP, LATEST)
    rig.clock.advance(11)
    later = await rig.mirror.manifest(APP, LATEST)

    assert meanwhile.outcome is Outcome.STALE
    assert later.outcome is Outcome.REVALIDATED
    assert manifest_requests(rig) == ["HEAD"]


async def test_a_silent_upstream_costs_a_client_only_the_limit(tmp_path: Path) -> None:
    """Nobody waits longer for a revalidation than the rules say while there is a held answer."""
    rules = FreshnessRules(revalidation_limit=0.05)
    async with make_rig(tmp_path, rules=rules, timeouts=PATIENT) as rig:
        image = rig.upstream.add_image(APP, tag="latest")
        await rig.hold(image)
        rig.upstream.pause()
        rig.clock.advance(61)

        async with asyncio.timeout(20):
            manifest = await rig.mirror.manifest(APP, LATEST)

        assert manifest.outcome is Outcome.STALE
        assert "no answer" in (manifest.stale_reason or "")
        rig.upstream.resume()


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        ("401", UpstreamUnauthorizedError),
        ("403", UpstreamDeniedError),
        ("404", ManifestUnknownError),
        ("429", UpstreamRateLimitedError),
        ("503", UpstreamError),
    ],
)
async def test_the_true_cause_is_told_when_nothing_is_held(
    rig: Rig, trouble: str, error: type[Exception]
) -> None:
    """A mirror that turns every trouble into "manifest unknown" helps nobody."""
    rig.upstream.add_image(APP, tag="latest")
    rig.upstream.inject(TROUBLES[trouble], kind=RequestKind.MANIFEST)

    with pytest.raises(error):
        await rig.mirror.manifest(APP, LATEST)


@pytest.mark.parametrize(("asked", "seconds"), [(None, 1), (3, 3), (3600, 5)])
async def test_a_rate_limit_is_not_asked_about_at_once_again(
    rig: Rig, asked: int | None, seconds: int
) -> None:
    """Clients repeat a 429 within milliseconds; upstream hears of it when the pause is over."""
    rig.upstream.add_image(APP, tag="latest")
    headers = {} if asked is None else {"Retry-After": str(asked)}
    limit = faults.Status(429, "TOOMANYREQUESTS", headers=headers)
    rig.upstream.inject(limit, kind=RequestKind.MANIFEST, method="GET")
    for _ in range(6):
        with pytest.raises(UpstreamRateLimitedError):
            await rig.mirror.manifest(APP, LATEST)
    meanwhile = manifest_requests(rig)
    rig.clock.advance(seconds)
    with pytest.raises(UpstreamRateLimitedError):
        await rig.mirror.manifest(APP, LATEST)

    assert meanwhile == ["HEAD", "GET"]
    assert manifest_requests(rig) == ["HEAD", "GET"] * 2


async def test_a_manifest_that_is_not_what_was_asked_for_is_refused(rig: Rig) -> None:
    """Wrong bytes for a digest are an error, and nothing of them is kept."""
    image = rig.upstream.add_image(APP)
    other = rig.upstream.add_image(APP, layers=[b"other"])
    rig.upstream.inject(
        faults.Substitute(other.content, "application/vnd.oci.image.manifest.v1+json"),
        kind=RequestKind.MANIFEST,
    )

    with pytest.raises(ContentError):
        await rig.mirror.manifest(APP, image.manifest_digest)

    assert rig.files() == []


async def test_a_head_that_is_refused_is_replaced_by_get(rig: Rig) -> None:
    """A registry without HEAD is mirrored all the same."""
    image = rig.upstream.add_image(APP, tag="latest")
    rig.upstream.inject(faults.Status(405), kind=RequestKind.MANIFEST, method="HEAD")

    manifest = await rig.mirror.manifest(APP, LATEST)

    assert manifest.content == image.content


async def test_a_head_404_is_not_the_last_word_on_a_tag_that_is_not_held(rig: Rig) -> None:
    """A mirror of a mirror may say 404 to HEAD of what it has not fetched yet (Harbor)."""
    image = rig.upstream.add_image(APP, tag="latest")
    rig.upstream.inject(faults.Status(404), kind=RequestKind.MANIFEST, method="HEAD")

    manifest = await rig.mirror.manifest(APP, LATEST)

    assert manifest.content == image.content


async def test_a_head_without_digest_is_followed_by_get(rig: Rig) -> None:
    """The digest is computed from the bytes where upstream does not tell it."""
    image = rig.upstream.add_image(APP, tag="latest")
    rig.upstream.inject(faults.Headers(drop=("Docker-Content-Digest",)), kind=RequestKind.MANIFEST)

    manifest = await rig.mirror.manifest(APP, LATEST)
    rig.clock.advance(61)
    again = await rig.mirror.manifest(APP, LATEST)

    assert manifest.descriptor.digest == image.manifest_digest
    assert again.outcome is Outcome.REVALIDATED


async def test_the_bytes_are_kept_verbatim(rig: Rig) -> None:
    """Odd spacing, order and unknown members survive: the digest depends on every byte."""
    content = (
        b'{ "schemaVersion": 2,\n\t"x-unknown": [1, 2],'
        b' "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [] }\n'
    )
    rig.upstream.add_manifest(APP, content, "application/vnd.oci.image.index.v1+json", tag="latest")

    manifest = await rig.mirror.manifest(APP, LATEST)

    assert manifest.content == content
    assert manifest.descriptor.media_type == "application/vnd.oci.image.index.v1+json"


async def test_repositories_do_not_see_each_other(rig: Rig) -> None:
    """A manifest held for one repository is asked for again under another name."""
    image = rig.upstream.add_image(APP)
    await rig.mirror.manifest(APP, image.manifest_digest)

    with pytest.raises(ManifestUnknownError):
        await rig.mirror.manifest(OTHER, image.manifest_digest)


async def test_freshness_survives_a_restart(rig: Rig) -> None:
    """A new process on the same store knows when the tag was confirmed."""
    rig.upstream.add_image(APP, tag="latest")
    await rig.mirror.manifest(APP, LATEST)
    rig.upstream.requests.clear()

    async with make_rig(rig.root, upstream=rig.upstream, clock=rig.clock) as restarted:
        fresh = await restarted.mirror.manifest(APP, LATEST)
        rig.clock.advance(61)
        old = await restarted.mirror.manifest(APP, LATEST)

    assert fresh.outcome is Outcome.HIT
    assert old.outcome is Outcome.REVALIDATED


async def test_a_held_tag_is_served_by_a_new_process_without_upstream(rig: Rig) -> None:
    """An outage does not keep the mirror from starting and serving what it holds."""
    image = rig.upstream.add_image(APP, tag="latest")
    await rig.hold(image)
    await rig.upstream.stop()
    rig.clock.advance(10**6)

    async with make_rig(rig.root, upstream=rig.upstream, clock=rig.clock) as restarted:
        manifest = await restarted.mirror.manifest(APP, LATEST)

    assert manifest.content == image.content
    assert manifest.outcome is Outcome.STALE


async def test_a_store_in_trouble_does_not_keep_a_manifest_from_the_client(
    tmp_path: Path,
) -> None:
    """When nothing can be written, the client still gets what upstream sent."""
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    async with make_rig(blocked) as rig:
        image = rig.upstream.add_image(APP, tag="latest")

        manifest = await rig.mirror.manifest(APP, LATEST)

        assert manifest.content == image.content


async def test_a_client_that_leaves_does_not_stop_the_fetch(rig: Rig) -> None:
    """The manifest of a vanished client is stored for the next one."""
    image = rig.upstream.add_image(APP, tag="latest")
    rig.upstream.pause()
    leaving = asyncio.ensure_future(rig.mirror.manifest(APP, LATEST))
    await asyncio.sleep(0.01)
    staying = asyncio.ensure_future(rig.mirror.manifest(APP, LATEST))
    await asyncio.sleep(0)
    leaving.cancel()
    rig.upstream.resume()

    manifest = await staying

    assert manifest.content == image.content


async def test_failures_upstream_are_told(rig: Rig) -> None:
    """Metrics hear of every failing upstream, also when a stale answer hides it from clients."""
    image = rig.upstream.add_image(APP, tag="latest")
    await rig.hold(image)
    rig.upstream.inject(TROUBLES["503"], kind=RequestKind.MANIFEST)
    rig.clock.advance(61)

    await rig.mirror.manifest(APP, LATEST)

    failed = events.UpstreamFailed(rig.upstream.host, "UpstreamUnavailableError")
    assert failed in rig.events


async def test_a_damaged_manifest_is_fetched_again(rig: Rig) -> None:
    """A file that no longer hashes to its digest is as good as absent."""
    image = rig.upstream.add_image(APP)
    await rig.mirror.manifest(APP, image.manifest_digest)
    (data,) = rig.root.glob(f"docker/**/{image.manifest_digest.encoded}/data")
    data.write_bytes(b"{}")

    async with make_rig(rig.root, upstream=rig.upstream) as restarted:
        manifest = await restarted.mirror.manifest(APP, image.manifest_digest)

    assert manifest.content == image.content
    assert Digest.of(data.read_bytes()) == image.manifest_digest


async def test_a_stale_manifest_without_its_blobs_is_not_served(rig: Rig) -> None:
    """Podman fails for good on a blob that nobody can give: an error lets it ask the origin."""
    rig.upstream.add_image(APP, tag="latest")
    await rig.mirror.manifest(APP, LATEST)
    await rig.upstream.stop()
    rig.clock.advance(61)

    with pytest.raises(UpstreamError):
        await rig.mirror.manifest(APP, LATEST)


async def test_a_stale_index_needs_one_whole_image(rig: Rig) -> None:
    """One platform that can be pulled to the end is enough."""
    index = rig.upstream.add_index(APP, tag="latest")
    await rig.mirror.manifest(APP, LATEST)
    child = index.images[1]
    await rig.mirror.manifest(APP, child.manifest_digest)
    await rig.upstream.stop()
    rig.clock.advance(61)
    with pytest.raises(UpstreamError):
        await rig.mirror.manifest(APP, LATEST)
    await rig.upstream.start()
    for blob in child.blobs:
        await read_all(await rig.mirror.blob(APP, blob.digest))
    await rig.landed()
    await rig.upstream.stop()

    manifest = await rig.mirror.manifest(APP, LATEST)

    assert manifest.content == index.content
    assert manifest.outcome is Outcome.STALE


async def test_a_tag_that_never_moves_is_asked_for_once(tmp_path: Path) -> None:
    """What immutabletags matches is served for ever without a question."""
    rules = FreshnessRules(immutable=re.compile(r"v\d.*"))
    async with make_rig(tmp_path, rules=rules) as rig:
        rig.upstream.add_image(APP, tag="v1.2")
        await rig.mirror.manifest(APP, Tag("v1.2"))
        rig.upstream.requests.clear()
        rig.clock.advance(10**8)

        manifest = await rig.mirror.manifest(APP, Tag("v1.2"))

        assert manifest.outcome is Outcome.HIT
        assert rig.upstream.requests == []


async def test_staleness_has_a_limit_if_configured(tmp_path: Path) -> None:
    """Beyond staleforhours the true error is better than an answer that old."""
    rules = FreshnessRules(stale_limit=3600)
    async with make_rig(tmp_path, rules=rules) as rig:
        image = rig.upstream.add_image(APP, tag="latest")
        await rig.hold(image)
        await rig.upstream.stop()
        rig.clock.advance(3600)
        within = await rig.mirror.manifest(APP, LATEST)
        rig.clock.advance(60)

        with pytest.raises(UpstreamError):
            await rig.mirror.manifest(APP, LATEST)

        assert within.outcome is Outcome.STALE


async def test_a_refusal_is_remembered_for_seconds(rig: Rig) -> None:
    """Clients repeat a question whose answer they do not like; upstream hears it once."""
    for _ in range(5):
        with pytest.raises(ManifestUnknownError):
            await rig.mirror.manifest(APP, LATEST)
    asked = len(rig.upstream.requests)
    image = rig.upstream.add_image(APP, tag="latest")
    rig.clock.advance(6)

    manifest = await rig.mirror.manifest(APP, LATEST)

    assert manifest.content == image.content
    assert asked == 2
