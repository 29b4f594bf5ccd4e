"""Reading manifests: which kind a document is and what it points at.

Bytes are never rewritten: a manifest is stored and served as upstream sent it. This module
only looks inside.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from roadstead.errors import InvalidReferenceError, ManifestInvalidError
from roadstead.oci import mediatype
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.platform import Platform

_LONGEST_PLATFORM = 100
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest document says, as far as a mirror has to know it.

    ``children`` are the manifests of an index; ``blobs`` the config and the layers of an
    image, in that order. Layers with foreign URLs are included, as in the document.
    """

    media_type: str
    children: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str | None = None

    @property
    def is_index(self) -> bool:
        """Whether this points at other manifests rather than at blobs."""
        return self.media_type in mediatype.INDEXES


def parse_manifest(content: bytes, content_type: str | None = None) -> Manifest:
    """Read a manifest of any kind: OCI image or index, Docker schema 2 or list, schema 1.

    ``content_type`` is what the sender called it; the document's own ``mediaType`` wins,
    then its structure decides, as distribution does for stored manifests.

    Raises:
        ManifestInvalidError: the document is no JSON object or no kind of manifest.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"the document is not JSON: {error}"
        raise ManifestInvalidError(message) from error
    if not isinstance(document, dict):
        message = "the document is not a JSON object"
        raise ManifestInvalidError(message)

    media_type = _media_type(document, content_type)
    artifact_type = document.get("artifactType")
    subject = document.get("subject")
    return Manifest(
        media_type=media_type,
        children=_descriptors(document.get("manifests")),
        blobs=_blobs(document),
        subject=parse_descriptor(subject) if subject is not None else None,
        artifact_type=artifact_type if isinstance(artifact_type, str) else None,
    )


def parse_descriptor(value: object) -> Descriptor:
    """Read the descriptor in a JSON document.

    Raises:
        ManifestInvalidError: it is none, or has no usable digest.
    """
    if not isinstance(value, dict):
        message = "a descriptor is not a JSON object"
        raise ManifestInvalidError(message)
    size = value.get("size")
    media_type = value.get("mediaType")
    return Descriptor(
        media_type=media_type if isinstance(media_type, str) else mediatype.OCTET_STREAM,
        digest=_digest(value.get("digest")),
        size=size if isinstance(size, int) and size >= 0 else 0,
        platform=_platform(value.get("platform")),
    )


def _media_type(document: dict[str, Any], content_type: str | None) -> str:
    declared = document.get("mediaType")
    # It becomes a header: what is not spelled as a media type (RFC 6838) is not taken for one.
    if isinstance(declared, str) and _MEDIA_TYPE.fullmatch(declared):
        return declared
    if document.get("schemaVersion") == 1:
        signed = "signatures" in document
        return mediatype.DOCKER_SCHEMA1_SIGNED if signed else mediatype.DOCKER_SCHEMA1
    if content_type in mediatype.MANIFESTS:
        return content_type
    if isinstance(document.get("manifests"), list):
        return mediatype.OCI_INDEX
    if "config" in document and isinstance(document.get("layers"), list):
        return mediatype.OCI_MANIFEST
    message = "the document is no kind of manifest: it has neither manifests nor config and layers"
    raise ManifestInvalidError(message)


def _blobs(document: dict[str, Any]) -> tuple[Descriptor, ...]:
    if document.get("schemaVersion") == 1:
        layers = document.get("fsLayers")
        if not isinstance(layers, list):
            return ()
        # Schema 1 gives no sizes; 0 stands for unknown. Newest layer first in the document.
        return tuple(
            Descriptor(mediatype.OCTET_STREAM, _digest(layer.get("blobSum")), 0)
            for layer in reversed(layers)
            if isinstance(layer, dict)
        )
    config = document.get("config")
    head = (parse_descriptor(config),) if isinstance(config, dict) else ()
    return head + _descriptors(document.get("layers"))


def _descriptors(value: object) -> tuple[Descriptor, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        message = "a list of descriptors is expected"
        raise ManifestInvalidError(message)
    return tuple(parse_descriptor(item) for item in value)


def _platform(value: object) -> Platform | None:
    """Read a platform; one that names no system and architecture says nothing."""
    if not isinstance(value, dict):
        return None
    os, architecture, variant = (
        text if isinstance(text := value.get(key), str) else ""
        for key in ("os", "architecture", "variant")
    )
    # They are remembered; no name in use is longer.
    is_short = len(os) + len(architecture) + len(variant) <= _LONGEST_PLATFORM
    return Platform.of(os, architecture, variant) if os and architecture and is_short else None


def _digest(value: object) -> Digest:
    try:
        return Digest.parse(str(value))
    except InvalidReferenceError as error:
        message = f"a descriptor has no usable digest: {value!r}"
        raise ManifestInvalidError(message) from error
