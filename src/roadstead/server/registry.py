"""Handlers of the read API: each turns an endpoint value into a response."""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

from aiohttp import web
from multidict import CIMultiDict

from roadstead.mirror.content import ServedManifest
from roadstead.mirror.deletions import Deletions
from roadstead.mirror.mirrors import Mirrors
from roadstead.oci.digest import Digest
from roadstead.oci.errorcode import ErrorCode
from roadstead.oci.mediatype import OCI_INDEX
from roadstead.oci.reference import RepositoryName
from roadstead.server import endpoints
from roadstead.server.access.gate import Gate, open_gate, require_admin
from roadstead.server.blobs import IMMUTABLE, BlobHandlers
from roadstead.server.errors import ErrorResponse, json_body
from roadstead.server.incoming import Incoming
from roadstead.server.ranges import matches_none_of
from roadstead.server.repeats import UPSTREAM, Current, Repeatable
from roadstead.server.resolve import REASON, find_mirror, header_text, note_outcome
from roadstead.telemetry import events
from roadstead.telemetry.audit import audited
from roadstead.telemetry.events import Kind, Outcome


class RegistryHandlers:
    """The read API over all mirrors."""

    def __init__(
        self,
        mirrors: Mirrors,
        *,
        catalog_max_entries: int,
        tags_max_entries: int,
        observe: events.Observer,
        gate: Gate | None = None,
        deletions: Deletions | None = None,
        accel: Callable[[Digest], str] | None = None,
    ) -> None:
        """``gate`` says who may do what; without one everybody may read.

        Without ``deletions`` nothing can be deleted; ``accel`` is for BlobHandlers.
        """
        self.gate = gate or open_gate(mirrors)
        self._mirrors = mirrors
        self._deletions = deletions
        self._blobs = BlobHandlers(mirrors, observe=observe, accel=accel)
        self._catalog_max = catalog_max_entries
        self._tags_max = tags_max_entries
        self._observe = observe

    async def handle(self, incoming: Incoming, endpoint: endpoints.Endpoint) -> web.StreamResponse:
        """Answer a GET or HEAD of ``endpoint``.

        Raises:
            RoadsteadError: for the caller to render, as long as no byte was sent.
        """
        match endpoint:
            case endpoints.ManifestEndpoint():
                return await self._manifest(incoming, endpoint)
            case endpoints.BlobEndpoint():
                if incoming.is_head:
                    return await self._blobs.head(incoming, endpoint)
                return await self._blobs.get(incoming, endpoint)
            case endpoints.TagsEndpoint():
                return await self._tags(incoming, endpoint)
            case endpoints.ReferrersEndpoint():
                return await self._referrers(incoming, endpoint)
            case endpoints.CatalogEndpoint():
                return await self._catalog(incoming)
            case endpoints.Base():
                return web.Response(body=b"{}", content_type="application/json")
            case endpoints.UploadEndpoint():
                return ErrorResponse(ErrorCode.BLOB_UPLOAD_UNKNOWN)

    def allowed(self, endpoint: endpoints.Endpoint) -> str:
        """Name the verbs that ``endpoint`` understands."""
        return "GET, HEAD, DELETE" if self._may_be_deleted(endpoint) else "GET, HEAD"

    async def change(self, incoming: Incoming, endpoint: endpoints.Endpoint) -> web.Response:
        """Answer any other verb: DELETE if it is switched on, and for admins; else a refusal.

        Raises:
            AccessDeniedError: the caller may not delete.
            UnknownContentError: it is not held.
            StorageError: the store failed.
        """
        deletions = self._deletions
        if incoming.method != "DELETE" or deletions is None or not self._may_be_deleted(endpoint):
            return _refuse_write(self.allowed(endpoint))
        address = self.gate.client(incoming.request)
        with audited("delete", caller=incoming.caller, address=address) as entry:
            entry.arguments = {endpoint.label: incoming.request.path}
            require_admin(incoming)
            match endpoint:
                case endpoints.ManifestEndpoint():
                    _, repository = find_mirror(self._mirrors, incoming, endpoint.repository)
                    await deletions.manifest(repository, endpoint.reference)
                case endpoints.BlobEndpoint():
                    _, repository = find_mirror(self._mirrors, incoming, endpoint.repository)
                    await deletions.blob(repository, endpoint.digest)
            # Links go; the data stays until garbage is collected.
            entry.size_bytes = 0
        return web.Response(status=202)

    def _may_be_deleted(self, endpoint: endpoints.Endpoint) -> bool:
        kinds = (endpoints.ManifestEndpoint, endpoints.BlobEndpoint)
        return self._deletions is not None and isinstance(endpoint, kinds)

    async def _manifest(
        self, incoming: Incoming, endpoint: endpoints.ManifestEndpoint
    ) -> web.Response:
        mirror, repository = find_mirror(self._mirrors, incoming, endpoint.repository)
        manifest = await mirror.manifest(repository, endpoint.reference)
        note_outcome(incoming, manifest.outcome)
        is_by_digest = isinstance(endpoint.reference, Digest)
        digest = str(manifest.descriptor.digest)
        etag = f'"{digest}"'
        headers = CIMultiDict(
            {
                "Docker-Content-Digest": digest,
                "ETag": etag,
                "Cache-Control": IMMUTABLE if is_by_digest else "no-cache",
            }
        )
        headers.update(_freshness(manifest))
        is_wanted = matches_none_of(_joined(incoming, "If-None-Match"), etag)
        if is_wanted and not incoming.is_head:
            incoming.sent_bytes = len(manifest.content)
            mirror.taken(repository, manifest)
        size = manifest.descriptor.size
        incoming.content_digest, incoming.content_bytes = digest, size
        sent, upstream = incoming.sent_bytes, incoming.common_headers[UPSTREAM]
        self._observe(
            events.Served(Kind.MANIFEST, manifest.outcome, size, sent, upstream, repository)
        )
        if not is_wanted:
            return web.Response(status=304, headers=headers)
        if manifest.outcome is Outcome.HIT:
            at_hand = partial(mirror.manifest_at_hand, repository, endpoint.reference)
            incoming.repeatable = _repeatable(manifest, at_hand, is_head=incoming.is_head)
        headers["Content-Type"] = manifest.descriptor.media_type
        headers["Content-Length"] = str(len(manifest.content))
        return web.Response(headers=headers, body=None if incoming.is_head else manifest.content)

    async def _tags(self, incoming: Incoming, endpoint: endpoints.TagsEndpoint) -> web.Response:
        limit = _page_size(incoming)
        if isinstance(limit, web.Response):
            return limit
        if limit is not None:
            limit = min(limit, self._tags_max)
        after = incoming.request.query.get("last")
        mirror, repository = find_mirror(self._mirrors, incoming, endpoint.repository)
        listing = await mirror.tags(repository, limit=limit, after=after)
        note_outcome(incoming, listing.outcome)
        _add_staleness(incoming, listing.stale_reason)
        page = limit if limit is not None else len(listing.tags)
        return _json_response(
            {"name": endpoint.repository, "tags": listing.tags},
            link=_next_link(incoming, listing.last, page),
        )

    async def _catalog(self, incoming: Incoming) -> web.Response:
        limit = _page_size(incoming)
        if isinstance(limit, web.Response):
            return limit
        if limit is None:
            limit = min(100, self._catalog_max)
        if limit > self._catalog_max:
            return _bad_page_size(limit)
        after = incoming.request.query.get("last")
        # One more than asked for: is there a next page?
        names = await self._listed(incoming, limit + 1, after) if limit else []
        names, rest = names[:limit], names[limit:]
        return _json_response(
            {"repositories": names},
            link=_next_link(incoming, names[-1] if rest else None, limit),
        )

    async def _listed(
        self, incoming: Incoming, limit: int, after: str | None
    ) -> list[RepositoryName]:
        """List as many repositories as wanted of those that the caller may see."""
        may_list = incoming.may_list
        if may_list is None:
            return await self._mirrors.list_repositories(limit=limit, after=after)
        seen: list[RepositoryName] = []
        while len(seen) < limit:
            page = await self._mirrors.list_repositories(limit=self._catalog_max, after=after)
            seen += filter(may_list, page)
            if len(page) < self._catalog_max:
                break
            after = page[-1]
        return seen[:limit]

    async def _referrers(
        self, incoming: Incoming, endpoint: endpoints.ReferrersEndpoint
    ) -> web.Response:
        mirror, repository = find_mirror(self._mirrors, incoming, endpoint.repository)
        listing = await mirror.referrers(repository, endpoint.digest)
        note_outcome(incoming, listing.outcome)
        _add_staleness(incoming, listing.stale_reason)
        descriptors, headers = listing.descriptors, {}
        wanted = incoming.request.query.get("artifactType")
        if wanted:
            descriptors = [item for item in descriptors if item.get("artifactType") == wanted]
            headers["OCI-Filters-Applied"] = "artifactType"
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": descriptors,
        }
        return web.Response(body=json_body(document), content_type=OCI_INDEX, headers=headers)


def _refuse_write(allowed: str) -> web.Response:
    """Answer a verb that would change something (OCI distribution-spec: 405)."""
    return ErrorResponse(
        ErrorCode.UNSUPPORTED,
        message="The operation is unsupported: this is a read-only mirror.",
        headers={"Allow": allowed},
    )


def _repeatable(
    manifest: ServedManifest, at_hand: Callable[[], ServedManifest | None], *, is_head: bool
) -> Repeatable:
    """Say how a manifest that was served from memory may be served again."""

    def current() -> Current | None:
        now = at_hand()
        if now is None or now.descriptor is not manifest.descriptor:
            return None
        lines = "".join(f"{name}: {value}\r\n" for name, value in _freshness(now))
        return Current(b"" if is_head else now.content, lines)

    varying = frozenset(name for name, _ in _freshness(manifest))
    return Repeatable(Kind.MANIFEST, manifest.descriptor.size, current, varying)


def _freshness(manifest: ServedManifest) -> list[tuple[str, str]]:
    """Say how old an answer by tag is, when upstream is asked next, and why it is stale."""
    headers = []
    if manifest.age_seconds is not None:
        headers.append(("X-Roadstead-Age", str(int(manifest.age_seconds))))
    if manifest.fresh_for_seconds is not None:
        headers.append(("X-Roadstead-Fresh-For", str(int(manifest.fresh_for_seconds))))
    if manifest.stale_reason is None:
        return headers
    age = int(manifest.age_seconds or 0)
    reason = header_text(manifest.stale_reason)
    # containerd 2 shows 299 warnings to the user.
    warning = f'299 - "stale, last confirmed {age} s ago: {reason}"'
    return [*headers, ("Age", str(age)), (REASON, reason), ("Warning", warning)]


def _add_staleness(incoming: Incoming, stale_reason: str | None) -> None:
    """Say why a list is not upstream's of now."""
    if stale_reason is not None:
        reason = header_text(stale_reason)
        incoming.common_headers[REASON] = reason
        incoming.common_headers["Warning"] = f'299 - "stale: {reason}"'


def _joined(incoming: Incoming, name: str) -> str | None:
    values = incoming.request.headers.getall(name, [])
    return ", ".join(values) if values else None


def _page_size(incoming: Incoming) -> int | web.Response | None:
    """Read ``n``: None if absent, a 400 response if it is no number from 0 up."""
    text = incoming.request.query.get("n")
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit()):
        return _bad_page_size(text)
    return int(text)


def _bad_page_size(given: int | str) -> web.Response:
    return ErrorResponse(ErrorCode.PAGINATION_NUMBER_INVALID, detail={"n": given})


def _next_link(incoming: Incoming, last: str | None, limit: int) -> str | None:
    """Point to the next page, on the path and for the registry that this one was asked by."""
    if last is None:
        return None
    query = f"last={quote(last, safe='')}&n={limit}"
    if incoming.hints.namespace:
        query = f"{query}&ns={quote(incoming.hints.namespace, safe='')}"
    return f'<{incoming.request.rel_url.raw_path}?{query}>; rel="next"'


def _json_response(document: object, *, link: str | None) -> web.Response:
    headers = {"Link": link} if link else {}
    return web.Response(body=json_body(document), content_type="application/json", headers=headers)
