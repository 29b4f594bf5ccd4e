"""OCI image layouts: what lies where in one, and its documents (image-spec, image-layout.md)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from roadstead.errors import ManifestInvalidError
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import parse_descriptor
from roadstead.oci.mediatype import OCI_INDEX

LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
LAYOUT_DOCUMENT = b'{"imageLayoutVersion":"1.0.0"}'

_REF_NAME = "org.opencontainers.image.ref.name"
# BuildKit and `docker save` put the full name here and often only the tag into ref.name; `ctr
# images import` and `docker load` read it first.
_FULL_NAME = "io.containerd.image.name"
_CONFIRMED = "io.roadstead.confirmed"


@dataclass(frozen=True, slots=True)
class LayoutEntry:
    """A line of a layout's ``index.json``.

    ``name`` is what the layout calls it, if anything. ``confirmed_at``, in seconds since the
    epoch, is when its registry last said that the tag in ``name`` points at it.
    """

    descriptor: Descriptor
    name: str | None = None
    confirmed_at: float | None = None


def blob_path(digest: Digest) -> str:
    """Return where a blob lies below the layout's root."""
    return f"blobs/{digest.algorithm}/{digest.encoded}"


def write_index(entries: Sequence[LayoutEntry]) -> bytes:
    """Write ``index.json``."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [_written(entry) for entry in entries],
    }
    return json.dumps(document, indent=2).encode()


def read_index(content: bytes) -> list[LayoutEntry]:
    """Read ``index.json``.

    Raises:
        ManifestInvalidError: it is no index.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"{INDEX_FILE} is not JSON: {error}"
        raise ManifestInvalidError(message) from error
    listed = document.get("manifests") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        message = f"{INDEX_FILE} lists no manifests"
        raise ManifestInvalidError(message)
    return [_read(item) for item in listed]


def _written(entry: LayoutEntry) -> dict[str, Any]:
    descriptor = entry.descriptor
    document: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
    }
    annotations: dict[str, str] = {}
    if entry.name is not None:
        annotations[_REF_NAME] = entry.name
        # What has no tag is no image that a container engine should load under a name.
        if "@" not in entry.name:
            annotations[_FULL_NAME] = entry.name
    if entry.confirmed_at is not None:
        annotations[_CONFIRMED] = datetime.fromtimestamp(entry.confirmed_at, UTC).isoformat()
    if annotations:
        document["annotations"] = annotations
    return document


def _read(value: object) -> LayoutEntry:
    descriptor = parse_descriptor(value)
    annotations = value.get("annotations") if isinstance(value, dict) else None
    if not isinstance(annotations, dict):
        return LayoutEntry(descriptor)
    name = annotations.get(_FULL_NAME) or annotations.get(_REF_NAME)
    return LayoutEntry(
        descriptor,
        name if isinstance(name, str) else None,
        _seconds(annotations.get(_CONFIRMED)),
    )


def _seconds(value: object) -> float | None:
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, OverflowError):
        return None
