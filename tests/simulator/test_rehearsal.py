"""What an operator rehearses with is a registry that clients can really use."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.simulator.client import PullingClient
from roadstead.simulator.content import BytesContent, GeneratedContent, JoinedContent, tarred
from roadstead.simulator.rehearsal import PLATFORMS, Script, play


@given(
    parts=st.lists(st.binary(max_size=20), max_size=5),
    offset=st.integers(0, 60),
    count=st.integers(0, 60),
)
def test_joined_content_is_one_piece(parts: list[bytes], offset: int, count: int) -> None:
    """Any part of a joined content is that part of the whole."""
    whole = b"".join(parts)
    joined = JoinedContent(tuple(map(BytesContent, parts)))

    assert joined.size_bytes == len(whole)
    assert joined.read(offset, count) == whole[offset : offset + count]


@pytest.mark.parametrize("size", [0, 1, 512, 100_000])
def test_a_layer_can_be_unpacked(size: int) -> None:
    """Layers are tar archives of one file, whatever its size."""
    content = GeneratedContent(size, seed=1)
    layer = tarred("srv/data", content)

    with tarfile.open(fileobj=io.BytesIO(layer.read(0, layer.size_bytes))) as archive:
        (entry,) = archive.getmembers()
        file = archive.extractfile(entry)

        assert entry.name == "srv/data"
        assert file is not None
        assert file.read() == content.read(0, size)


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_every_image_can_be_pulled(platform: str) -> None:
    """Each image is there for each platform, with layers of its own."""
    script = Script(images=2, layers=3, layer_bytes=1000)
    async with play(script) as stage, PullingClient(stage.registry.url) as client:
        pulls = [
            await client.pull(repository, "latest", platform=platform)
            for repository in script.repositories
        ]

    assert [(pull.failure, pull.blobs) for pull in pulls] == [("", 4)] * 2
    assert len({pull.digest for pull in pulls}) == 2


async def test_a_platform_that_is_not_there_is_a_failure() -> None:
    """The client says what it misses."""
    script = Script(images=1, layers=1, layer_bytes=10)
    async with play(script) as stage, PullingClient(stage.registry.url) as client:
        pull = await client.pull("library/app1", "latest", platform="plan9/mips")

    assert pull.failure == "there is no image for plan9/mips"


async def test_a_registry_that_is_not_there_is_a_failure() -> None:
    """A refused connection is a result, not an exception."""
    async with play(Script(images=1, layers=1, layer_bytes=10)) as stage:
        url = stage.registry.url
    async with PullingClient(url) as client:
        pull = await client.pull("library/app1", "latest")

    assert pull.failure.startswith("the connection failed")
