"""Differences of paths, names and probes."""

from typing import Final

from roadstead.oci.mediatype import OCI_MANIFEST
from tests.servers.differences.entry import (
    JSON,
    JSON_UTF8,
    NOT_FOUND,
    READ_ONLY,
    Difference,
    named,
    only_ours,
)
from tests.servers.differences.kinds import UNCLEAN

_NO_UPSTREAM: Final = (
    "this mirror has no upstream for registry.example; proxy.aliases and upstreams say which names "
    "it has one for"
)
_MOVED: Final = '<a href="/v2/">Moved Permanently</a>.\n\n'

PATHS: Final = (
    Difference(
        named("/v2"),
        {"Content-Type": "text/html; charset=utf-8", "body": _MOVED},
        {"Content-Type": "", "body": ""},
        "no client reads the body of a redirect",
    ),
    Difference(
        named("POST /v2/"),
        {"status": "200", "Allow": "", "body": "{}", "error code": "", "error message": ""},
        {
            "status": "405",
            "Allow": "GET, HEAD",
            "body": "",
            "error code": "UNSUPPORTED",
            "error message": READ_ONLY,
        },
        "a write is refused wherever it goes",
    ),
    Difference(
        named("OPTIONS /v2/"),
        {"Allow": "", "Content-Type": JSON_UTF8, "body": "{}"},
        {"Allow": "GET, HEAD", "Content-Type": "", "body": ""},
        "as on the other routes",
    ),
    Difference(
        UNCLEAN,
        {"status": "301", "Content-Type": "", "error code": ""},
        {"status": "400", "Content-Type": JSON, "error code": "NAME_INVALID"},
        "no client sends such a name; a redirect would make it another one",
    ),
    Difference(
        named("name with two slashes"),
        {
            "Location": "/v2/library/app/manifests/oci",
            "error message": "",
            "error detail": "",
        },
        {
            "Location": "",
            "error message": "invalid repository name: 'library//app'",
            "error detail": '"library//app"',
        },
        "no client sends such a name; a redirect would make it another one",
    ),
    Difference(
        named("name with dots"),
        {"Location": "/v2/app/manifests/oci", "error message": "", "error detail": ""},
        {
            "Location": "",
            "error message": "invalid repository name: 'library/../app'",
            "error detail": '"library/../app"',
        },
        "no client sends such a name; a redirect would make it another one",
    ),
    Difference(
        named("upper-case name"),
        {
            "status": "404",
            "body": NOT_FOUND,
            "error code": "",
            "error message": "",
            "error detail": "",
        },
        {
            "status": "400",
            "body": "",
            "error code": "NAME_INVALID",
            "error message": "invalid repository name: 'Library/App'",
            "error detail": '"Library/App"',
        },
        "says what is wrong",
    ),
    Difference(
        named("tag, unknown ns"),
        {
            "status": "200",
            "Content-Type": OCI_MANIFEST,
            "Docker-Content-Digest": "<oci>",
            "Etag": '"<oci>"',
            "body": "<oci>",
            "X-Roadstead-Outcome": "",
            "X-Roadstead-Reason": "",
            "error code": "",
            "error message": "",
            "error detail": "",
        },
        {
            "status": "404",
            "X-Roadstead-Outcome": "denied",
            "X-Roadstead-Reason": _NO_UPSTREAM,
            "Content-Type": JSON,
            "Docker-Content-Digest": "",
            "Etag": "",
            "body": "",
            "error code": "NAME_UNKNOWN",
            "error message": _NO_UPSTREAM,
            "error detail": '{"ns": "registry.example"}',
        },
        "an image of another registry is wanted, and this one's would be a wrong one; "
        "at the 404 it goes to the origin",
    ),
    only_ours(
        named("*ns=docker.io"),
        Oci_Namespace="docker.io",
        reason="the registry that was meant is confirmed (distribution-spec, proxying)",
    ),
)
