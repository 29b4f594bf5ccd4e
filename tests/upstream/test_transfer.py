"""Blob transfers begin where they say, end where they should, and never pretend."""

import asyncio
import hashlib
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from roadstead.errors import (
    BlobUnknownError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRateLimitedError,
    UpstreamTimeoutError,
    UpstreamUnauthorizedError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
)
from roadstead.oci import mediatype
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.simulator.content import GeneratedContent, SimulatedBlob
from roadstead.simulator.faults import (
    Cut,
    Fault,
    Gzipped,
    Headers,
    Html,
    LyingRange,
    Redirect,
    RedirectToStorage,
    RequestKind,
    Stall,
    Status,
    Unsized,
    WithoutRange,
)
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.upstream.base import BlobTransfer
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.transfer import READ_BYTES
from tests.upstream.conftest import SHORT, connect

APP = RepositoryName("library/app")
SIZE = 700_000


@pytest.fixture
def blob(registry: ScriptedRegistry) -> SimulatedBlob:
    """Provide a blob of several pieces that the registry holds."""
    return registry.add_blob(APP, GeneratedContent(SIZE))


class Taken:
    """What one transfer gave."""

    def __init__(self, transfer: BlobTransfer) -> None:
        self.start = transfer.start
        self.size_bytes = transfer.size_bytes
        self.pieces: list[bytes] = []
        self.error: UpstreamError | None = None

    @property
    def body(self) -> bytes:
        """All bytes, joined."""
        return b"".join(self.pieces)


async def take(upstream: RegistryUpstream, digest: Digest, offset: int = 0) -> Taken:
    """Run one transfer to its end in a thread, as the pump does."""

    def run() -> Taken:
        transfer = upstream.open_blob(APP, digest, offset)
        taken = Taken(transfer)
        try:
            while piece := transfer.read():
                taken.pieces.append(piece)
        except UpstreamError as error:
            taken.error = error
        finally:
            transfer.close()
            transfer.close()
        return taken

    return await asyncio.to_thread(run)


async def test_a_blob_arrives_whole(upstream: RegistryUpstream, blob: SimulatedBlob) -> None:
    """All bytes come, in pieces of at most 256 KiB, and the size is known first."""
    taken = await take(upstream, blob.digest)

    assert (taken.start, taken.size_bytes, taken.error) == (0, SIZE, None)
    assert hashlib.sha256(taken.body).hexdigest() == blob.digest.encoded
    assert max(map(len, taken.pieces)) <= READ_BYTES


async def test_a_transfer_resumes_at_its_offset(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A Range request brings only what is missing."""
    taken = await take(upstream, blob.digest, 600_000)

    assert (taken.start, taken.size_bytes) == (600_000, SIZE)
    assert taken.body == blob.read()[600_000:]
    assert registry.requests[0].headers["range"] == "bytes=600000-"


async def test_nothing_is_missing_behind_the_last_byte(
    upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A transfer at the very end is complete and empty."""
    taken = await take(upstream, blob.digest, SIZE)

    assert (taken.start, taken.size_bytes, taken.body, taken.error) == (SIZE, SIZE, b"", None)


@pytest.mark.parametrize(
    "fault",
    [
        WithoutRange(),
        LyingRange(shift=1),
        LyingRange(shift=-1),
        Headers(drop=("Content-Range",)),
        Headers(put={"Content-Range": "bytes nonsense"}),
        Status(416, headers={"Content-Range": "bytes */5"}),
    ],
)
async def test_an_unusable_range_becomes_the_whole_blob(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob, fault: Fault
) -> None:
    """No Range support, another range or a wrong 416: the transfer begins at 0 and says so."""

    def only_for_ranges(request: object, reply: object) -> None:
        if "range" in getattr(request, "headers", {}):
            fault(request, reply)  # type: ignore[arg-type] # the protocol's own arguments

    registry.inject(only_for_ranges)

    taken = await take(upstream, blob.digest, 1_000)

    assert (taken.start, taken.size_bytes) == (0, SIZE)
    assert taken.body == blob.read()


async def test_another_etag_changes_nothing(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A blob is its digest, whatever its ETag is today."""
    registry.inject(Headers(put={"ETag": '"other"'}))

    taken = await take(upstream, blob.digest, 1_000)

    assert (taken.start, taken.body) == (1_000, blob.read()[1_000:])


@pytest.mark.parametrize("after", [0, 1, SIZE - 1])
@pytest.mark.parametrize(
    "faults", [[], [Unsized(chunked=True)], [Headers(put={"Content-Range": "x"})]]
)
@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_is_an_error(
    registry: ScriptedRegistry,
    upstream: RegistryUpstream,
    blob: SimulatedBlob,
    *,
    after: int,
    faults: list[Fault],
    reset: bool,
) -> None:
    """A body that ends before its time raises, after the bytes that came."""
    for fault in [*faults, Cut(after, reset=reset)]:
        registry.inject(fault)

    try:
        taken = await take(upstream, blob.digest)
    except UpstreamUnreachableError:
        # A reset can overtake the headers.
        assert reset
        return

    assert isinstance(taken.error, UpstreamUnreachableError)
    assert blob.read().startswith(taken.body)
    assert len(taken.body) <= after


async def test_a_cut_range_without_a_length_is_an_error(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """Content-Range tells the size where Content-Length does not."""
    registry.inject(Unsized())
    registry.inject(Cut(after=5))

    taken = await take(upstream, blob.digest, 1_000)

    assert len(taken.body) == 5
    assert isinstance(taken.error, UpstreamUnreachableError)


async def test_an_unknown_size_is_none(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A body that ends with its connection has no size; the digest must tell."""
    registry.inject(Unsized())

    taken = await take(upstream, blob.digest)

    assert (taken.size_bytes, taken.body) == (None, blob.read())


async def test_more_than_the_size_is_an_error(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A range that goes on behind its announced end is refused."""
    registry.inject(Unsized())
    registry.inject(Headers(put={"Content-Range": f"bytes 1000-1999/{SIZE - 5}"}))

    taken = await take(upstream, blob.digest, 1_000)

    assert isinstance(taken.error, UpstreamProtocolError)


async def test_a_compressed_blob_is_decoded(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """Compression that was not asked for is undone; the size is then unknown."""
    registry.inject(Gzipped())

    for offset in (0, 1_000):
        taken = await take(upstream, blob.digest, offset)
        assert (taken.start, taken.size_bytes) == (0, None)
        assert taken.body == blob.read()


async def test_an_unknown_encoding_is_refused(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """Bytes in an encoding that cannot be undone are not taken for the blob."""
    registry.inject(Headers(put={"Content-Encoding": "br"}))

    with pytest.raises(UpstreamProtocolError):
        await take(upstream, blob.digest)


async def test_the_type_of_a_blob_is_free(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """A web page may well be a blob; only the digest decides."""
    page = registry.add_blob(APP, b"<html></html>")
    registry.inject(Html(page.read()))

    taken = await take(upstream, page.digest)

    assert taken.body == page.read()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Status(401, "UNAUTHORIZED", "who?"), UpstreamUnauthorizedError),
        (Status(403, "DENIED", "no"), UpstreamDeniedError),
        (Status(404, "BLOB_UNKNOWN"), BlobUnknownError),
        (Headers(put={"Content-Type": mediatype.OCI_MANIFEST}), BlobUnknownError),
        (Status(429, "TOOMANYREQUESTS", headers={"Retry-After": "7"}), UpstreamRateLimitedError),
        (Status(503), UpstreamUnavailableError),
        (Status(302), UpstreamProtocolError),
        (Redirect("loop"), UpstreamProtocolError),
        (Redirect("gopher://elsewhere.example"), UpstreamProtocolError),
    ],
)
async def test_each_refusal_is_its_own_error(
    registry: ScriptedRegistry,
    upstream: RegistryUpstream,
    blob: SimulatedBlob,
    fault: Fault,
    kind: type[Exception],
) -> None:
    """The statuses mean what they mean for small calls, and nothing is repeated here."""
    registry.inject(fault, reference=blob.digest)
    registry.inject(Redirect("loop"), reference="loop")

    with pytest.raises(kind) as caught:
        await take(upstream, blob.digest)

    assert type(caught.value) is kind
    if isinstance(caught.value, UpstreamRateLimitedError):
        assert caught.value.retry_after_seconds == 7


async def test_redirects_are_followed_and_not_remembered(
    registry: ScriptedRegistry,
    elsewhere: ScriptedRegistry,
    upstream: RegistryUpstream,
    blob: SimulatedBlob,
) -> None:
    """Each transfer asks for a new signature, also in the middle of a blob."""
    registry.inject(RedirectToStorage(elsewhere, uses=1), kind=RequestKind.BLOB)

    for offset in (0, 1_000):
        taken = await take(upstream, blob.digest, offset)
        assert (taken.start, taken.body) == (offset, blob.read()[offset:])

    assert elsewhere.count(kind=RequestKind.STORAGE) == 2


async def test_an_expired_signature_is_asked_for_again(
    registry: ScriptedRegistry,
    elsewhere: ScriptedRegistry,
    upstream: RegistryUpstream,
    blob: SimulatedBlob,
) -> None:
    """A redirect that is dead on arrival is fetched once more, and only once."""
    registry.inject(RedirectToStorage(elsewhere, uses=0), times=1)
    alive = registry.inject(RedirectToStorage(elsewhere), skip=1)

    assert (await take(upstream, blob.digest)).body == blob.read()
    assert registry.count(kind=RequestKind.BLOB) == 2

    registry.withdraw(alive)
    registry.inject(RedirectToStorage(elsewhere, uses=0))
    with pytest.raises(UpstreamDeniedError):
        await take(upstream, blob.digest)


async def test_connections_are_used_again(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """Transfers one after the other need one connection."""
    for _ in range(3):
        await take(upstream, blob.digest)

    assert registry._listener is not None
    assert len(registry._listener.connections) == 1


async def test_a_read_does_not_wait_for_more(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """What has arrived is given at once, even if it is little and the rest stalls."""
    release = asyncio.Event()
    registry.inject(Stall(after=10, release=release))

    transfer = await asyncio.to_thread(upstream.open_blob, APP, blob.digest, 0)
    assert await asyncio.to_thread(transfer.read) == blob.read()[:10]
    release.set()
    rest = await asyncio.to_thread(_drain, transfer)
    assert rest == blob.read()[10:]


@pytest.mark.parametrize("fault", [Stall(), Stall(after=10)])
async def test_silence_is_bounded(
    registry: ScriptedRegistry, blob: SimulatedBlob, fault: Fault
) -> None:
    """Neither headers nor the next byte are waited for without limit."""
    registry.inject(fault)

    async with connect(registry.url, timeouts=replace(SHORT, first_byte=0.3)) as upstream:
        try:
            taken = await take(upstream, blob.digest)
        except UpstreamTimeoutError:
            return
    assert isinstance(taken.error, UpstreamTimeoutError)
    assert len(taken.body) == 10


async def test_an_absent_upstream_is_unreachable(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A refused connection is an error that may be retried."""
    await registry.stop()

    with pytest.raises(UpstreamUnreachableError) as caught:
        await take(upstream, blob.digest)

    assert caught.value.retryable


@pytest.mark.parametrize("faults", [[], [Unsized()], [Unsized(chunked=True)]])
async def test_abort_ends_a_blocked_read(
    registry: ScriptedRegistry, blob: SimulatedBlob, faults: list[Fault]
) -> None:
    """A read that waits is broken off from another thread, and never as a clean end."""
    for fault in [*faults, Stall(after=10)]:
        registry.inject(fault)

    async with connect(registry.url, timeouts=replace(SHORT, first_byte=30, stall=30)) as upstream:
        transfer = await asyncio.to_thread(upstream.open_blob, APP, blob.digest, 0)
        assert await asyncio.to_thread(transfer.read) == blob.read()[:10]
        blocked = asyncio.ensure_future(asyncio.to_thread(transfer.read))
        await asyncio.wait({blocked}, timeout=0.05)
        transfer.abort()
        async with asyncio.timeout(20):
            with pytest.raises(UpstreamUnreachableError, match="aborted"):
                await blocked
        transfer.abort()
        transfer.close()
        transfer.abort()


async def test_a_stop_ends_the_wait_for_headers(
    registry: ScriptedRegistry, blob: SimulatedBlob
) -> None:
    """On a new connection and on a kept one; afterwards nothing is opened."""
    patient = replace(SHORT, first_byte=60, total=60)
    for kept in (False, True):
        async with connect(registry.url, timeouts=patient) as upstream:
            if kept:
                await take(upstream, blob.digest)
            stall = registry.inject(Stall(), kind=RequestKind.BLOB)
            arrived = asyncio.Event()
            registry.watch = lambda _record, arrived=arrived: arrived.set()
            opening = asyncio.ensure_future(take(upstream, blob.digest))
            await arrived.wait()
            upstream.stop_transfers()
            async with asyncio.timeout(20):
                with pytest.raises(UpstreamUnreachableError, match="stopping"):
                    await opening
            registry.withdraw(stall)
            with pytest.raises(UpstreamUnreachableError, match="stopping"):
                await take(upstream, blob.digest)


async def test_a_stop_leaves_an_open_transfer_alone(
    registry: ScriptedRegistry, blob: SimulatedBlob
) -> None:
    """Its client may still be served within the drain time."""
    async with connect(registry.url) as upstream:
        transfer = await asyncio.to_thread(upstream.open_blob, APP, blob.digest, 0)
        upstream.stop_transfers()
        body = await asyncio.to_thread(lambda: b"".join(iter(transfer.read, b"")))
        transfer.close()

    assert body == blob.read()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_stop_ends_a_connection_that_is_being_made(
    blob: SimulatedBlob, scheme: str
) -> None:
    """A host that drops packets, and one that is silent in the handshake, hold nobody up."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        # Linux lets one connection more than this wait, and drops what would be the next.
        silent.listen(0)
        port = silent.getsockname()[1]
        url = f"{scheme}://127.0.0.1:{port}"
        patient = replace(SHORT, connect=60, first_byte=60, total=60)
        with socket.socket() as filler:
            if scheme == "http":
                filler.connect(("127.0.0.1", port))
            async with connect(url, timeouts=patient) as upstream:
                opening = asyncio.ensure_future(take(upstream, blob.digest))
                await asyncio.wait({opening}, timeout=0.1)
                upstream.stop_transfers()
                async with asyncio.timeout(20):
                    with pytest.raises(UpstreamUnreachableError, match="stopping"):
                        await opening


async def test_a_closed_upstream_opens_nothing(
    registry: ScriptedRegistry, blob: SimulatedBlob
) -> None:
    """After the end a transfer is refused rather than left hanging."""
    async with connect(registry.url) as upstream:
        pass

    with pytest.raises(UpstreamUnreachableError, match="stopping"):
        await take(upstream, blob.digest)


async def test_the_end_releases_a_thread_that_waits_for_a_token(
    registry: ScriptedRegistry, blob: SimulatedBlob
) -> None:
    """A thread in the middle of authentication is let go when the upstream closes."""
    registry.token_service()
    registry.inject(Stall(), kind=RequestKind.TOKEN)

    async with connect(registry.url, timeouts=replace(SHORT, first_byte=30, total=30)) as upstream:
        waiting = asyncio.ensure_future(take(upstream, blob.digest))
        await _until(lambda: registry.count(kind=RequestKind.TOKEN) == 1)
    async with asyncio.timeout(20):
        with pytest.raises(UpstreamUnreachableError, match="stopping"):
            await waiting


def _drain(transfer: BlobTransfer) -> bytes:
    return b"".join(iter(transfer.read, b""))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - another program's state has no event
            await asyncio.sleep(0.001)
