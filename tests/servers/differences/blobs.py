"""Differences of blobs."""

from typing import Final

from tests.servers.differences.entry import TEXT, YEAR, Difference, named, only_ours
from tests.servers.differences.kinds import BAD_RANGES, COLD_BLOBS, HELD_BLOBS, MALFORMED

BLOBS: Final = (
    Difference(
        HELD_BLOBS,
        {"Cache-Control": YEAR},
        {"Cache-Control": f"{YEAR}, immutable"},
        "no client needs to ask again (RFC 8246)",
        title="blobs that are held",
    ),
    only_ours(
        COLD_BLOBS,
        title="blobs that are not held yet",
        Accept_Ranges="bytes",
        Cache_Control=f"{YEAR}, immutable",
        reason="a blob that is being fetched has the same headers as one that is held",
    ),
    *(
        Difference(
            named(name),
            {"Etag": f"<{word}>"},
            {"Etag": f'"<{word}>"'},
            "an entity tag has quotes (RFC 9110)",
        )
        for name, word in {
            "blob, cold": "layer",
            "small blob, cold": "small",
            "HEAD blob, cold": "headed",
            "Range of a blob, cold": "ranged",
        }.items()
    ),
    Difference(
        named("Range of a blob, cold"),
        {"status": "200", "Content-Range": "", "body": "<ranged>"},
        {"status": "206", "Content-Range": "bytes 10-19/90000", "body": "<ranged>[10:20]"},
        "ranges work while the blob is being fetched: lazy pulling and resuming clients need them",
    ),
    Difference(
        BAD_RANGES,
        {
            "Accept-Ranges": "",
            "Cache-Control": YEAR,
            "Content-Length": "100000",
            "error code": "",
            "error message": "",
        },
        {
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-store",
            "Content-Length": "",
            "error code": "RANGE_INVALID",
            "error message": "invalid content range",
        },
        "2.8.2 announces the blob's length, sends a short text and cuts the connection; here the "
        "length is that of the body",
        title="ranges that the blob has not",
    ),
    Difference(
        named("Range: past the end"),
        {"body": "invalid range: failed to overlap\n"},
        {"body": ""},
        "errors have the form of the specification",
    ),
    Difference(
        named("Range: backwards", "Range: no number"),
        {"body": "invalid range\n", "Content-Range": ""},
        {"body": "", "Content-Range": "bytes */100000"},
        "a 416 tells the length of the blob (RFC 9110)",
    ),
    Difference(
        named("Range: another unit"),
        {
            "status": "416",
            "Accept-Ranges": "",
            "Content-Length": "100000",
            "Content-Type": TEXT,
            "body": "invalid range\n",
        },
        {
            "status": "200",
            "Accept-Ranges": "bytes",
            "Content-Length": "",
            "Content-Type": "application/octet-stream",
            "body": "<layer>",
        },
        "a unit that is not understood is ignored (RFC 9110)",
    ),
    Difference(
        named("HEAD with Range"),
        {"status": "206", "Content-Length": "10", "Content-Range": "bytes 0-9/100000"},
        {"status": "200", "Content-Length": "100000", "Content-Range": ""},
        "Range has a meaning for GET only (RFC 9110)",
    ),
    only_ours(
        named("blob, If-None-Match *")
        - named("blob, If-None-Match bare", "blob, If-None-Match of another"),
        title="304 of a blob",
        Accept_Ranges="bytes",
        reason="on every answer about a blob",
    ),
    Difference(
        named("blob, If-None-Match bare"),
        {"status": "200", "Content-Type": "application/octet-stream", "body": "<layer>"},
        {"status": "304", "Content-Type": "", "body": ""},
        "the tag without quotes that 2.8.2 gives for a blob that it is fetching is understood",
    ),
    Difference(
        MALFORMED,
        {"error message": "provided digest did not match uploaded content", "error detail": "{}"},
        {"error message": "invalid digest: 'sha256:bad'", "error detail": '"sha256:bad"'},
        "says what is wrong",
    ),
    Difference(
        named("blob, unknown algorithm"),
        {"error message": "provided digest did not match uploaded content", "error detail": "{}"},
        {
            "error message": "invalid digest: 'md5:d41d8cd98f00b204e9800998ecf8427e'",
            "error detail": '"md5:d41d8cd98f00b204e9800998ecf8427e"',
        },
        "says what is wrong",
    ),
)
