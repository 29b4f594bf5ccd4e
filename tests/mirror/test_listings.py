"""Lists through the mirror: upstream's, or what is held, but never an invented one."""

import asyncio
from pathlib import Path

import pytest

from roadstead.errors import (
    ContentError,
    RepositoryUnknownError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamRateLimitedError,
    UpstreamUnavailableError,
)
from roadstead.mirror.freshness import FreshnessRules
from roadstead.mirror.listings import Listings
from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import OCI_INDEX
from roadstead.oci.reference import RepositoryName, Tag, referrers_tag
from roadstead.simulator import faults
from roadstead.simulator.content import SimulatedImage
from roadstead.simulator.faults import RequestKind
from roadstead.telemetry import events
from roadstead.upstream.client import RegistryUpstream
from tests.support.rig import APP, OTHER, PATIENT, Rig, make_rig

# What a registry that has the referrers API may still answer to one question.
FAILURES: dict[str, tuple[faults.Fault, type[UpstreamError]]] = {
    "403": (faults.Status(403, "DENIED"), UpstreamDeniedError),
    "429": (faults.Status(429, "TOOMANYREQUESTS"), UpstreamRateLimitedError),
    "503": (faults.Status(503), UpstreamUnavailableError),
}


async def hold_tags(rig: Rig, *tags: str) -> None:
    """Put images upstream and pull each of them once."""
    for tag in tags:
        rig.upstream.add_image(APP, tag=tag)
        await rig.mirror.manifest(APP, Tag(tag))


def add_referrer(rig: Rig, image: SimulatedImage, kind: str) -> Digest:
    """Attach a small artifact to ``image`` and return its digest."""
    return rig.upstream.add_image(
        APP, layers=[kind.encode()], subject=image.descriptor, fields={"artifactType": kind}
    ).manifest_digest


async def referrers(rig: Rig, subject: Digest) -> list[str]:
    """Return the digests of all referrers."""
    listing = await rig.mirror.referrers(APP, subject)
    return [str(found["digest"]) for found in listing.descriptors]


def asked(rig: Rig) -> int:
    """Count the questions for referrers that upstream has seen."""
    return rig.upstream.count(kind=RequestKind.REFERRERS)


async def test_tags_are_those_of_upstream(rig: Rig) -> None:
    """A list is asked for each time, so that a new tag is seen at once."""
    await hold_tags(rig, "a")
    rig.upstream.add_image(APP, tag="b")

    listing = await rig.mirror.tags(APP, limit=None, after=None)

    assert (listing.tags, listing.last) == (["a", "b"], None)


async def test_pages_of_upstream_are_passed_through(rig: Rig) -> None:
    """Size and start of a page go upstream, and its word on whether there are more comes back."""
    for tag in ("a", "b", "c"):
        rig.upstream.add_image(APP, tag=tag)

    first = await rig.mirror.tags(APP, limit=2, after=None)
    second = await rig.mirror.tags(APP, limit=2, after=first.last)

    assert (first.tags, first.last) == (["a", "b"], "b")
    assert (second.tags, second.last) == (["c"], None)


async def test_a_page_of_nothing_asks_nobody(rig: Rig) -> None:
    """``n=0`` is answered here, also for a repository that nobody knows."""
    listing = await rig.mirror.tags(OTHER, limit=0, after=None)

    assert (listing.tags, listing.last) == ([], None)
    assert rig.upstream.requests == []


@pytest.mark.parametrize(
    ("limit", "after", "expected"),
    [
        (None, None, (["a", "b", "c"], None)),
        (2, None, (["a", "b"], "b")),
        (2, "b", (["c"], None)),
        (3, None, (["a", "b", "c"], None)),
        (None, "a", (["b", "c"], None)),
        (1, "c", ([], None)),
    ],
)
async def test_held_tags_take_the_place_of_a_silent_upstream(
    rig: Rig, limit: int | None, after: str | None, expected: tuple[list[str], str | None]
) -> None:
    """During an outage what is held is listed, in the same pages."""
    await hold_tags(rig, "c", "a", "b")
    await rig.upstream.stop()

    listing = await rig.mirror.tags(APP, limit=limit, after=after)

    assert (listing.tags, listing.last) == expected
    assert events.UpstreamFailed(rig.upstream.host, "UpstreamUnreachableError") in rig.events


async def test_a_silent_upstream_costs_a_client_only_the_limit(tmp_path: Path) -> None:
    """Of tags and referrers alike, where there is an older answer; else it is waited for."""
    rules = FreshnessRules(revalidation_limit=0.05)
    async with make_rig(tmp_path, rules=rules, timeouts=PATIENT) as rig:
        await hold_tags(rig, "a")
        image = rig.upstream.add_image(APP)
        attached = add_referrer(rig, image, "application/x.sbom")
        await referrers(rig, image.manifest_digest)
        rig.upstream.add_image(OTHER, tag="b")
        rig.clock.advance(61)
        rig.upstream.pause()

        async with asyncio.timeout(20):
            tags = await rig.mirror.tags(APP, limit=None, after=None)
            kept = await rig.mirror.referrers(APP, image.manifest_digest)
        waiting = asyncio.ensure_future(rig.mirror.tags(OTHER, limit=None, after=None))
        await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        rig.upstream.resume()
        waited_for = await waiting

    assert tags.tags == ["a"]
    assert [entry["digest"] for entry in kept.descriptors] == [str(attached)]
    assert "no answer within 0.05 s" in (tags.stale_reason or "")
    assert "no answer within 0.05 s" in (kept.stale_reason or "")
    assert waited_for.tags == ["b"]


async def test_held_tags_outlive_their_repository(rig: Rig) -> None:
    """A repository that is gone upstream, but held, is still listed: its tags are served too."""
    await hold_tags(rig, "a")
    del rig.upstream.repositories[APP]

    listing = await rig.mirror.tags(APP, limit=None, after=None)

    assert listing.tags == ["a"]


async def test_tags_of_nobody_are_unknown(rig: Rig) -> None:
    """Upstream's 404 for a repository that is not held is passed on as such."""
    with pytest.raises(RepositoryUnknownError):
        await rig.mirror.tags(OTHER, limit=None, after=None)


@pytest.mark.parametrize("trouble", FAILURES.values(), ids=FAILURES.keys())
async def test_tags_that_cannot_be_known_are_an_error(
    rig: Rig, trouble: tuple[faults.Fault, type[UpstreamError]]
) -> None:
    """With nothing held, a failing upstream is no empty list and no unknown repository."""
    rig.upstream.add_image(APP, tag="a")
    fault, error = trouble
    rig.upstream.inject(fault, kind=RequestKind.TAGS)

    with pytest.raises(error):
        await rig.mirror.tags(APP, limit=None, after=None)


async def test_referrers_of_all_pages(rig: Rig) -> None:
    """Upstream's pages become one list, in its order, with everything it says about each."""
    rig.upstream.api.page_size = 1
    image = rig.upstream.add_image(APP)
    added = [add_referrer(rig, image, f"application/x.{name}") for name in ("sbom", "signature")]

    found = (await rig.mirror.referrers(APP, image.manifest_digest)).descriptors

    assert [entry["digest"] for entry in found] == list(map(str, added))
    assert [entry["artifactType"] for entry in found] == [
        "application/x.sbom",
        "application/x.signature",
    ]
    assert asked(rig) == 2


async def test_referrers_are_remembered_for_the_window_of_tags(rig: Rig) -> None:
    """Within it upstream is not asked again; behind it a new referrer is seen."""
    image = rig.upstream.add_image(APP)
    first = add_referrer(rig, image, "application/x.sbom")
    assert await referrers(rig, image.manifest_digest) == [str(first)]
    second = add_referrer(rig, image, "application/x.signature")

    rig.clock.advance(59)
    assert await referrers(rig, image.manifest_digest) == [str(first)]
    assert asked(rig) == 1
    rig.clock.advance(2)
    assert await referrers(rig, image.manifest_digest) == [str(first), str(second)]


async def test_many_clients_cost_one_question_for_referrers(tmp_path: Path) -> None:
    """Also where no answer is remembered."""
    async with make_rig(tmp_path, rules=FreshnessRules(tag_ttl=0)) as rig:
        image = rig.upstream.add_image(APP)
        attached = add_referrer(rig, image, "application/x.sbom")

        found = await asyncio.gather(*(referrers(rig, image.manifest_digest) for _ in range(20)))

        assert found == [[str(attached)]] * 20
        assert asked(rig) == 1


async def test_remembered_referrers_are_limited_by_their_size(rig: Rig) -> None:
    """Ten lists of 20 kB do not fit into 100 kB: the oldest are asked for again."""
    async with RegistryUpstream(rig.upstream.url) as client:
        listings = Listings(
            store=rig.store,
            upstream=client,
            manifests=rig.mirror.manifests,
            ttl_seconds=60,
            observe=rig.events.append,
            cached_bytes=100_000,
            clock=rig.clock,
        )
        subjects = [rig.upstream.add_image(APP, layers=[bytes([n])]) for n in range(10)]
        for image in subjects:
            annotations = {"org.example.note": "x" * 20_000}
            rig.upstream.add_image(
                APP, subject=image.descriptor, fields={"annotations": annotations}
            )
        for image in (*subjects, subjects[-1], subjects[0]):
            listing = await listings.referrers(APP, image.manifest_digest)
            assert len(listing.descriptors) == 1

    assert asked(rig) == 11


async def test_without_a_window_referrers_are_always_asked_for(tmp_path: Path) -> None:
    """``tagttl: 0`` means that no answer is remembered."""
    async with make_rig(tmp_path, rules=FreshnessRules(tag_ttl=0)) as rig:
        image = rig.upstream.add_image(APP)

        for _ in range(2):
            assert await referrers(rig, image.manifest_digest) == []

        assert asked(rig) == 2


async def test_an_empty_list_is_remembered_too(rig: Rig) -> None:
    """That an image has no referrers is an answer, and most images have none."""
    image = rig.upstream.add_image(APP)

    for _ in range(2):
        assert await referrers(rig, image.manifest_digest) == []

    assert asked(rig) == 1


async def test_referrers_under_the_fallback_tag(rig: Rig) -> None:
    """Where the API does not exist, the index under the subject's tag is the list."""
    rig.upstream.api.referrers_enabled = False
    image = rig.upstream.add_image(APP)
    attached = rig.upstream.add_image(APP, layers=[b"sbom"], subject=image.descriptor)
    rig.upstream.add_index(APP, images=[attached], tag=referrers_tag(image.manifest_digest))

    assert await referrers(rig, image.manifest_digest) == [str(attached.manifest_digest)]


async def test_without_api_and_fallback_tag_there_are_none(rig: Rig) -> None:
    """A registry of before 1.1 that says 404 to both has said that there are no referrers."""
    rig.upstream.api.referrers_enabled = False
    image = rig.upstream.add_image(APP)

    assert await referrers(rig, image.manifest_digest) == []


async def test_an_unknown_repository_has_no_referrers(rig: Rig) -> None:
    """Upstream's 404 for the whole repository is the same answer."""
    assert await referrers(rig, Digest.of(b"nothing")) == []


async def test_a_fallback_tag_that_is_the_subject_itself_lists_nothing(rig: Rig) -> None:
    """GitLab serves a digest written as a tag as that manifest, which is no list."""
    rig.upstream.api.referrers_enabled = False
    image = rig.upstream.add_image(APP)
    tag = referrers_tag(image.manifest_digest)
    rig.upstream.move_tag(APP, tag, image.manifest_digest)

    assert await referrers(rig, image.manifest_digest) == []


async def test_a_web_page_in_place_of_the_api_is_no_answer(rig: Rig) -> None:
    """ghcr.io redirects to a page with status 200: the fallback tag is asked instead."""
    image = rig.upstream.add_image(APP)
    attached = rig.upstream.add_image(APP, layers=[b"sbom"])
    rig.upstream.add_index(APP, images=[attached], tag=referrers_tag(image.manifest_digest))
    rig.upstream.inject(faults.Redirect("/page", status=303), kind=RequestKind.REFERRERS)
    rig.upstream.inject(faults.Html(), kind=RequestKind.OTHER)

    assert await referrers(rig, image.manifest_digest) == [str(attached.manifest_digest)]


@pytest.mark.parametrize("trouble", FAILURES.values(), ids=FAILURES.keys())
async def test_an_upstream_that_fails_never_means_that_there_are_none(
    rig: Rig, trouble: tuple[faults.Fault, type[UpstreamError]]
) -> None:
    """An empty list would make a verifier believe that an image has no signature."""
    image = rig.upstream.add_image(APP)
    fault, error = trouble
    rig.upstream.inject(fault, kind=RequestKind.REFERRERS)

    with pytest.raises(error):
        await referrers(rig, image.manifest_digest)


async def test_a_fallback_tag_that_cannot_be_asked_for_is_an_error(rig: Rig) -> None:
    """No API, and a failure at the tag: that is not an empty list either."""
    rig.upstream.api.referrers_enabled = False
    image = rig.upstream.add_image(APP)
    rig.upstream.inject(faults.Status(503), kind=RequestKind.MANIFEST)

    with pytest.raises(UpstreamUnavailableError):
        await referrers(rig, image.manifest_digest)


async def test_a_page_at_the_fallback_tag_is_an_error(rig: Rig) -> None:
    """What is no manifest says nothing about referrers."""
    rig.upstream.api.referrers_enabled = False
    image = rig.upstream.add_image(APP)
    rig.upstream.inject(faults.Html(), kind=RequestKind.MANIFEST)

    with pytest.raises(ContentError):
        await referrers(rig, image.manifest_digest)


@pytest.mark.parametrize("restarted", [False, True], ids=["same process", "after a restart"])
@pytest.mark.parametrize(
    "trouble",
    [faults.Status(503), faults.Status(429), faults.Status(404)],
    ids=["503", "429", "API gone and the tag is a page"],
)
async def test_the_last_answer_outlives_an_outage(
    rig: Rig, trouble: faults.Fault, *, restarted: bool
) -> None:
    """What upstream last told is served while it tells nothing, by the next process too."""
    image = rig.upstream.add_image(APP)
    attached = add_referrer(rig, image, "application/x.sbom")
    await referrers(rig, image.manifest_digest)
    rig.clock.advance(10**6)
    rig.upstream.inject(trouble, kind=RequestKind.REFERRERS)
    rig.upstream.inject(faults.Html(), kind=RequestKind.MANIFEST)

    if restarted:
        async with make_rig(rig.root, upstream=rig.upstream, clock=rig.clock) as next_rig:
            found = await referrers(next_rig, image.manifest_digest)
    else:
        found = await referrers(rig, image.manifest_digest)

    assert found == [str(attached)]


async def test_a_fallback_list_outlives_its_upstream(rig: Rig) -> None:
    """The document under the fallback tag is kept like an answer of the API."""
    rig.upstream.api.referrers_enabled = False
    image = rig.upstream.add_image(APP)
    attached = rig.upstream.add_image(APP, layers=[b"sbom"])
    rig.upstream.add_index(APP, images=[attached], tag=referrers_tag(image.manifest_digest))
    await referrers(rig, image.manifest_digest)
    await rig.upstream.stop()
    rig.clock.advance(10**6)

    assert await referrers(rig, image.manifest_digest) == [str(attached.manifest_digest)]


async def test_an_odd_index_lists_what_it_has(rig: Rig) -> None:
    """``"manifests": null``, which Go programs write for none, is an empty list."""
    rig.upstream.api.referrers_enabled = False
    image = rig.upstream.add_image(APP)
    content = f'{{"schemaVersion": 2, "mediaType": "{OCI_INDEX}", "manifests": null}}'.encode()
    rig.upstream.add_manifest(APP, content, OCI_INDEX, tag=referrers_tag(image.manifest_digest))

    assert await referrers(rig, image.manifest_digest) == []


async def test_a_store_in_trouble_does_not_keep_referrers_from_the_client(tmp_path: Path) -> None:
    """When nothing can be written, the client still gets what upstream said."""
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    async with make_rig(blocked) as rig:
        image = rig.upstream.add_image(APP)
        attached = add_referrer(rig, image, "application/x.sbom")

        assert await referrers(rig, image.manifest_digest) == [str(attached)]


async def test_the_catalog_pages_through_what_is_held(rig: Rig) -> None:
    """Only repositories that were pulled, without a question upstream."""
    for name in ("library/b", "library/a", "other/never-pulled"):
        rig.upstream.add_image(name, tag="latest")
    for name in ("library/b", "library/a"):
        await rig.mirror.manifest(RepositoryName(name), Tag("latest"))
    rig.upstream.requests.clear()

    first = await rig.mirrors.list_repositories(limit=1, after=None)
    second = await rig.mirrors.list_repositories(limit=5, after=first[0])

    assert (first, second) == (["library/a"], ["library/b"])
    assert rig.upstream.requests == []
