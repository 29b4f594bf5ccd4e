"""A real multi-platform image, written as an OCI layout; the same bytes every time."""

import gzip
import io
import json
import platform
import random
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import OCI_INDEX, OCI_MANIFEST

_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_CREATED = "2024-01-01T00:00:00Z"
_MIB = 1 << 20
ARCHITECTURES = ("amd64", "arm64")


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """What one platform's manifest names."""

    manifest: Digest
    config: Digest
    layers: tuple[Digest, ...]
    diff_ids: tuple[str, ...]

    @property
    def blobs(self) -> frozenset[Digest]:
        """Everything that a client of this platform fetches from ``/blobs/``."""
        return frozenset({self.config, *self.layers})


@dataclass(frozen=True, slots=True)
class Image:
    """An image index under ``tag`` in the OCI layout ``layout``."""

    layout: Path
    tag: str
    index: Digest
    platforms: Mapping[str, PlatformImage]

    @property
    def native(self) -> PlatformImage:
        """The image that clients on this machine choose."""
        return self.platforms["arm64" if platform.machine() == "aarch64" else "amd64"]

    @property
    def blobs(self) -> frozenset[Digest]:
        """Everything that a client of all platforms fetches from ``/blobs/``."""
        return frozenset().union(*(image.blobs for image in self.platforms.values()))


def write_image(layout: Path, *, tag: str, seed: int = 0) -> Image:
    """Write an index of two platforms: a small root file system, 3 MiB, and 12 MiB shared.

    Another ``seed`` gives other bytes.
    """
    writer = _LayoutWriter(layout)
    shared = _layer({"srv/shared": random.Random(seed + 1).randbytes(12 * _MIB)})  # noqa: S311 - filler
    platforms = {
        architecture: _platform(writer, architecture, seed + number, shared)
        for number, architecture in enumerate(ARCHITECTURES, start=2)
    }
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": str(image.manifest),
            "size": writer.sizes[image.manifest],
            "platform": {"architecture": architecture, "os": "linux"},
        }
        for architecture, image in platforms.items()
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    index = writer.add_document(document)
    writer.finish(tag, index)
    return Image(layout, tag, index, platforms)


def _platform(
    writer: "_LayoutWriter", architecture: str, seed: int, shared: bytes
) -> PlatformImage:
    content = random.Random(seed).randbytes(3 * _MIB)  # noqa: S311 - incompressible filler
    tars = [_root_file_system(architecture), _layer({"srv/own": content}), shared]
    layers = tuple(writer.add(gzip.compress(tar, compresslevel=1, mtime=0)) for tar in tars)
    diff_ids = tuple(str(Digest.of(tar)) for tar in tars)
    config = {
        "created": _CREATED,
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/app"]},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        "history": [{"created": _CREATED, "created_by": f"layer {n}"} for n in range(len(tars))],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": writer.describe(writer.add_document(config), _CONFIG),
        "layers": [writer.describe(layer, _LAYER) for layer in layers],
    }
    return PlatformImage(
        manifest=writer.add_document(manifest),
        config=Digest.of(json.dumps(config).encode()),
        layers=layers,
        diff_ids=diff_ids,
    )


def _root_file_system(architecture: str) -> bytes:
    return _layer(
        {
            "bin/app": b"#!/bin/sh\n",
            "etc/os-release": f'NAME="Test"\nVARIANT="{architecture}"\n'.encode(),
            "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n",
            "usr/share/doc/words": b"a gzip layer of text\n" * 50_000,
        }
    )


def _layer(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    directories = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in sorted(directories):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class _LayoutWriter:
    """Fills a directory as the image layout specification says."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.sizes: dict[Digest, int] = {}
        (root / "blobs/sha256").mkdir(parents=True)

    def add(self, content: bytes) -> Digest:
        """Write a blob."""
        digest = Digest.of(content)
        (self._root / "blobs/sha256" / digest.encoded).write_bytes(content)
        self.sizes[digest] = len(content)
        return digest

    def add_document(self, document: Mapping[str, object]) -> Digest:
        """Write a JSON blob."""
        return self.add(json.dumps(document).encode())

    def describe(self, digest: Digest, media_type: str) -> dict[str, object]:
        """Write the descriptor of a blob that was added."""
        return {"mediaType": media_type, "digest": str(digest), "size": self.sizes[digest]}

    def finish(self, tag: str, index: Digest) -> None:
        """Make ``index`` the layout's only entry."""
        (self._root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        named = {"annotations": {"org.opencontainers.image.ref.name": tag}}
        entry = {**self.describe(index, OCI_INDEX), **named}
        document = {"schemaVersion": 2, "manifests": [entry]}
        (self._root / "index.json").write_text(json.dumps(document))
