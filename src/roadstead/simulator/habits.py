"""Habits of real registries that no specification knows: faults that are always in place.

Source: facts/protocol.md, section 3. They are faults in the sense of ``faults``, but a mirror
meets them every day.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from roadstead.oci import mediatype
from roadstead.oci.digest import Digest
from roadstead.simulator.api import parse_target
from roadstead.simulator.faults import Fault, Gzipped, Redirect, Status
from roadstead.simulator.shelf import Repository
from roadstead.simulator.wire import HttpRequest, Reply

SIX_HOURS_SECONDS = 21_600

_PULL_LIMIT_TEXT = (
    "You have reached your unauthenticated pull rate limit. You may increase the limit by "
    "authenticating and upgrading: https://www.docker.com/increase-rate-limit"
)
_FALLBACK_TAG = re.compile(r"sha256-([0-9a-f]{64})")
_SIGNATURE_TAG = re.compile(r"sha256-[0-9a-f]{64}(\.(sig|att|sbom))?")


@dataclass(slots=True, kw_only=True)
class PullLimit:
    """Docker Hub's limit: ``limit`` GETs of manifests in a rolling window; HEAD is free.

    ``retry_after_seconds`` is sent with the 429 if given; the Hub makes no promise of it.
    """

    limit: int
    window_seconds: int = SIX_HOURS_SECONDS
    retry_after_seconds: int | None = None
    clock: Callable[[], float] = time.monotonic
    _pulls: deque[float] = field(default_factory=deque)

    @property
    def used(self) -> int:
        """Pulls that count at this moment."""
        while self._pulls and self._pulls[0] <= self.clock() - self.window_seconds:
            self._pulls.popleft()
        return len(self._pulls)

    def forget(self) -> None:
        """Begin a new window: no pull counts any more."""
        self._pulls.clear()

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Count a manifest, and tell what is left; refuse one that is too many."""
        if reply.status != HTTPStatus.OK:
            return
        if request.method == "GET" and self.used >= self.limit:
            after = self.retry_after_seconds
            headers = {} if after is None else {"Retry-After": str(after)}
            refusal = Status(429, "TOOMANYREQUESTS", _PULL_LIMIT_TEXT, headers)
            refusal(request, reply)
            return
        if request.method == "GET":
            self._pulls.append(self.clock())
        reply.set("ratelimit-limit", f"{self.limit};w={self.window_seconds}")
        reply.set("ratelimit-remaining", f"{self.limit - self.used};w={self.window_seconds}")
        reply.set("docker-ratelimit-source", "127.0.0.1")


@dataclass(frozen=True, slots=True)
class NeedsAccept:
    """Does ``otherwise`` where Accept does not name the manifest's own type (Azure, quay.io)."""

    otherwise: Fault

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Compare the types."""
        accept = request.headers.get("accept", "")
        if reply.status == HTTPStatus.OK and (reply.get("Content-Type") or "") not in accept:
            self.otherwise(request, reply)


@dataclass(frozen=True, slots=True)
class CompressesConfigs:
    """Compresses config blobs for whoever accepts gzip, so that they lose their digest.

    registry.access.redhat.com does so.
    """

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Compress JSON."""
        accepted = "gzip" in request.headers.get("accept-encoding", "")
        if accepted and reply.content.read(0, 1) == b"{":
            Gzipped()(request, reply)


@dataclass(frozen=True, slots=True)
class RedirectToTwin:
    """Sends every request on to the same path of another host (registry.k8s.io)."""

    url: str

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Redirect, whether or not the thing exists."""
        Redirect(self.url + request.path)(request, reply)


@dataclass(frozen=True, slots=True)
class LacksSignatures:
    """A region whose tags of signatures resolve, and lead to nothing (registry.k8s.io)."""

    repositories: Mapping[str, Repository]

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Answer 404 to GET of what only tags of signatures lead to."""
        target = parse_target(request.path)
        repository = self.repositories.get(target.repository)
        if request.method != "GET" or repository is None:
            return
        tagged = [tag for tag, digest in repository.tags.items() if digest == target.reference]
        if all(map(_SIGNATURE_TAG.fullmatch, tagged or [target.reference])):
            Status(404, "MANIFEST_UNKNOWN", "manifest unknown")(request, reply)


@dataclass(slots=True)
class UnknownUntilFetched:
    """Answers 404 to HEAD of what nobody has fetched from it yet (Harbor's proxy cache)."""

    _fetched: set[str] = field(default_factory=set)

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Remember what is fetched, and deny the rest."""
        if request.method == "GET":
            self._fetched.add(request.path)
        elif request.path not in self._fetched and reply.status == HTTPStatus.OK:
            Status(404, "NOT_FOUND", "not found")(request, reply)


@dataclass(frozen=True, slots=True)
class FallbackTagIsSubject:
    """Answers the tag ``sha256-<hex>`` with the manifest of that very digest (GitLab)."""

    repositories: Mapping[str, Repository]

    def __call__(self, request: HttpRequest, reply: Reply) -> None:
        """Take such a tag for a digest."""
        target = parse_target(request.path)
        match = _FALLBACK_TAG.fullmatch(target.reference)
        repository = self.repositories.get(target.repository)
        if match is None or repository is None or reply.status != HTTPStatus.NOT_FOUND:
            return
        digest = Digest("sha256", match.group(1))
        manifest = repository.find_manifest(str(digest))
        if manifest is None:
            return
        reply.status, reply.headers = HTTPStatus.OK, []
        reply.fill(manifest.content, manifest.media_type)
        reply.set("Docker-Content-Digest", str(digest))


@dataclass(frozen=True, slots=True)
class SchemaOne:
    """The manifest in the schema of 2014, which no client of today can use."""

    def __call__(self, _request: HttpRequest, reply: Reply) -> None:
        """Replace the manifest."""
        reply.headers = []
        reply.fill(b'{"schemaVersion": 1, "fsLayers": []}', mediatype.DOCKER_SCHEMA1_SIGNED)
