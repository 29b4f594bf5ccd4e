"""Differences of what changes something."""

from typing import Final

from tests.servers.differences.entry import READ_ONLY, Difference, named, only_ours
from tests.servers.differences.kinds import NO_METHOD, REFUSED_WRITES, UPLOADS

WRITES: Final = (
    only_ours(
        REFUSED_WRITES | UPLOADS,
        title="writes",
        Allow="GET, HEAD",
        reason="a 405 has to name what is allowed (RFC 9110)",
    ),
    Difference(
        REFUSED_WRITES,
        {"error message": "The operation is unsupported."},
        {"error message": READ_ONLY},
        "docker push shows the message",
        title="writes that 2.8.2 calls unsupported",
    ),
    Difference(
        UPLOADS,
        {
            "status": "404",
            "error code": "BLOB_UPLOAD_INVALID",
            "error message": "blob upload invalid",
            "error detail": "{}",
        },
        {
            "status": "405",
            "error code": "UNSUPPORTED",
            "error message": READ_ONLY,
            "error detail": "",
        },
        "every write has the same answer",
    ),
    Difference(
        named("GET upload"),
        {
            "error code": "BLOB_UPLOAD_INVALID",
            "error message": "blob upload invalid",
            "error detail": "{}",
        },
        {
            "error code": "BLOB_UPLOAD_UNKNOWN",
            "error message": "blob upload unknown to registry",
            "error detail": "",
        },
        "there is no upload",
    ),
    Difference(
        NO_METHOD,
        {"body": "Method not allowed\n", "error code": "", "error message": ""},
        {"body": "", "error code": "UNSUPPORTED", "error message": READ_ONLY},
        "every write has the same answer",
    ),
    Difference(
        named("POST tags"),
        {"Allow": "GET"},
        {"Allow": "GET, HEAD"},
        "HEAD is answered too",
    ),
    Difference(
        named("PUT blob", "OPTIONS blob"),
        {"Allow": "DELETE, GET, HEAD"},
        {"Allow": "GET, HEAD"},
        "2.8.2 names what it then refuses",
    ),
    Difference(
        named("OPTIONS manifest"),
        {"Allow": "DELETE, GET, HEAD, PUT"},
        {"Allow": "GET, HEAD"},
        "2.8.2 names what it then refuses",
    ),
)
