"""Reading manifests."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.errors import ManifestInvalidError
from roadstead.oci import mediatype
from roadstead.oci.descriptor import Descriptor
from roadstead.oci.digest import Digest
from roadstead.oci.manifest import parse_manifest
from tests.support.strategies import digests

DIGEST = Digest.of(b"child")
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

descriptors = st.builds(
    Descriptor,
    media_type=st.sampled_from([CONFIG_TYPE, LAYER_TYPE, mediatype.OCI_MANIFEST]),
    digest=digests(),
    size=st.integers(0, 1 << 50),
)


def _json(descriptor: Descriptor) -> dict[str, Any]:
    return {
        "mediaType": descriptor.media_type,
        "digest": str(descriptor.digest),
        "size": descriptor.size,
        "annotations": {"of": "no interest"},
    }


def _bytes(document: object) -> bytes:
    return json.dumps(document).encode()


@given(
    config=descriptors,
    layers=st.lists(descriptors, max_size=5),
    subject=st.none() | descriptors,
    kind=st.sampled_from([None, mediatype.OCI_MANIFEST, mediatype.DOCKER_MANIFEST]),
)
def test_an_image_points_at_config_and_layers(
    config: Descriptor, layers: list[Descriptor], subject: Descriptor | None, kind: str | None
) -> None:
    """An image's blobs are its config and its layers in order; it has no children."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "config": _json(config),
        "layers": [_json(layer) for layer in layers],
        "artifactType": "application/example",
    }
    if kind is not None:
        document["mediaType"] = kind
    if subject is not None:
        document["subject"] = _json(subject)

    manifest = parse_manifest(_bytes(document))

    assert manifest.media_type == (kind or mediatype.OCI_MANIFEST)
    assert manifest.blobs == (config, *layers)
    assert manifest.children == ()
    assert manifest.subject == subject
    assert manifest.artifact_type == "application/example"
    assert not manifest.is_index


@given(
    children=st.lists(descriptors, max_size=5),
    kind=st.sampled_from([None, mediatype.OCI_INDEX, mediatype.DOCKER_MANIFEST_LIST]),
)
def test_an_index_points_at_manifests(children: list[Descriptor], kind: str | None) -> None:
    """An index's children are its manifests in order; it has no blobs."""
    document: dict[str, Any] = {"schemaVersion": 2, "manifests": [_json(each) for each in children]}
    if kind is not None:
        document["mediaType"] = kind

    manifest = parse_manifest(_bytes(document))

    assert manifest.media_type == (kind or mediatype.OCI_INDEX)
    assert manifest.children == tuple(children)
    assert manifest.blobs == ()
    assert manifest.is_index


@given(layers=st.lists(digests(), max_size=5), signed=st.booleans())
def test_schema_1_lists_its_layers_newest_first(layers: list[Digest], signed: bool) -> None:  # noqa: FBT001 - given by name
    """The layers of schema 1 are turned round, so that the lowest comes first, sizes unknown."""
    document: dict[str, Any] = {
        "schemaVersion": 1,
        "fsLayers": [{"blobSum": str(digest)} for digest in reversed(layers)],
    }
    if signed:
        document["signatures"] = []

    manifest = parse_manifest(_bytes(document))

    assert manifest.media_type == (
        mediatype.DOCKER_SCHEMA1_SIGNED if signed else mediatype.DOCKER_SCHEMA1
    )
    assert [blob.digest for blob in manifest.blobs] == layers
    assert {blob.size for blob in manifest.blobs} <= {0}


def test_the_document_knows_its_type_best() -> None:
    """The document's own type wins over the sender's, which wins over the structure."""
    own: dict[str, Any] = {"mediaType": mediatype.DOCKER_MANIFEST, "config": None, "layers": []}
    assert parse_manifest(_bytes(own), mediatype.OCI_MANIFEST).media_type == (
        mediatype.DOCKER_MANIFEST
    )
    silent: dict[str, Any] = {"manifests": []}
    sent = parse_manifest(_bytes(silent), mediatype.DOCKER_MANIFEST_LIST)
    assert sent.media_type == mediatype.DOCKER_MANIFEST_LIST
    assert parse_manifest(_bytes(silent), "text/plain").media_type == mediatype.OCI_INDEX


def test_what_is_missing_in_a_descriptor_has_a_stand_in() -> None:
    """A descriptor needs a digest only: no type is octets, no sensible size is 0."""
    digest = "sha256:" + "0" * 64
    document = {"config": {"digest": digest, "size": -1}, "layers": []}
    (config,) = parse_manifest(_bytes(document)).blobs
    assert (config.media_type, config.size) == (mediatype.OCTET_STREAM, 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'"text"',
        b"{}",
        b'{"layers": []}',
        b'{"config": {}, "layers": {}}',
        b'{"config": {"digest": "sha256:0"}, "layers": []}',
        b'{"config": {}, "layers": [1]}',
        b'{"manifests": [{"digest": null}]}',
        b'{"manifests": [], "subject": "text"}',
        b'{"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": {}}',
        b'{"schemaVersion": 1, "fsLayers": [{}]}',
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    """A document without shape or with unusable digests is an error, not a guess."""
    with pytest.raises(ManifestInvalidError):
        parse_manifest(content)


_keys = st.sampled_from(
    [
        *("schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests"),
        *("subject", "fsLayers", "signatures", "digest", "size", "blobSum"),
    ]
)
_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=5),
    max_leaves=12,
)


@given(st.binary() | st.dictionaries(_keys, _json_values).map(_bytes), st.none() | st.text())
def test_any_bytes_are_a_manifest_or_refused(content: bytes, content_type: str | None) -> None:
    """Whatever upstream sends, reading it ends in a manifest or in one kind of error."""
    try:
        manifest = parse_manifest(content, content_type)
    except ManifestInvalidError:
        return
    assert manifest.media_type


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"os": "linux", "architecture": "arm", "variant": "v7"}, "linux/arm/v7"),
        ({"os": "linux", "architecture": "amd64", "os.version": "1"}, "linux/amd64"),
        ({"os": "unknown", "architecture": "unknown"}, "unknown/unknown"),
        ({"os": "linux"}, "None"),
        ({"os": "linux", "architecture": "a" * 1000}, "None"),
        ({"os": 1, "architecture": []}, "None"),
        ("linux/amd64", "None"),
        (None, "None"),
    ],
)
def test_children_have_platforms(given: object, expected: str) -> None:
    """What is no platform is none, and spoils nothing."""
    child = {"mediaType": mediatype.OCI_MANIFEST, "digest": str(DIGEST), "size": 1}
    document = {"schemaVersion": 2, "manifests": [{**child, "platform": given}]}

    (descriptor,) = parse_manifest(_bytes(document)).children

    assert str(descriptor.platform) == expected
