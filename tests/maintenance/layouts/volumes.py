"""Stores with images in them, and the names by which those go."""

from collections.abc import Sequence
from pathlib import Path

from roadstead.maintenance.layouts.exporter import Export, combine, write_export
from roadstead.maintenance.layouts.importer import Importer, ImportStore, PlannedImage
from roadstead.maintenance.layouts.names import ImageNamer
from roadstead.maintenance.layouts.reading import layout_reader
from roadstead.maintenance.layouts.selection import Selector
from roadstead.mirror.routing import Router, RouteRules
from roadstead.oci.platform import Platform
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.simulator.content import SimulatedImage, SimulatedIndex
from roadstead.storage.base import Store
from tests.storage.blobs import hold_blob
from tests.support.volumes import files_below

APP = RepositoryName("library/app")
GHCR_APP = RepositoryName("ghcr.io/org/app")
CONFIRMED_AT = 1_700_000_000.0

_RULES = (
    RouteRules("docker.io", frozenset({"docker.io"}), adds_library=True),
    RouteRules("ghcr.io", frozenset({"ghcr.io"}), "ghcr.io/"),
    RouteRules(
        "corp",
        frozenset({"corp", "harbor.corp:8443"}),
        "corp/",
        deny=("secret/*",),
    ),
)
NAMER = ImageNamer(
    Router(_RULES, default="docker.io"),
    {"docker.io": "docker.io", "ghcr.io": "ghcr.io", "corp": "harbor.corp:8443"},
)


async def hold(
    store: Store,
    repository: RepositoryName,
    image: SimulatedImage | SimulatedIndex,
    *,
    tag: str | None = None,
) -> None:
    """Put an image, or an index with all its images, into a store."""
    for one in image.images if isinstance(image, SimulatedIndex) else (image,):
        for blob in one.blobs:
            hold_blob(store, blob.read(), repository)
        await store.write_manifest(repository, one.manifest_digest, one.content)
    await hold_manifest(store, repository, image, tag=tag)


async def hold_manifest(
    store: Store,
    repository: RepositoryName,
    image: SimulatedImage | SimulatedIndex,
    *,
    tag: str | None = None,
) -> None:
    """Put a manifest into a store, and nothing that it needs."""
    await store.write_manifest(repository, image.manifest_digest, image.content)
    if tag is not None:
        await store.write_tag(repository, Tag(tag), image.manifest_digest, CONFIRMED_AT)


async def export(
    store: Store,
    target: Path,
    *names: str,
    platforms: Sequence[str] = (),
    hard_links: bool = False,
) -> Export:
    """Export images by name."""
    selector = Selector(store, [Platform.parse(text) for text in platforms])
    images = [NAMER.find(name) for name in names]
    exported = combine([(image, await selector.select(image)) for image in images])
    counted: list[int] = []
    await write_export(exported, store, target, report=counted.append, hard_links=hard_links)
    assert sum(counted) == exported.size_bytes
    return exported


async def take_in(
    store: ImportStore, layout: Path, *, rename: str | None = None
) -> list[PlannedImage]:
    """Import a layout."""
    importer = Importer(store, NAMER)
    counted: list[int] = []
    with layout_reader(layout) as reader:
        planned = await importer.plan(reader, rename)
        await importer.perform(reader, planned, report=counted.append)
    assert sum(counted) == sum(one.size_bytes for one in planned)
    return planned


def contents_of(volume: Path) -> dict[str, bytes]:
    """Return all files of a volume but those that processes speak to each other by."""
    apart = ("roadstead/links.", "roadstead/removals", "roadstead/metadata")
    return {
        name: content for name, content in files_below(volume).items() if not name.startswith(apart)
    }
