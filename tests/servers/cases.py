"""The requests of the comparison, in the order in which both servers get them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from roadstead.oci.mediatype import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_INDEX,
    OCI_MANIFEST,
)
from tests.servers.samples import OTHER, REPOSITORY

Headers = tuple[tuple[str, str], ...]

_ALL_TYPES: Final = (DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_MANIFEST, OCI_INDEX)
_CONTAINERD: Final[Headers] = (("Accept", ", ".join((*_ALL_TYPES, "*/*"))),)
_DOCKER: Final[Headers] = tuple(("Accept", kind) for kind in _ALL_TYPES)


@dataclass(frozen=True, slots=True)
class Case:
    """One request; ``<word>`` in target and headers stands for a digest of the samples."""

    name: str
    method: str
    target: str
    headers: Headers = ()
    body: bytes | None = None

    @property
    def is_head(self) -> bool:
        """Whether the answer has no body."""
        return self.method == "HEAD"


def _accepting(*types: str) -> Headers:
    return (("Accept", ", ".join(types)),)


def _both(name: str, target: str, headers: Headers = ()) -> Iterable[Case]:
    for method in ("GET", "HEAD"):
        yield Case(f"{method} {name}", method, target, headers)


_APP: Final = f"/v2/{REPOSITORY}"
_LAYER: Final = f"{_APP}/blobs/<layer>"
_OCI: Final = f"{_APP}/manifests/oci"

COLD: Final = (
    *_both("/", "/"),
    Case("/v2", "GET", "/v2"),
    *_both("/v2/", "/v2/"),
    Case("OPTIONS /v2/", "OPTIONS", "/v2/"),
    Case("POST /v2/", "POST", "/v2/", body=b""),
    Case("catalog of an empty mirror", "GET", "/v2/_catalog"),
    Case("tags before any pull", "GET", f"{_APP}/tags/list"),
    *_both("tag, cold", _OCI, _CONTAINERD),
    Case("manifest by digest, cold", "GET", f"{_APP}/manifests/<signature>", _CONTAINERD),
    Case("absent tag", "GET", f"{_APP}/manifests/absent", _CONTAINERD),
    Case("HEAD absent tag", "HEAD", f"{_APP}/manifests/absent", _CONTAINERD),
    Case("absent manifest by digest", "GET", f"{_APP}/manifests/<absent>", _CONTAINERD),
    Case("tag of an absent repository", "GET", "/v2/library/none/manifests/latest", _CONTAINERD),
    Case("blob, cold", "GET", _LAYER),
    Case("small blob, cold", "GET", f"{_APP}/blobs/<small>"),
    Case("HEAD blob, cold", "HEAD", f"{_APP}/blobs/<headed>"),
    Case("Range of a blob, cold", "GET", f"{_APP}/blobs/<ranged>", (("Range", "bytes=10-19"),)),
    *_both("absent blob", f"{_APP}/blobs/<absent>"),
)
"""Asked of servers that hold nothing yet."""

_RANGES: Final = {
    "first bytes": "bytes=0-99",
    "middle": "bytes=70000-79999",
    "open end": "bytes=99990-",
    "suffix": "bytes=-10",
    "suffix longer than the blob": "bytes=-200000",
    "end past the end": "bytes=99990-200000",
    "past the end": "bytes=100000-",
    "several": "bytes=0-9, 20-29",
    "several, one past the end": "bytes=0-9, 200000-",
    "several, overlapping": "bytes=0-99999, 0-99999",
    "backwards": "bytes=9-0",
    "no number": "bytes=a-b",
    "another unit": "lines=1-2",
}

_ACCEPTS: Final = {
    "by docker": _DOCKER,
    "by containerd": _CONTAINERD,
    "accepting anything": _accepting("*/*"),
    "without Accept": (),
}

WARM: Final = (
    *_both("tag", _OCI, _CONTAINERD),
    *(
        Case(f"{kind} tag {how}", "GET", f"{_APP}/manifests/{kind}", headers)
        for kind in ("oci", "docker", "index", "list")
        for how, headers in _ACCEPTS.items()
    ),
    Case(
        "list tag accepting a manifest only",
        "GET",
        f"{_APP}/manifests/list",
        _accepting(DOCKER_MANIFEST),
    ),
    *_both("manifest by digest", f"{_APP}/manifests/<oci>", _CONTAINERD),
    Case("docker manifest by digest without Accept", "GET", f"{_APP}/manifests/<docker>"),
    Case("oci manifest by digest without Accept", "GET", f"{_APP}/manifests/<oci>"),
    *(
        Case(
            f"manifest, If-None-Match {how}", "GET", _OCI, (*_CONTAINERD, ("If-None-Match", value))
        )
        for how, value in {
            "quoted": '"<oci>"',
            "bare": "<oci>",
            "weak": 'W/"<oci>"',
            "list": '"<layer>", "<oci>"',
            "star": "*",
            "of another": '"<layer>"',
        }.items()
    ),
    Case("manifest with Range", "GET", _OCI, (*_CONTAINERD, ("Range", "bytes=0-9"))),
    Case("manifest, digest without hex", "GET", f"{_APP}/manifests/sha256:bad"),
    Case("manifest, broken tag", "GET", f"{_APP}/manifests/.INVALID_MANIFEST_NAME"),
    *_both("blob", _LAYER),
    Case("small blob", "GET", f"{_APP}/blobs/<small>"),
    *(Case(f"Range: {how}", "GET", _LAYER, (("Range", text),)) for how, text in _RANGES.items()),
    Case("HEAD with Range", "HEAD", _LAYER, (("Range", "bytes=0-9"),)),
    *(
        Case(f"If-Range {how}", "GET", _LAYER, (("Range", "bytes=0-9"), ("If-Range", value)))
        for how, value in {
            "equal": '"<layer>"',
            "weak": 'W/"<layer>"',
            "of another": '"<config>"',
            "date": "Mon, 01 Jan 2024 00:00:00 GMT",
        }.items()
    ),
    *(
        Case(f"blob, If-None-Match {how}", method, _LAYER, (("If-None-Match", value),))
        for how, method, value in (
            ("quoted", "GET", '"<layer>"'),
            ("by HEAD", "HEAD", '"<layer>"'),
            ("bare", "GET", "<layer>"),
            ("list", "GET", '"<config>", "<layer>"'),
            ("star", "GET", "*"),
            ("of another", "GET", '"<config>"'),
        )
    ),
    Case("blob with Accept-Encoding", "GET", _LAYER, (("Accept-Encoding", "gzip, zstd"),)),
    Case("blob of another repository", "GET", f"/v2/{OTHER}/blobs/<small>"),
    Case("blob, digest without hex", "GET", f"{_APP}/blobs/sha256:bad"),
    Case("blob, unknown algorithm", "GET", f"{_APP}/blobs/md5:d41d8cd98f00b204e9800998ecf8427e"),
    Case("manifest asked for as a blob", "GET", f"{_APP}/blobs/<oci>"),
    *_both("tags", f"{_APP}/tags/list"),
    *(
        Case(f"tags, {query}", "GET", f"{_APP}/tags/list?{query}")
        for query in ("n=2", "n=2&last=docker", "n=5", "n=0", "n=-1", "n=x")
    ),
    Case("tags of an absent repository", "GET", "/v2/library/none/tags/list"),
    Case("POST tags", "POST", f"{_APP}/tags/list", body=b""),
    *_both("catalog", "/v2/_catalog"),
    *(
        Case(f"catalog, {query}", "GET", f"/v2/_catalog?{query}")
        for query in (
            "n=1",
            "n=1&last=library/app",
            "n=2",
            "n=0",
            "n=-1",
            "n=x",
            "n=1001",
            "last=zzz",
        )
    ),
    Case("referrers", "GET", f"{_APP}/referrers/<oci>"),
    Case(
        "referrers of one type",
        "GET",
        f"{_APP}/referrers/<oci>?artifactType=application/vnd.example.sbom",
    ),
    Case("referrers of nothing", "GET", f"{_APP}/referrers/<absent>"),
    Case("referrers, digest without hex", "GET", f"{_APP}/referrers/sha256:bad"),
    Case("begin an upload", "POST", f"{_APP}/blobs/uploads/", body=b""),
    Case("mount a blob", "POST", f"/v2/{OTHER}/blobs/uploads/?mount=<small>&from={REPOSITORY}"),
    Case("GET upload", "GET", f"{_APP}/blobs/uploads/0123"),
    Case("PATCH upload", "PATCH", f"{_APP}/blobs/uploads/0123", body=b"x"),
    Case("PUT upload", "PUT", f"{_APP}/blobs/uploads/0123?digest=<small>", body=b"x"),
    Case("DELETE upload", "DELETE", f"{_APP}/blobs/uploads/0123"),
    Case("PUT manifest", "PUT", _OCI, (("Content-Type", OCI_MANIFEST),), b"{}"),
    Case("DELETE manifest by tag", "DELETE", _OCI),
    Case("DELETE manifest by digest", "DELETE", f"{_APP}/manifests/<oci>"),
    Case("PUT blob", "PUT", _LAYER, body=b"x"),
    Case("DELETE blob", "DELETE", _LAYER),
    Case("OPTIONS blob", "OPTIONS", _LAYER),
    Case("OPTIONS manifest", "OPTIONS", _OCI),
    Case("unknown path in /v2/", "GET", "/v2/library/app/nothing"),
    Case("unknown path", "GET", "/nothing"),
    Case("/v1/_ping", "GET", "/v1/_ping"),
    Case("upper-case name", "GET", "/v2/Library/App/manifests/oci", _CONTAINERD),
    Case("name with two slashes", "GET", "/v2/library//app/manifests/oci", _CONTAINERD),
    Case("name with dots", "GET", "/v2/library/../app/manifests/oci", _CONTAINERD),
    Case("digest escaped in the path", "GET", _LAYER.replace("<layer>", "sha256%3Abad")),
    *_both("tag, ns=docker.io", f"{_OCI}?ns=docker.io", _CONTAINERD),
    Case("blob, ns=docker.io", "GET", f"{_APP}/blobs/<small>?ns=docker.io"),
    Case("tag, unknown ns", "GET", f"{_OCI}?ns=registry.example", _CONTAINERD),
)
"""Asked once both hold everything that upstream has."""

CASES: Final = (*COLD, *WARM)
