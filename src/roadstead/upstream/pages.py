"""Documents that come in pages: tags and referrers, with their Link headers (RFC 8288)."""

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from roadstead.upstream.address import Origin
from roadstead.upstream.answers import is_page
from roadstead.upstream.base import TagPage
from roadstead.upstream.transport import Answer

_NEXT = re.compile(r"<([^<>]*)>[^,<]*;\s*rel=(?:\"next\"|next)(?=[\s;,]|$)", re.IGNORECASE)


def next_page(headers: Mapping[str, str], url: str) -> str | None:
    """Return the address of the next page; None at the end, or if it is on another origin."""
    match = _NEXT.search(headers.get("Link", ""))
    if match is None:
        return None
    try:
        following = urljoin(url, match.group(1))
        return following if Origin.parse(following) == Origin.parse(url) else None
    except ValueError:
        return None


def read_tags(answer: Answer, *, limit: int | None, after: str | None) -> TagPage | None:
    """Read one page of tags; None where the document is something else.

    A registry that ignores ``last`` and ``n`` and lists in the order of its directories
    (docker-registry 2.8) is put in byte order and cut to what was asked for.
    """
    document = _read_object(answer)
    listed = document.get("tags") if document is not None else None
    if document is None or "tags" not in document or not isinstance(listed, list | None):
        return None
    tags = [tag for tag in listed or [] if isinstance(tag, str)]
    has_more = next_page(answer.headers, answer.url) is not None
    if not has_more:
        tags.sort()
    if after is not None:
        tags = _behind(tags, after)
    if limit is not None and len(tags) > limit:
        return TagPage(tags[:limit], has_more=True)
    return TagPage(tags, has_more=has_more)


def _behind(tags: list[str], after: str) -> list[str]:
    if after in tags:
        return tags[tags.index(after) + 1 :]
    # Of the two orders that the specification allows, upstream's is not known: what comes
    # before in both was not asked for.
    return [tag for tag in tags if tag > after or tag.casefold() > after.casefold()]


def read_referrers(answer: Answer) -> list[dict[str, Any]] | None:
    """Read one page of referrers; None where the document is no index."""
    document = _read_object(answer)
    listed = document.get("manifests", []) if document is not None else None
    if not isinstance(listed, list | None) or document is None:
        return None
    return [entry for entry in listed or [] if isinstance(entry, dict)]


def _read_object(answer: Answer) -> dict[str, Any] | None:
    if is_page(answer.headers.get("Content-Type")):
        return None
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
