"""The read half of the registry API over a shelf, answered as the specification says.

What is wrong with an upstream is added afterwards, by faults.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import urlencode

from roadstead.oci import mediatype
from roadstead.oci.digest import Digest
from roadstead.oci.errorcode import ErrorCode
from roadstead.simulator.content import BytesContent
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.ranges import apply_range
from roadstead.simulator.shelf import Repository, Shelf
from roadstead.simulator.signed import STORAGE_PREFIX
from roadstead.simulator.tokens import TOKEN_PATHS
from roadstead.simulator.wire import HttpRequest, Reply

_PATHS = {
    RequestKind.MANIFEST: re.compile(r"/v2/(.+)/manifests/([^/]+)"),
    RequestKind.BLOB: re.compile(r"/v2/(.+)/blobs/([^/]+)"),
    RequestKind.REFERRERS: re.compile(r"/v2/(.+)/referrers/([^/]+)"),
    RequestKind.TAGS: re.compile(r"/v2/(.+)/tags/(list)"),
}


_Answer: TypeAlias = Callable[[HttpRequest, "Target", Repository], Reply]


@dataclass(frozen=True, slots=True)
class Target:
    """What a path means."""

    kind: RequestKind
    repository: str = ""
    reference: str = ""


def parse_target(path: str) -> Target:
    """Read a path of the API."""
    if path in {"/v2/", "/v2"}:
        return Target(RequestKind.PING)
    if path in TOKEN_PATHS:
        return Target(RequestKind.TOKEN)
    if path.startswith(STORAGE_PREFIX):
        return Target(RequestKind.STORAGE)
    for kind, pattern in _PATHS.items():
        match = pattern.fullmatch(path)
        if match is not None:
            return Target(kind, match.group(1), match.group(2))
    return Target(RequestKind.OTHER)


class RegistryApi:
    """Answers reads from a shelf.

    ``page_size`` limits pages of tags and referrers when the client names no size;
    ``referrers_enabled`` decides whether that API exists.
    """

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self.page_size: int | None = None
        self.referrers_enabled = True

    def answer(self, request: HttpRequest, target: Target) -> Reply:
        """Answer one read."""
        if request.method not in {"GET", "HEAD"}:
            return error_reply(ErrorCode.UNSUPPORTED)
        if target.kind is RequestKind.PING:
            return _document({}, "application/json")
        repository = self._shelf.repositories.get(target.repository)
        answers: dict[RequestKind, _Answer] = {
            RequestKind.MANIFEST: self._manifest,
            RequestKind.BLOB: self._blob,
            RequestKind.TAGS: self._tags,
            RequestKind.REFERRERS: self._referrers,
        }
        if target.kind not in answers or repository is None:
            return error_reply(ErrorCode.NAME_UNKNOWN)
        return answers[target.kind](request, target, repository)

    def _manifest(self, _request: HttpRequest, target: Target, repository: Repository) -> Reply:
        manifest = repository.find_manifest(target.reference)
        if manifest is None:
            return error_reply(ErrorCode.MANIFEST_UNKNOWN)
        reply = Reply()
        reply.fill(manifest.content, manifest.media_type)
        digest = str(Digest.of(manifest.content))
        reply.set("Docker-Content-Digest", digest)
        reply.set("ETag", f'"{digest}"')
        return reply

    def _blob(self, request: HttpRequest, target: Target, repository: Repository) -> Reply:
        content = repository.blobs.get(target.reference)
        if content is None:
            return error_reply(ErrorCode.BLOB_UNKNOWN)
        reply = Reply()
        reply.set("Content-Type", mediatype.OCTET_STREAM)
        reply.set("Docker-Content-Digest", target.reference)
        reply.set("ETag", f'"{target.reference}"')
        ranged = request.headers.get("range") if request.method == "GET" else None
        apply_range(reply, content, ranged)
        return reply

    def _tags(self, request: HttpRequest, target: Target, repository: Repository) -> Reply:
        last = request.query.get("last", [""])[0]
        size = request.query.get("n", [""])[0]
        limit = int(size) if size.isdecimal() else self.page_size
        tags = sorted(tag for tag in repository.tags if tag > last)
        page = tags[:limit]
        reply = _document({"name": target.repository, "tags": page}, "application/json")
        if page and len(page) < len(tags):
            query = urlencode({"last": page[-1], "n": len(page)})
            _link(reply, f"{request.path}?{query}")
        return reply

    def _referrers(self, request: HttpRequest, target: Target, repository: Repository) -> Reply:
        if not self.referrers_enabled:
            return error_reply(ErrorCode.UNSUPPORTED, status=HTTPStatus.NOT_FOUND)
        found = self._shelf.referrers(repository, target.reference)
        wanted = request.query.get("artifactType", [""])[0]
        if wanted:
            found = [entry for entry in found if entry["artifactType"] == wanted]
        start = int(request.query.get("start", ["0"])[0])
        stop = start + (self.page_size or len(found))
        document = {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX}
        reply = _document({**document, "manifests": found[start:stop]}, mediatype.OCI_INDEX)
        if wanted:
            reply.set("OCI-Filters-Applied", "artifactType")
        if stop < len(found):
            _link(reply, f"{request.path}?{urlencode({'start': stop})}")
        return reply


def error_reply(code: ErrorCode, *, status: HTTPStatus | None = None) -> Reply:
    """Answer with one error of the API."""
    reply = _document({"errors": [{"code": code.name, "message": code.message}]})
    reply.status = code.status if status is None else status
    return reply


def _document(document: dict[str, Any], content_type: str = "application/json") -> Reply:
    reply = Reply()
    content = BytesContent(json.dumps(document).encode())
    reply.content, reply.length = content, content.size_bytes
    reply.set("Content-Type", content_type)
    reply.set("Docker-Distribution-Api-Version", "registry/2.0")
    return reply


def _link(reply: Reply, address: str) -> None:
    reply.set("Link", f'<{address}>; rel="next"')
