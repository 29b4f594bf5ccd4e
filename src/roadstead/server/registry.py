"""Handlers of the read API: each turns an endpoint value into a response."""

import os
from typing import Any
from urllib.parse import quote

from aiohttp import web
from multidict import CIMultiDict

from roadstead.mirror.content import BlobReader, ServedManifest
from roadstead.mirror.mirror import Mirror
from roadstead.oci.digest import Digest
from roadstead.oci.errorcode import ErrorCode
from roadstead.oci.mediatype import OCI_INDEX, OCTET_STREAM
from roadstead.server import endpoints
from roadstead.server.body import BodySender
from roadstead.server.errors import ErrorResponse, json_body
from roadstead.server.incoming import Incoming
from roadstead.server.ranges import (
    ByteRange,
    RangeNotSatisfiableError,
    if_range_holds,
    matches_none_of,
    parse_ranges,
)
from roadstead.telemetry import events
from roadstead.telemetry.events import Kind, Outcome

# What a digest names never changes, so clients and proxies may keep it for a year.
_IMMUTABLE = "max-age=31536000, immutable"
# Up to this many bytes are read and sent in one write together with the headers.
_SMALL_BLOB_BYTES = 64 * 1024


class RegistryHandlers:
    """The read API over one mirror."""

    def __init__(
        self,
        mirror: Mirror,
        *,
        catalog_max_entries: int,
        tags_max_entries: int,
        observe: events.Observer,
    ) -> None:
        self._mirror = mirror
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
                    return await self._blob_head(incoming, endpoint)
                return await self._blob(incoming, endpoint)
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

    async def _manifest(
        self, incoming: Incoming, endpoint: endpoints.ManifestEndpoint
    ) -> web.Response:
        manifest = await self._mirror.manifest(endpoint.repository, endpoint.reference)
        incoming.outcome = manifest.outcome
        digest = str(manifest.descriptor.digest)
        etag = f'"{digest}"'
        headers = CIMultiDict(
            {
                "Docker-Content-Digest": digest,
                "ETag": etag,
                "Cache-Control": _IMMUTABLE
                if isinstance(endpoint.reference, Digest)
                else "no-cache",
            }
        )
        _add_staleness(headers, manifest)
        if not matches_none_of(_joined(incoming, "If-None-Match"), etag):
            self._served(incoming, Kind.MANIFEST, manifest.descriptor.size)
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = manifest.descriptor.media_type
        headers["Content-Length"] = str(len(manifest.content))
        body = None if incoming.is_head else manifest.content
        incoming.sent_bytes = len(body or b"")
        self._served(incoming, Kind.MANIFEST, manifest.descriptor.size)
        return web.Response(headers=headers, body=body)

    async def _blob_head(
        self, incoming: Incoming, endpoint: endpoints.BlobEndpoint
    ) -> web.Response:
        size, incoming.outcome = await self._mirror.stat_blob(endpoint.repository, endpoint.digest)
        headers = _blob_headers(endpoint.digest)
        if not matches_none_of(_joined(incoming, "If-None-Match"), headers["ETag"]):
            self._served(incoming, Kind.BLOB, size or 0)
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = OCTET_STREAM
        if size is not None:
            headers["Content-Length"] = str(size)
        self._served(incoming, Kind.BLOB, size or 0)
        return web.Response(headers=headers)

    async def _blob(
        self, incoming: Incoming, endpoint: endpoints.BlobEndpoint
    ) -> web.StreamResponse:
        if incoming.request.headers.get("If-None-Match") is not None:
            not_modified = await self._blob_head(incoming, endpoint)
            if not_modified.status == 304:  # noqa: PLR2004 - the status that it is about
                return not_modified
        reader = await self._mirror.blob(endpoint.repository, endpoint.digest)
        try:
            incoming.outcome = reader.outcome
            response = await self._send_blob(incoming, endpoint, reader)
            self._served(incoming, Kind.BLOB, reader.size_bytes or incoming.sent_bytes)
            return response
        finally:
            reader.close()

    async def _send_blob(
        self, incoming: Incoming, endpoint: endpoints.BlobEndpoint, reader: BlobReader
    ) -> web.StreamResponse:
        headers = _blob_headers(endpoint.digest)
        headers["Content-Type"] = OCTET_STREAM
        size = reader.size_bytes
        try:
            ranges = _wanted_ranges(incoming, headers["ETag"], size)
        except RangeNotSatisfiableError:
            return _unsatisfiable(endpoint.digest, size)
        if ranges is None and size is not None and size <= _SMALL_BLOB_BYTES:
            return await _small_response(incoming, reader, headers, ByteRange(0, size - 1))
        # A streamed response is prepared here; the app adds these to all others.
        headers.extend(incoming.common_headers)
        response = web.StreamResponse(headers=headers)
        sender = BodySender(
            incoming=incoming,
            response=response,
            reader=reader,
            endpoint=endpoint,
            mirror=self._mirror,
        )
        if ranges is None or size is None:
            response.content_length = size
            await sender.send_all()
            return response
        response.set_status(206)
        if len(ranges) == 1:
            response.headers["Content-Range"] = ranges[0].content_range(size)
            response.content_length = ranges[0].length
            await sender.send_range(ranges[0])
        else:
            await sender.send_ranges(ranges, size)
        return response

    async def _tags(self, incoming: Incoming, endpoint: endpoints.TagsEndpoint) -> web.Response:
        limit = _page_size(incoming)
        if isinstance(limit, web.Response):
            return limit
        if limit is not None:
            limit = min(limit, self._tags_max)
        after = incoming.request.query.get("last")
        listing = await self._mirror.tags(endpoint.repository, limit=limit, after=after)
        page = limit if limit is not None else len(listing.tags)
        return _json_response(
            {"name": endpoint.repository, "tags": listing.tags},
            link=_next_link(incoming.request.rel_url.raw_path, listing.last, page),
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
        names = await self._mirror.catalog(limit=limit + 1, after=after) if limit else []
        names, rest = names[:limit], names[limit:]
        return _json_response(
            {"repositories": names},
            link=_next_link(incoming.request.rel_url.raw_path, names[-1] if rest else None, limit),
        )

    async def _referrers(
        self, incoming: Incoming, endpoint: endpoints.ReferrersEndpoint
    ) -> web.Response:
        descriptors = await self._mirror.referrers(endpoint.repository, endpoint.digest)
        headers = {}
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

    def _served(self, incoming: Incoming, kind: Kind, size_bytes: int) -> None:
        outcome = incoming.outcome or Outcome.MISS
        self._observe(events.Served(kind, outcome, size_bytes, incoming.sent_bytes))


def refuse_write() -> web.Response:
    """Answer every verb that would change something (OCI distribution-spec: 405)."""
    return ErrorResponse(
        ErrorCode.UNSUPPORTED,
        message="The operation is unsupported: this is a read-only mirror.",
        headers={"Allow": "GET, HEAD"},
    )


def _blob_headers(digest: Digest) -> CIMultiDict[str]:
    text = str(digest)
    return CIMultiDict(
        {
            "Docker-Content-Digest": text,
            "ETag": f'"{text}"',
            "Cache-Control": _IMMUTABLE,
            "Accept-Ranges": "bytes",
        }
    )


def _unsatisfiable(digest: Digest, size: int | None) -> ErrorResponse:
    headers = _blob_headers(digest)
    headers["Cache-Control"] = "no-store"
    headers["Content-Range"] = f"bytes */{size}"
    return ErrorResponse(ErrorCode.RANGE_INVALID, headers=headers)


def _add_staleness(headers: CIMultiDict[str], manifest: ServedManifest) -> None:
    if manifest.stale_reason is None:
        return
    age = int(manifest.age_seconds or 0)
    headers["Age"] = str(age)
    # RFC 7234 quoted-string; containerd 2 shows 299 warnings to the user.
    reason = "".join(
        character if " " <= character <= "~" and character not in '"\\' else " "
        for character in manifest.stale_reason[:300]
    )
    headers["Warning"] = f'299 - "stale, last confirmed {age} s ago: {reason}"'


def _joined(incoming: Incoming, name: str) -> str | None:
    values = incoming.request.headers.getall(name, [])
    return ", ".join(values) if values else None


def _wanted_ranges(incoming: Incoming, etag: str, size: int | None) -> list[ByteRange] | None:
    headers = incoming.request.headers
    header = headers.get("Range")
    if header is None or size is None or not if_range_holds(headers.get("If-Range"), etag):
        return None
    return parse_ranges(header, size)


async def _small_response(
    incoming: Incoming, reader: BlobReader, headers: CIMultiDict[str], wanted: ByteRange
) -> web.Response:
    """Send a small blob with one write; wait for all of it first, so that errors stay errors.

    An empty blob is waited for too: it is complete only when its digest is known to be right.
    """
    await reader.wait_beyond(max(wanted.last, 0))
    content = os.pread(reader.file.fileno(), wanted.length, wanted.first)
    incoming.sent_bytes = len(content)
    return web.Response(body=content, headers=headers)


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


def _next_link(path: str, last: str | None, limit: int) -> str | None:
    if last is None:
        return None
    return f'<{path}?last={quote(last, safe="")}&n={limit}>; rel="next"'


def _json_response(document: object, *, link: str | None) -> web.Response:
    headers = {"Link": link} if link else {}
    return web.Response(body=json_body(document), content_type="application/json", headers=headers)
