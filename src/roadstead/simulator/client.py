"""A pulling client: what docker and containerd ask for in a pull, with every byte checked.

It shows what a mirror gives to its clients, so a pull that fails is a result and no exception.
"""

import asyncio
import hashlib
import json
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp

from roadstead.oci import mediatype
from roadstead.oci.digest import Digest

_ACCEPT = {"Accept": mediatype.UPSTREAM_ACCEPT}
_READ_BYTES = 256 * 1024
# containerd's default number of layers at a time.
_BLOBS_AT_ONCE = 3


@dataclass(slots=True)
class Pull:
    """What one pull cost, and what came of it.

    ``digest`` is what the tag led to; ``warnings`` are the Warning headers that came along (a
    stale answer has one); ``failure`` is empty if every byte was right.
    """

    digest: str = ""
    requests: int = 0
    body_bytes: int = 0
    blobs: int = 0
    seconds: float = 0.0
    warnings: list[str] = field(default_factory=list)
    failure: str = ""


class _PullError(Exception):
    """Something was not as it should be; the text says what."""


class PullingClient:
    """Pulls from the registry or mirror at ``url``; an async context manager.

    ``timeout_seconds`` bounds a whole pull.
    """

    def __init__(self, url: str, *, timeout_seconds: float = 60.0) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def pull(
        self, repository: str, reference: str, *, platform: str | None = "linux/amd64"
    ) -> Pull:
        """Pull an image as docker does: HEAD of the tag, index, manifest, config, layers.

        ``platform`` chooses from an index; None takes all of them.
        """
        if self._session is None:
            message = "the client is not open"
            raise RuntimeError(message)
        pull = Pull()
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await _Puller(self._session, f"{self._url}/v2/{repository}", pull).run(
                    reference, platform
                )
        except TimeoutError:
            pull.failure = f"not complete after {self._timeout_seconds:g} s"
        except (aiohttp.ClientError, OSError) as error:
            pull.failure = f"the connection failed: {error!r}"
        except _PullError as error:
            pull.failure = str(error)
        pull.seconds = time.perf_counter() - started
        return pull


class _Puller:
    """One pull under way."""

    def __init__(self, session: aiohttp.ClientSession, base: str, pull: Pull) -> None:
        self._session = session
        self._base = base
        self._pull = pull

    async def run(self, reference: str, platform: str | None) -> None:
        self._pull.digest = await self._resolve(reference)
        document = await self._manifest(self._pull.digest)
        manifests = [document]
        if "manifests" in document:
            chosen = [entry for entry in document["manifests"] if _fits(entry, platform)]
            if not chosen:
                message = f"there is no image for {platform}"
                raise _PullError(message)
            manifests = [await self._manifest(entry["digest"]) for entry in chosen]
        wanted = {
            blob["digest"]: int(blob["size"])
            for manifest in manifests
            for blob in (manifest["config"], *manifest["layers"])
        }
        await self._blobs(wanted)

    async def _resolve(self, reference: str) -> str:
        url = f"{self._base}/manifests/{reference}"
        self._pull.requests += 1
        async with self._session.head(url, headers=_ACCEPT) as answer:
            self._check(answer)
            digest = answer.headers.get("Docker-Content-Digest", "")
        if not digest:
            message = f"HEAD of {reference} told no digest"
            raise _PullError(message)
        return digest

    async def _manifest(self, digest: str) -> dict[str, Any]:
        self._pull.requests += 1
        async with self._session.get(f"{self._base}/manifests/{digest}", headers=_ACCEPT) as answer:
            self._check(answer)
            content = await answer.read()
        self._pull.body_bytes += len(content)
        if str(Digest.of(content)) != digest:
            message = f"manifest {digest} has other bytes"
            raise _PullError(message)
        document: dict[str, Any] = json.loads(content)
        return document

    async def _blobs(self, wanted: dict[str, int]) -> None:
        slots = asyncio.Semaphore(_BLOBS_AT_ONCE)

        async def one(digest: str, size: int) -> None:
            async with slots:
                await self._blob(digest, size)

        try:
            async with asyncio.TaskGroup() as group:
                for digest, size in wanted.items():
                    group.create_task(one(digest, size))
        except BaseExceptionGroup as errors:
            # The first failure has ended the others.
            raise errors.exceptions[0] from None

    async def _blob(self, digest: str, size: int) -> None:
        hasher, received = hashlib.sha256(), 0
        self._pull.requests += 1
        async with self._session.get(f"{self._base}/blobs/{digest}") as answer:
            self._check(answer)
            while piece := await answer.content.read(_READ_BYTES):
                hasher.update(piece)
                received += len(piece)
                self._pull.body_bytes += len(piece)
        if (f"sha256:{hasher.hexdigest()}", received) != (digest, size):
            message = f"blob {digest} ended cleanly with other bytes"
            raise _PullError(message)
        self._pull.blobs += 1

    def _check(self, answer: aiohttp.ClientResponse) -> None:
        self._pull.warnings += answer.headers.getall("Warning", [])
        if answer.status != HTTPStatus.OK:
            message = f"{answer.method} {answer.url.path} was answered {answer.status}"
            raise _PullError(message)


def _fits(entry: dict[str, Any], platform: str | None) -> bool:
    if platform is None:
        return True
    described = entry.get("platform", {})
    names = [described.get(name) for name in ("os", "architecture", "variant")]
    return "/".join(filter(None, names)) == platform
