"""What a scripted registry holds: bytes that may be generated on the fly, and images of them.

A blob is anything with a size and a ``read``; a generated one of 4 GiB needs no memory.
"""

import hashlib
import json
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from roadstead.oci import mediatype
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest

# No power of two, so that a range served from a wrong, round offset cannot look right.
_BLOCK_BYTES = 1_048_573
_HASH_STEP_BYTES = 1 << 20


class Content(Protocol):
    """Some bytes, readable from any offset."""

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""

    def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``; fewer only at the end."""


@dataclass(frozen=True, slots=True)
class BytesContent:
    """Bytes in memory."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        return len(self.data)

    def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``."""
        return self.data[offset : offset + count]


@dataclass(frozen=True, slots=True)
class GeneratedContent:
    """``size_bytes`` bytes that follow from ``seed``: one random block, repeated."""

    size_bytes: int
    seed: int = 0

    def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``."""
        block = _block(self.seed)
        left = min(count, max(0, self.size_bytes - offset))
        pieces = []
        while left > 0:
            inside = offset % _BLOCK_BYTES
            piece = block[inside : inside + left]
            pieces.append(piece)
            offset += len(piece)
            left -= len(piece)
        return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class JoinedContent:
    """Several contents, one behind the other."""

    parts: tuple[Content, ...]

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        return sum(part.size_bytes for part in self.parts)

    def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``."""
        pieces = []
        for part in self.parts:
            piece = part.read(offset, count) if offset < part.size_bytes else b""
            pieces.append(piece)
            count -= len(piece)
            offset = max(0, offset - part.size_bytes)
        return b"".join(pieces)


def tarred(name: str, content: Content) -> Content:
    """Wrap a content as the one file of a tar archive: a layer that clients can unpack."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = content.size_bytes, 0o644
    padding = -content.size_bytes % tarfile.BLOCKSIZE
    end = BytesContent(bytes(padding + 2 * tarfile.BLOCKSIZE))
    return JoinedContent((BytesContent(entry.tobuf()), content, end))


@dataclass(frozen=True, slots=True)
class CorruptedContent:
    """Another content with the bits of one byte turned over."""

    original: Content
    position: int

    @property
    def size_bytes(self) -> int:
        """How many bytes there are."""
        return self.original.size_bytes

    def read(self, offset: int, count: int) -> bytes:
        """Return up to ``count`` bytes from ``offset``."""
        data = bytearray(self.original.read(offset, count))
        inside = self.position - offset
        if 0 <= inside < len(data):
            data[inside] ^= 0xFF
        return bytes(data)


def digest_of(content: Content, algorithm: str = "sha256") -> Digest:
    """Hash any content piece by piece."""
    hasher = hashlib.new(algorithm)
    for offset in range(0, content.size_bytes, _HASH_STEP_BYTES):
        hasher.update(content.read(offset, _HASH_STEP_BYTES))
    return Digest(algorithm, hasher.hexdigest())


@dataclass(frozen=True, slots=True)
class SimulatedBlob:
    """A blob that was added to a registry."""

    descriptor: Descriptor
    content: Content

    @property
    def digest(self) -> Digest:
        """Address of the blob."""
        return self.descriptor.digest

    def read(self) -> bytes:
        """Return the whole blob; for small ones."""
        return self.content.read(0, self.content.size_bytes)


@dataclass(frozen=True, slots=True)
class SimulatedImage:
    """An image for one platform."""

    manifest_digest: Digest
    media_type: str
    content: bytes
    platform: str
    config: SimulatedBlob
    layers: tuple[SimulatedBlob, ...]

    @property
    def descriptor(self) -> Descriptor:
        """How an index points at this image."""
        return Descriptor(self.media_type, self.manifest_digest, len(self.content))

    @property
    def blobs(self) -> tuple[SimulatedBlob, ...]:
        """Config and layers, in the order of the manifest."""
        return (self.config, *self.layers)


@dataclass(frozen=True, slots=True)
class SimulatedIndex:
    """An index, or a Docker manifest list, with its images."""

    manifest_digest: Digest
    media_type: str
    content: bytes
    images: tuple[SimulatedImage, ...]

    @property
    def descriptor(self) -> Descriptor:
        """How another index points at this one."""
        return Descriptor(self.media_type, self.manifest_digest, len(self.content))


def build_image(
    layers: Sequence[Content],
    *,
    platform: str,
    media_type: str = mediatype.OCI_MANIFEST,
    fields: dict[str, Any] | None = None,
) -> SimulatedImage:
    """Make an image's config and manifest; ``fields`` are added to the manifest.

    ``platform`` is ``os/architecture`` or ``os/architecture/variant``.
    """
    docker = media_type == mediatype.DOCKER_MANIFEST
    layer_type = (
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
        if docker
        else "application/vnd.oci.image.layer.v1.tar"
    )
    config_type = (
        "application/vnd.docker.container.image.v1+json"
        if docker
        else "application/vnd.oci.image.config.v1+json"
    )
    layer_blobs = tuple(_blob(layer, layer_type) for layer in layers)
    config_document = {
        **_platform_fields(platform),
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(layer.digest) for layer in layer_blobs]},
    }
    config = _blob(BytesContent(_encode(config_document)), config_type)
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor_document(config.descriptor),
        "layers": [descriptor_document(layer.descriptor) for layer in layer_blobs],
        **(fields or {}),
    }
    content = _encode(document)
    return SimulatedImage(Digest.of(content), media_type, content, platform, config, layer_blobs)


def build_index(
    images: Sequence[SimulatedImage],
    *,
    media_type: str = mediatype.OCI_INDEX,
    fields: dict[str, Any] | None = None,
) -> SimulatedIndex:
    """Make an index of ``images``; ``fields`` are added to the document."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [
            {
                **descriptor_document(image.descriptor),
                "platform": _platform_fields(image.platform),
            }
            for image in images
        ],
        **(fields or {}),
    }
    content = _encode(document)
    return SimulatedIndex(Digest.of(content), media_type, content, tuple(images))


def descriptor_document(descriptor: Descriptor) -> dict[str, Any]:
    """Write a descriptor as the JSON object of the image-spec."""
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }


def _blob(content: Content, media_type: str) -> SimulatedBlob:
    digest = digest_of(content)
    return SimulatedBlob(Descriptor(media_type, digest, content.size_bytes), content)


def _platform_fields(platform: str) -> dict[str, str]:
    names = ("os", "architecture", "variant")
    return dict(zip(names, platform.split("/"), strict=False))


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=3).encode()


@lru_cache(maxsize=8)
def _block(seed: int) -> bytes:
    return random.Random(seed).randbytes(_BLOCK_BYTES)  # noqa: S311 - content, not a secret
