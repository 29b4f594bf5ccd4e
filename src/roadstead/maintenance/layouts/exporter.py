"""Out of the store: chosen images as one layout."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roadstead.errors import ImageLayoutError
from roadstead.maintenance.layouts.names import NamedImage
from roadstead.maintenance.layouts.selection import LeftOut, Selection
from roadstead.maintenance.layouts.writing import LayoutWriter, Report, layout_writer
from roadstead.oci.digest import Digest
from roadstead.oci.imagelayout import LayoutEntry
from roadstead.storage.base import Store


@dataclass(frozen=True, slots=True)
class ExportedImage:
    """What became of one image; ``companions`` are the names of what refers to it."""

    name: str
    digest: Digest
    left_out: tuple[LeftOut, ...]
    companions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Export:
    """What is about to be written, or was; each blob once. ``size_bytes`` is all of it."""

    images: tuple[ExportedImage, ...]
    entries: tuple[LayoutEntry, ...]
    manifests: dict[Digest, bytes]
    blobs: dict[Digest, int]

    @property
    def size_bytes(self) -> int:
        """Size of all blobs and manifests together."""
        return sum(self.blobs.values()) + sum(map(len, self.manifests.values()))


def combine(selected: Sequence[tuple[NamedImage, Selection]]) -> Export:
    """Put what was selected of each image into one layout."""
    entries: dict[tuple[str | None, Digest], LayoutEntry] = {}
    manifests: dict[Digest, bytes] = {}
    blobs: dict[Digest, int] = {}
    images = []
    for image, selection in selected:
        manifests |= selection.manifests
        blobs |= selection.blobs
        entries |= {(each.name, each.descriptor.digest): each for each in selection.entries}
        top, *companions = selection.entries
        images.append(
            ExportedImage(
                name=image.name,
                digest=top.descriptor.digest,
                left_out=tuple(selection.left_out),
                companions=tuple(each.name or "" for each in companions),
            )
        )
    return Export(tuple(images), tuple(entries.values()), manifests, blobs)


async def write_export(
    export: Export, store: Store, target: Path, *, report: Report, hard_links: bool = False
) -> None:
    """Write it, whole or not at all; ``report`` is called from another thread.

    Raises:
        ImageLayoutError: the target is there already, or a blob was removed meanwhile.
        DigestMismatchError: a blob in the store is damaged.
        OSError: the target cannot be written.
    """
    await asyncio.to_thread(_write, export, store, target, report, hard_links=hard_links)


def _write(export: Export, store: Store, target: Path, report: Report, *, hard_links: bool) -> None:
    with layout_writer(target, hard_links=hard_links) as writer:
        for digest in export.blobs:
            _copy(writer, store, digest, report)
        for digest, content in export.manifests.items():
            writer.add_manifest(digest, content, report)
        writer.finish(export.entries)


def _copy(writer: LayoutWriter, store: Store, digest: Digest, report: Report) -> None:
    blob = store.open_blob(digest)
    if blob is None:
        message = f"{digest} was removed while it was to be exported"
        raise ImageLayoutError(message)
    with blob.file:
        writer.add(digest, blob, report)
