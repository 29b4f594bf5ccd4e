"""Of an index that is always whole, only images for the listed platforms are fetched."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.errors import PlatformDeniedError
from roadstead.mirror.platforms import PlatformRules
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import OCI_INDEX
from roadstead.oci.platform import Platform
from roadstead.oci.reference import Tag
from roadstead.telemetry.events import Outcome
from tests.support.rig import APP, OTHER, Rig, make_rig

AMD64_ONLY = PlatformRules((Platform.parse("linux/amd64"),))
LATEST = Tag("latest")
ALL = ["linux/amd64", "linux/arm64", "unknown/unknown"]

platforms = st.none() | st.builds(
    Platform,
    st.sampled_from(["linux", "windows", "unknown"]),
    st.sampled_from(["amd64", "arm64", "unknown"]),
)


@pytest.fixture
async def limited(tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a mirror for machines with linux/amd64."""
    async with make_rig(tmp_path, platforms=AMD64_ONLY) as made:
        yield made


@given(platform=platforms, listed=st.lists(platforms, max_size=3))
def test_only_a_named_platform_can_be_denied(
    platform: Platform | None, listed: list[Platform | None]
) -> None:
    """What is denied is for a machine, and for none that is listed."""
    rules = PlatformRules(tuple(one for one in listed if one is not None))

    if not rules.admit(platform):
        assert platform is not None
        assert platform.is_known
        assert rules.is_limited
        assert platform not in rules.listed


def test_the_wanted_children_are_those_that_are_fetched() -> None:
    """In the order of the index; prefetching goes by the same rule."""
    children = [
        Descriptor("m", Digest.of(name.encode()), 1, Platform.parse(name) if name else None)
        for name in (*ALL, "")
    ]

    assert AMD64_ONLY.wanted(children) == (children[0], children[2], children[3])
    assert PlatformRules().wanted(children) == tuple(children)


async def test_the_index_is_verbatim_and_the_others_images_are_denied(limited: Rig) -> None:
    """The listed platform and the attestation are fetched; the rest costs no request."""
    index = limited.upstream.add_index(APP, platforms=ALL, tag="latest")
    amd64, arm64, attestation = (image.manifest_digest for image in index.images)

    served = await limited.mirror.manifest(APP, LATEST)
    await limited.mirror.manifest(APP, amd64)
    await limited.mirror.manifest(APP, attestation)
    limited.upstream.requests.clear()
    with pytest.raises(PlatformDeniedError, match=r"linux/amd64 only.*linux/arm64"):
        await limited.mirror.manifest(APP, arm64)

    assert served.content == index.content
    assert limited.upstream.requests == []


async def test_a_tag_of_another_platforms_image_is_denied(limited: Rig) -> None:
    """A tag that names a child of a held index is no way around."""
    index = limited.upstream.add_index(APP, platforms=ALL, tag="latest")
    limited.upstream.move_tag(APP, "arm", index.images[1].manifest_digest)
    await limited.mirror.manifest(APP, LATEST)

    with pytest.raises(PlatformDeniedError):
        await limited.mirror.manifest(APP, Tag("arm"))


async def test_what_no_held_index_describes_passes(limited: Rig) -> None:
    """An image that is pulled by itself, and one of another repository's index."""
    index = limited.upstream.add_index(OTHER, platforms=ALL, tag="latest")
    await limited.mirror.manifest(OTHER, LATEST)
    arm64 = limited.upstream.add_image(APP, platform="linux/arm64")
    limited.upstream.add_index(APP, platforms=ALL)

    assert (await limited.mirror.manifest(APP, arm64.manifest_digest)).outcome is Outcome.MISS
    elsewhere = index.images[1].manifest_digest
    assert (await limited.mirror.manifest(APP, elsewhere)).outcome is Outcome.MISS


async def test_one_index_that_describes_it_for_a_listed_platform_is_enough(limited: Rig) -> None:
    """Two indexes may say different things of the same image."""
    one = limited.upstream.add_index(APP, platforms=["linux/arm64"], tag="latest")
    await limited.mirror.manifest(APP, LATEST)
    child = one.images[0].manifest_digest
    with pytest.raises(PlatformDeniedError):
        await limited.mirror.manifest(APP, child)

    document = one.content.replace(b'"arm64"', b'"amd64"')
    limited.upstream.add_manifest(APP, document, OCI_INDEX, tag="other")
    await limited.mirror.manifest(APP, Tag("other"))

    assert (await limited.mirror.manifest(APP, child)).outcome is Outcome.MISS


async def test_what_is_held_already_is_served(tmp_path: Path) -> None:
    """The list concerns what is fetched, not what is there; it holds after a restart too."""
    async with make_rig(tmp_path) as free:
        index = free.upstream.add_index(APP, platforms=["linux/arm64", "linux/s390x"], tag="latest")
        arm64, s390x = (image.manifest_digest for image in index.images)
        await free.mirror.manifest(APP, LATEST)
        await free.mirror.manifest(APP, arm64)
        async with make_rig(tmp_path, upstream=free.upstream, platforms=AMD64_ONLY) as limited:
            assert (await limited.mirror.manifest(APP, arm64)).outcome is Outcome.HIT
            with pytest.raises(PlatformDeniedError):
                await limited.mirror.manifest(APP, s390x)


async def test_a_removed_index_says_nothing_any_more(limited: Rig) -> None:
    """Its link is looked at again before its word counts."""
    index = limited.upstream.add_index(APP, platforms=["linux/arm64"], tag="latest")
    child = index.images[0].manifest_digest
    await limited.mirror.manifest(APP, LATEST)
    with pytest.raises(PlatformDeniedError):
        await limited.mirror.manifest(APP, child)

    for link in limited.root.glob("**/_manifests/revisions/sha256/*/link"):
        link.unlink()

    assert (await limited.mirror.manifest(APP, child)).outcome is Outcome.MISS


async def test_an_explanation_names_the_platform(limited: Rig) -> None:
    """Denied, with what the image is for and what is let through."""
    index = limited.upstream.add_index(APP, platforms=ALL, tag="latest")
    await limited.mirror.manifest(APP, LATEST)

    told = await limited.mirrors.explain(f"library/app@{index.images[1].manifest_digest}")

    assert told.outcome == "denied"
    assert "linux/arm64" in told.reason
    assert "linux/amd64" in told.reason
