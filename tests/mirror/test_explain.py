"""What would become of a pull, told without asking anybody."""

from pathlib import Path

import pytest

from roadstead.errors import InvalidReferenceError, UpstreamError
from roadstead.mirror.explain import split_reference
from roadstead.mirror.freshness import FreshnessRules
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Tag
from tests.support.rig import APP, Rig, make_rig

DIGEST = Digest.of(b"x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alpine", (None, "alpine", "latest")),
        ("alpine:3.20", (None, "alpine", "3.20")),
        ("library/alpine:3.20", (None, "library/alpine", "3.20")),
        ("ghcr.io/org/app:1", ("ghcr.io", "org/app", "1")),
        ("registry.corp:5000/app", ("registry.corp:5000", "app", "latest")),
        ("localhost/app", ("localhost", "app", "latest")),
        (f"quay.io/app@{DIGEST}", ("quay.io", "app", DIGEST)),
        (f"quay.io/app:1@{DIGEST}", ("quay.io", "app", DIGEST)),
    ],
)
def test_references_are_split_as_docker_does(text: str, expected: tuple[object, ...]) -> None:
    """A first part with a dot, a colon, or localhost is a registry; latest is the default."""
    assert split_reference(text) == expected


@pytest.mark.parametrize("text", ["", "UPPER/case", "app:", "app@sha256:bad", "a//b"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    """The error names the part."""
    with pytest.raises(InvalidReferenceError):
        split_reference(text)


async def test_what_is_not_held_is_a_miss(rig: Rig) -> None:
    """Nobody is asked for the explanation."""
    explanation = await rig.mirrors.explain("library/app:latest")

    assert explanation.outcome == "miss"
    assert (explanation.upstream, explanation.stored_as) == ("docker.io", APP)
    assert rig.upstream.requests == []


async def test_a_fresh_tag_is_a_hit_and_then_a_question(rig: Rig) -> None:
    """Age and next question come from the clock and the window; blobs are counted."""
    image = rig.upstream.add_image(APP, tag="latest")
    await rig.hold(image)
    rig.upstream.requests.clear()
    rig.clock.advance(20)

    fresh = await rig.mirrors.explain("docker.io/library/app")
    rig.clock.advance(60)
    old = await rig.mirrors.explain("docker.io/library/app")

    assert (fresh.outcome, fresh.age_seconds, fresh.asked_again_in_seconds) == ("hit", 20, 40)
    assert (fresh.blobs_held, fresh.blobs_known) == (3, 3)
    assert fresh.digest == str(image.manifest_digest)
    assert (old.outcome, old.asked_again_in_seconds) == ("revalidate", 0)
    assert rig.upstream.requests == []


async def test_a_failing_upstream_is_named(rig: Rig) -> None:
    """Right after a failure the answer is stale, with the reason."""
    await rig.hold(rig.upstream.add_image(APP, tag="latest"))
    await rig.upstream.stop()
    rig.clock.advance(61)
    await rig.mirror.manifest(APP, split_reference("app:latest")[2])

    explanation = await rig.mirrors.explain("library/app")

    assert explanation.outcome == "stale"
    assert rig.upstream.host in (explanation.last_failure or "")


async def test_a_manifest_that_would_not_be_served_stale_is_said_to_be_refused(rig: Rig) -> None:
    """Its blobs are not held and upstream is away; a client gets upstream's failure."""
    rig.upstream.add_image(APP, tag="latest")
    await rig.mirror.manifest(APP, Tag("latest"))
    await rig.upstream.stop()
    rig.clock.advance(61)
    with pytest.raises(UpstreamError):
        await rig.mirror.manifest(APP, Tag("latest"))
    rig.clock.advance(3)

    explanation = await rig.mirrors.explain("library/app")

    assert explanation.outcome == "refused"
    assert "blobs" in explanation.reason
    assert explanation.asked_again_in_seconds == 7
    assert (explanation.blobs_held, explanation.blobs_known) == (0, 3)


async def test_what_is_too_old_is_said_to_be_refused(tmp_path: Path) -> None:
    """The limit is named."""
    async with make_rig(tmp_path, rules=FreshnessRules(stale_limit=100)) as rig:
        await rig.hold(rig.upstream.add_image(APP, tag="latest"))
        await rig.upstream.stop()
        rig.clock.advance(101)
        with pytest.raises(UpstreamError):
            await rig.mirror.manifest(APP, Tag("latest"))

        explanation = await rig.mirrors.explain("library/app")

    assert explanation.outcome == "refused"
    assert "staleforhours" in explanation.reason


async def test_a_digest_is_held_for_ever(rig: Rig) -> None:
    """Neither age nor a next question."""
    image = rig.upstream.add_image(APP, tag="latest")
    await rig.hold(image)

    explanation = await rig.mirrors.explain(f"library/app@{image.manifest_digest}")

    assert explanation.outcome == "hit"
    assert (explanation.age_seconds, explanation.asked_again_in_seconds) == (None, None)


async def test_a_foreign_registry_is_denied(rig: Rig) -> None:
    """With the reason that a client gets."""
    explanation = await rig.mirrors.explain("evil.example/app")

    assert explanation.outcome == "denied"
    assert "evil.example" in explanation.reason
