"""Groups of requests that differ in the same way."""

from typing import Final

from tests.servers.differences.entry import named

REFUSED_WRITES: Final = named(
    "begin *", "mount *", "PUT manifest", "DELETE manifest*", "DELETE blob"
)
UPLOADS: Final = named("PATCH upload", "PUT upload", "DELETE upload")
BAD_PAGES: Final = named("tags, n=-1", "tags, n=x", "catalog, n=-1", "catalog, n=x")
BAD_RANGES: Final = named("Range: past the end", "Range: backwards", "Range: no number")
MALFORMED: Final = named("blob, digest without hex", "digest escaped in the path")
UNCLEAN: Final = named("name with two slashes", "name with dots")
NO_ROUTE: Final = named("manifest, broken tag", "referrers, digest *", "upper-case name")
REFERRERS: Final = named("referrers", "referrers of *")
NO_METHOD: Final = named("POST tags", "PUT blob")

ABSENT: Final = named(
    "absent *",
    "HEAD absent *",
    "GET absent *",
    "tag of an absent *",
    "tags of an absent *",
    "blob of another *",
    "manifest asked *",
)
ERRORS_OF_BOTH: Final = (
    ABSENT
    | named("manifest, digest *", "blob, unknown *")
    | named("GET upload", "catalog, n=1001")
    | REFUSED_WRITES
    | UPLOADS
    | MALFORMED
)
ERRORS_OF_OURS: Final = (
    named("POST /v2/", "tag, unknown ns") | BAD_PAGES | NO_ROUTE | NO_METHOD | UNCLEAN
)
ALL_LISTS: Final = named("tags before *", "GET tags", "tags, *") | named(
    "catalog of *", "GET catalog", "catalog, *"
)

TAGS: Final = (
    named("GET tag*", "HEAD tag*", "oci tag *", "docker tag *", "index tag *", "list tag *")
    | named("manifest, If-None-Match *", "manifest with Range")
) - named("GET tags", "HEAD tags")
DIGESTS: Final = named(
    "manifest by digest, cold",
    "GET manifest by digest",
    "HEAD manifest by digest",
    "* manifest by digest without Accept",
)
COLD_BLOBS: Final = named("blob, cold", "small blob, cold", "HEAD blob, cold", "Range of *, cold")
HELD_BLOBS: Final = (
    named("GET blob", "HEAD blob", "small blob", "blob with Accept-Encoding", "blob, ns=*")
    | named("Range: *", "HEAD with Range", "If-Range *", "blob, If-None-Match *")
) - BAD_RANGES

# The second question about the referrers of one manifest is answered from memory.
REMEMBERED: Final = named("referrers of one type")
LISTED: Final = (
    named("tags before *", "GET tags", "HEAD tags", "tags, *") - BAD_PAGES
) | REFERRERS - REMEMBERED
FETCHED: Final = COLD_BLOBS | named("GET tag, cold", "manifest by digest, cold") | LISTED
HELD: Final = (TAGS | DIGESTS | HELD_BLOBS | BAD_RANGES | REMEMBERED) - FETCHED
ROUTED: Final = FETCHED | HELD | ABSENT
