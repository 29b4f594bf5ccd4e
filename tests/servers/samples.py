"""What the origin of the comparison holds: one image of each kind, small."""

import json
import random
from typing import Final

from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
)
from roadstead.oci.reference import referrers_tag
from tests.support.dockerregistry import push_blob, push_manifest

REPOSITORY: Final = "library/app"
OTHER: Final = "team/other"

_SIGNATURE: Final = "application/vnd.example.signature"


def _random(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)  # noqa: S311 - filler


def _described(media_type: str, content: bytes, **more: object) -> dict[str, object]:
    digest = str(Digest.of(content))
    return {"mediaType": media_type, "size": len(content), "digest": digest, **more}


def _manifest(media_type: str, config: bytes, layer: bytes, **more: object) -> bytes:
    stem = media_type.partition(".manifest.")[0]
    is_oci = media_type == OCI_MANIFEST
    layer_type = (
        f"{stem}.layer.v1.tar+gzip"
        if is_oci
        else "application/vnd.docker.image.rootfs.diff.tar.gzip"
    )
    config_type = (
        f"{stem}.config.v1+json" if is_oci else "application/vnd.docker.container.image.v1+json"
    )
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": _described(config_type, config),
        "layers": [_described(layer_type, layer)],
        **more,
    }
    return json.dumps(document).encode()


def _index(media_type: str, child_type: str, child: bytes) -> bytes:
    platform = {"architecture": "amd64", "os": "linux"}
    entry = _described(child_type, child, platform=platform)
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]}).encode()


CONFIG: Final = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-01-01T00:00:00Z",
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(b"layer"))]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "layer"}],
    }
).encode()

# Longer than what Roadstead sends in one piece, so that both ways of sending are compared.
LAYER: Final = _random(1, 100_000)

OCI_IMAGE: Final = _manifest(OCI_MANIFEST, CONFIG, LAYER)
DOCKER_IMAGE: Final = _manifest(DOCKER_MANIFEST, CONFIG, LAYER)
SIGNATURE: Final = _manifest(
    OCI_MANIFEST,
    CONFIG,
    LAYER,
    artifactType=_SIGNATURE,
    subject=_described(OCI_MANIFEST, OCI_IMAGE),
)

MANIFESTS: Final = {
    "oci": (OCI_MANIFEST, OCI_IMAGE),
    "docker": (DOCKER_MANIFEST, DOCKER_IMAGE),
    "index": (OCI_INDEX, _index(OCI_INDEX, OCI_MANIFEST, OCI_IMAGE)),
    "list": (DOCKER_MANIFEST_LIST, _index(DOCKER_MANIFEST_LIST, DOCKER_MANIFEST, DOCKER_IMAGE)),
    "signature": (OCI_MANIFEST, SIGNATURE),
    "referrers": (
        OCI_INDEX,
        json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [_described(OCI_MANIFEST, SIGNATURE, artifactType=_SIGNATURE)],
            }
        ).encode(),
    ),
}
"""Media type and bytes of each manifest, by the word that stands for it."""

BLOBS: Final = {
    "config": CONFIG,
    "layer": LAYER,
    "small": _random(2, 3000),
    "headed": _random(3, 2000),
    "ranged": _random(4, 90_000),
}
"""Each blob, by the word that stands for it; ``config`` and ``layer`` are those of the images."""

CONTENTS: Final = {**BLOBS, **{name: content for name, (_, content) in MANIFESTS.items()}}
DIGESTS: Final = {name: str(Digest.of(content)) for name, content in CONTENTS.items()} | {
    "absent": str(Digest.of(b"nobody has this"))
}

TAGS: Final = ("docker", "index", "list", "oci")


def fill(base_url: str) -> None:
    """Push all of it."""
    for content in BLOBS.values():
        push_blob(base_url, REPOSITORY, content)
    for name, (media_type, content) in MANIFESTS.items():
        tag = str(referrers_tag(Digest.of(OCI_IMAGE))) if name == "referrers" else name
        reference = tag if name in TAGS or name == "referrers" else DIGESTS[name]
        push_manifest(base_url, REPOSITORY, reference, content, media_type)
    push_blob(base_url, OTHER, CONFIG)
    push_blob(base_url, OTHER, LAYER)
    push_manifest(base_url, OTHER, "latest", OCI_IMAGE, OCI_MANIFEST)
