"""Differences of tags, the catalog and referrers."""

from typing import Final

from roadstead.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from tests.servers.differences.entry import NOT_FOUND, TEXT, Difference, named, only_ours

_ALL_TAGS: Final = "tags of library/app: docker, index, list, oci, sha256-<oci>"
_NO_INDEX: Final = '{"schemaVersion":2,"mediaType":"' + OCI_INDEX + '","manifests":[]}\n'
_ONE_REFERRER: Final = _NO_INDEX.replace(
    "[]",
    f'[{{"mediaType":"{OCI_MANIFEST}","size":644,"digest":"<signature>",'
    '"artifactType":"application/vnd.example.signature"}]',
)

LISTS: Final = (
    *(
        Difference(
            named(f"HEAD {name}"),
            {"status": "405", "Allow": "GET", "Content-Length": ""},
            {"status": "200", "Allow": "", "Content-Length": length},
            "HEAD is answered wherever GET is",
        )
        for name, length in {"tags": "136", "catalog": "46"}.items()
    ),
    Difference(
        named("tags, n=2"),
        {"body": _ALL_TAGS, "Link": ""},
        {
            "body": "tags of library/app: docker, index",
            "Link": '</v2/library/app/tags/list?last=index&n=2>; rel="next"',
        },
        "pages, as registry 3.1",
    ),
    Difference(
        named("tags, n=2&last=docker"),
        {"body": _ALL_TAGS, "Link": ""},
        {
            "body": "tags of library/app: index, list",
            "Link": '</v2/library/app/tags/list?last=list&n=2>; rel="next"',
        },
        "pages, as registry 3.1",
    ),
    Difference(
        named("tags, n=0"),
        {"body": _ALL_TAGS},
        {"body": "tags of library/app: none"},
        "no tags, as the specification says",
    ),
    *(
        Difference(
            named(f"{name}, n={number}"),
            {
                "status": "200",
                "body": body,
                "error code": "",
                "error message": "",
                "error detail": "",
            },
            {
                "status": "400",
                "body": "",
                "error code": "PAGINATION_NUMBER_INVALID",
                "error message": "invalid number of results requested",
                "error detail": f'{{"n": "{number}"}}',
            },
            "as registry 3",
        )
        for name, body in {
            "tags": _ALL_TAGS,
            "catalog": '{"repositories": ["library/app", "team/other"]}',
        }.items()
        for number in ("-1", "x")
    ),
    Difference(
        named("referrers", "referrers of *"),
        {"status": "404", "Content-Type": TEXT},
        {"status": "200", "Content-Type": OCI_INDEX},
        "distribution has no referrers API; here it is upstream's, or made of its fallback tag",
    ),
    Difference(
        named("referrers"),
        {"body": NOT_FOUND},
        {"body": _ONE_REFERRER},
        "those of the fallback tag",
    ),
    Difference(
        named("referrers of *"),
        {"body": NOT_FOUND},
        {"body": _NO_INDEX},
        "without referrers the index is empty",
    ),
    only_ours(
        named("referrers of one type"),
        Oci_Filters_Applied="artifactType",
        reason="the filter is applied here",
    ),
    Difference(
        named("referrers, digest without hex"),
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
            "error code": "DIGEST_INVALID",
            "error message": "invalid digest: 'sha256:bad'",
            "error detail": '"sha256:bad"',
        },
        "the specification's status",
    ),
)
