"""Differences of many answers."""

from typing import Final

from tests.servers.differences.entry import JSON, JSON_UTF8, TEXT, Difference, named, only_ours
from tests.servers.differences.kinds import (
    ALL_LISTS,
    BAD_PAGES,
    BAD_RANGES,
    ERRORS_OF_BOTH,
    ERRORS_OF_OURS,
    FETCHED,
    HELD,
    NO_METHOD,
    NO_ROUTE,
    REFERRERS,
    ROUTED,
    TAGS,
    UNCLEAN,
)

GENERAL: Final = (
    only_ours(
        named("*"),
        title="all",
        Server="roadstead",
        reason="the program's name, without versions of its parts",
    ),
    Difference(
        ERRORS_OF_BOTH | ALL_LISTS | BAD_PAGES | named("GET /v2/", "HEAD /v2/", "POST /v2/"),
        {"Content-Type": JSON_UTF8},
        {"Content-Type": JSON},
        "as registry 3; JSON has no such parameter (RFC 8259)",
        title="answers in JSON",
    ),
    Difference(
        BAD_RANGES | NO_METHOD | NO_ROUTE | named("HEAD tags", "HEAD catalog"),
        {"Content-Type": TEXT},
        {"Content-Type": JSON},
        "errors have the form of the specification: docker shows their message, where it calls "
        "others unparsable",
        title="what 2.8.2 refuses in plain text",
    ),
    only_ours(
        ERRORS_OF_BOTH | ERRORS_OF_OURS,
        title="errors",
        Cache_Control="no-store",
        reason="no proxy on the way may keep an error",
    ),
    only_ours(
        named("/v2", "unknown path*", "/v1/_ping") | NO_ROUTE | REFERRERS | UNCLEAN,
        title="where 2.8.2 has no route",
        X_Served_By="a mirror",
        reason="`http.headers` are on every answer but that of `/`, also where there is no route; "
        "`X-Served-By` is configured for the comparison",
    ),
    only_ours(
        named("/v2") | UNCLEAN,
        X_Content_Type_Options="nosniff",
        reason="as the last; this one is configured too, and Go adds it to errors in plain text",
    ),
    only_ours(
        ROUTED,
        title="what is asked of an upstream",
        X_Roadstead_Upstream="<origin>",
        reason="which of several upstreams it was",
    ),
    *(
        only_ours(
            cases,
            title=title,
            X_Roadstead_Outcome=outcome,
            reason="where the answer comes from",
        )
        for cases, title, outcome in (
            (HELD, "what is held", "hit"),
            (FETCHED, "what is fetched", "miss"),
        )
    ),
    only_ours(
        TAGS,
        title="manifests by tag",
        X_Roadstead_Age="<seconds>",
        X_Roadstead_Fresh_For="<seconds>",
        reason="when upstream last confirmed the tag, and for how long that will do",
    ),
)
