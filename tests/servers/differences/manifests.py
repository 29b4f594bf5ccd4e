"""Differences of manifests."""

from typing import Final

from roadstead.oci.mediatype import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_SCHEMA1_SIGNED,
    OCI_INDEX,
    OCI_MANIFEST,
)
from tests.servers.differences.entry import (
    JSON_UTF8,
    NOT_FOUND,
    YEAR,
    Difference,
    Parts,
    named,
    only_ours,
)
from tests.servers.differences.kinds import DIGESTS, TAGS


def _accepted(*cases: str, word: str, media_type: str, registry: Parts, reason: str) -> Difference:
    """Describe a manifest that Roadstead serves whatever the request accepts."""
    ours = _manifest(media_type, f"<{word}>", f"<{word}>")
    if "status" in registry:
        ours |= {"status": "200"}
    parts = dict.fromkeys({**registry, **ours}, "")
    return Difference(named(*cases), {**parts, **registry}, {**parts, **ours}, reason)


def _manifest(media_type: str, digest: str, body: str) -> dict[str, str]:
    return {
        "Content-Type": media_type,
        "Docker-Content-Digest": digest,
        "Etag": f'"{digest}"',
        "body": body,
    }


def _refused(kind: str, plural: str) -> Parts:
    return {
        "status": "404",
        "Content-Type": JSON_UTF8,
        "error code": "MANIFEST_UNKNOWN",
        "error message": f"{kind} found, but accept header does not support {plural}",
    }


_SCHEMA1_ANSWER: Final = _manifest(DOCKER_SCHEMA1_SIGNED, "<another digest>", "a schema 1 manifest")
_VERBATIM: Final = "manifests are served as they are stored: curl works, and no digest changes"

MANIFESTS: Final = (
    only_ours(TAGS, title="manifests by tag", Cache_Control="no-cache", reason="a tag can move"),
    only_ours(
        DIGESTS,
        title="manifests by digest",
        Cache_Control=f"{YEAR}, immutable",
        reason="what a digest names never changes",
    ),
    _accepted(
        "oci tag accepting anything",
        "oci tag without Accept",
        "oci manifest by digest without Accept",
        word="oci",
        media_type=OCI_MANIFEST,
        registry=_refused("OCI manifest", "OCI manifests"),
        reason=_VERBATIM,
    ),
    _accepted(
        "index tag accepting anything",
        "index tag without Accept",
        word="index",
        media_type=OCI_INDEX,
        registry=_refused("OCI index", "OCI indexes"),
        reason=_VERBATIM,
    ),
    _accepted(
        "docker tag accepting anything",
        "docker tag without Accept",
        word="docker",
        media_type=DOCKER_MANIFEST,
        registry=_SCHEMA1_ANSWER,
        reason=_VERBATIM,
    ),
    _accepted(
        "list tag accepting anything",
        "list tag without Accept",
        word="list",
        media_type=DOCKER_MANIFEST_LIST,
        registry=_SCHEMA1_ANSWER,
        reason=_VERBATIM,
    ),
    _accepted(
        "list tag accepting a manifest only",
        word="list",
        media_type=DOCKER_MANIFEST_LIST,
        registry=_manifest(DOCKER_MANIFEST, "<docker>", "<docker>"),
        reason="the list is served as it is stored; only clients older than Docker 1.10 would "
        "need the choice of linux/amd64 that 2.8.2 makes",
    ),
    only_ours(
        named("manifest, If-None-Match quoted", "manifest, If-None-Match bare"),
        Docker_Content_Digest="<oci>",
        Etag='"<oci>"',
        reason="a 304 has the headers of the 200 (RFC 9110)",
    ),
    Difference(
        named(*(f"manifest, If-None-Match {how}" for how in ("weak", "list", "star"))),
        {"status": "200", "Content-Type": OCI_MANIFEST, "body": "<oci>"},
        {"status": "304", "Content-Type": "", "body": ""},
        "all forms of If-None-Match (RFC 9110)",
    ),
    Difference(
        named("absent tag"),
        {"error detail": '{"Tag": "absent"}'},
        {"error detail": '{"name": "library/app", "reference": "absent"}'},
        "the detail is free; this one has the whole name",
    ),
    Difference(
        named("tag of an absent repository"),
        {"error detail": '{"Tag": "latest"}'},
        {"error detail": '{"name": "library/none", "reference": "latest"}'},
        "the detail is free; this one has the whole name",
    ),
    Difference(
        named("absent manifest by digest"),
        {
            "status": "500",
            "error code": "UNKNOWN",
            "error message": "unknown error",
            "error detail": '{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest '
            'unknown", "detail": {"Name": "library/app", "Revision": "<absent>"}}]}',
        },
        {
            "status": "404",
            "error code": "MANIFEST_UNKNOWN",
            "error message": "manifest unknown",
            "error detail": '{"name": "library/app", "reference": "<absent>"}',
        },
        "the true cause",
    ),
    Difference(
        named("manifest, digest without hex"),
        {
            "status": "500",
            "error code": "UNKNOWN",
            "error message": "unknown error",
            "error detail": '{"Path": "/docker/registry/v2/repositories/library/app/_manifests/'
            'tags/sha256:bad/current/link", "DriverName": "filesystem"}',
        },
        {
            "status": "400",
            "error code": "DIGEST_INVALID",
            "error message": "invalid digest: 'sha256:bad'",
            "error detail": '"sha256:bad"',
        },
        "the true cause, and no path of the server",
    ),
    Difference(
        named("manifest, broken tag"),
        {"body": NOT_FOUND, "error code": "", "error message": "", "error detail": ""},
        {
            "body": "",
            "error code": "MANIFEST_UNKNOWN",
            "error message": "invalid tag: '.INVALID_MANIFEST_NAME'",
            "error detail": '".INVALID_MANIFEST_NAME"',
        },
        "says what is wrong; the status is what the specification's conformance suite wants",
    ),
)
