"""Whatever leaves arrives, byte for byte: for all images, platforms and names."""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from roadstead.oci import mediatype
from roadstead.oci.reference import RepositoryName
from roadstead.simulator.content import (
    BytesContent,
    SimulatedImage,
    SimulatedIndex,
    build_image,
    build_index,
)
from roadstead.storage.filesystem import FilesystemStore
from tests.maintenance.layouts.volumes import contents_of, export, hold, take_in
from tests.support.strategies import repositories, tags

# Hundreds of syncs: in memory, where that is possible.
_WHERE = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - made by tempfile
_PLATFORMS = ["linux/amd64", "linux/arm64", "linux/arm/v7", "windows/amd64"]


def images(media_type: str) -> st.SearchStrategy[SimulatedImage]:
    """Make images with no, some or equal layers."""
    return st.builds(
        lambda layers, platform: build_image(
            [BytesContent(layer) for layer in layers], platform=platform, media_type=media_type
        ),
        st.lists(st.binary(min_size=1, max_size=200), max_size=3),
        st.sampled_from(_PLATFORMS),
    )


@st.composite
def contents(draw: st.DrawFn) -> SimulatedImage | SimulatedIndex:
    """Make an image or an index, in the terms of OCI or of Docker."""
    is_docker = draw(st.booleans())
    kind = images(mediatype.DOCKER_MANIFEST if is_docker else mediatype.OCI_MANIFEST)
    if draw(st.booleans()):
        return draw(kind)
    listed = draw(st.lists(kind, min_size=1, max_size=3))
    index_type = mediatype.DOCKER_MANIFEST_LIST if is_docker else mediatype.OCI_INDEX
    return build_index(listed, media_type=index_type)


@settings(max_examples=25, deadline=None)
@given(
    held=st.lists(st.tuples(repositories(), tags(), contents()), min_size=1, max_size=3),
    archive=st.booleans(),
)
def test_export_and_import_are_each_others_inverse(
    *, held: list[tuple[RepositoryName, str, SimulatedImage | SimulatedIndex]], archive: bool
) -> None:
    """An empty store that imports an export becomes the store that was exported."""
    # The last image of a tag is the one it points at; what it pointed at before stays behind.
    last = {(repository, tag): image for repository, tag, image in held}

    async def travel(directory: Path) -> None:
        source = FilesystemStore(directory / "source", boot_id="boot")
        target = FilesystemStore(directory / "target", boot_id="boot")
        for (repository, tag), image in last.items():
            await hold(source, RepositoryName(f"ghcr.io/{repository}"[:255]), image, tag=tag)
        names = [f"ghcr.io/{repository}"[:255] + f":{tag}" for repository, tag in last]
        layout = directory / ("out.tar" if archive else "out")
        await export(source, layout, *names)
        await take_in(target, layout)
        assert contents_of(directory / "target") == contents_of(directory / "source")

    with TemporaryDirectory(dir=_WHERE) as directory:
        asyncio.run(travel(Path(directory)))
