"""Whether a blob is there, and one range of it, without ever downloading it."""

import pytest

from roadstead.errors import (
    BlobUnknownError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
)
from roadstead.oci import mediatype
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
from roadstead.upstream.client import RegistryUpstream

APP = RepositoryName("library/app")
SIZE = 300_000


@pytest.fixture
def blob(registry: ScriptedRegistry) -> SimulatedBlob:
    """Provide a blob that the registry holds."""
    return registry.add_blob(APP, GeneratedContent(SIZE))


async def test_head_is_enough_where_it_works(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A good HEAD is the only request."""
    assert await upstream.stat_blob(APP, blob.digest) == SIZE
    assert [record.method for record in registry.requests] == ["HEAD"]


@pytest.mark.parametrize(
    "fault",
    [
        Status(401),
        Status(403),
        Status(404),
        Status(405),
        Unsized(),
        Html(),
        Redirect("https://cdn.example/x"),
    ],
)
async def test_the_first_byte_tells_where_head_does_not(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob, fault: Fault
) -> None:
    """HEAD refused, sized wrongly or redirected: GET of one byte gives the size."""
    registry.inject(fault, method="HEAD")

    assert await upstream.stat_blob(APP, blob.digest) == SIZE
    assert registry.blob_bytes_sent(blob.digest) == 1


async def test_a_refused_head_is_not_tried_again(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """public.ecr.aws refuses every HEAD of a blob; one refusal teaches that."""
    registry.inject(Status(401), method="HEAD")

    for _ in range(3):
        await upstream.stat_blob(APP, blob.digest)

    assert registry.count(kind=RequestKind.BLOB, method="HEAD") <= 2
    assert registry.count(kind=RequestKind.BLOB, method="GET") == 3


async def test_an_upstream_without_ranges_is_not_read(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A 200 tells the size too, and its body is left alone."""
    registry.inject(Status(405), method="HEAD")
    registry.inject(WithoutRange(), method="GET")
    registry.inject(Stall(after=1), method="GET")

    assert await upstream.stat_blob(APP, blob.digest) == SIZE


async def test_an_empty_blob_has_size_zero(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """The first byte of an empty blob is 416 with the size."""
    blob = registry.add_blob(APP, b"")
    registry.inject(Status(405), method="HEAD")

    assert await upstream.stat_blob(APP, blob.digest) == 0


async def test_a_size_that_nobody_tells_is_none(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """Existence may be all there is to know."""
    registry.inject(Unsized())
    registry.inject(WithoutRange(), method="GET")

    assert await upstream.stat_blob(APP, blob.digest) is None


async def test_storage_behind_a_redirect_is_asked_by_get(
    registry: ScriptedRegistry,
    elsewhere: ScriptedRegistry,
    upstream: RegistryUpstream,
    blob: SimulatedBlob,
) -> None:
    """The target of a redirect never sees a HEAD."""
    registry.inject(RedirectToStorage(elsewhere))

    assert await upstream.stat_blob(APP, blob.digest) == SIZE
    assert [record.method for record in elsewhere.requests] == ["GET"]


async def test_an_absent_blob_is_unknown(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """A 404 of HEAD and GET is a miss."""
    blob = registry.add_blob("library/other", b"other")
    registry.add_blob(APP, b"something")

    with pytest.raises(BlobUnknownError):
        await upstream.stat_blob(APP, blob.digest)


async def test_a_manifest_is_no_blob(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A manifest's type under /blobs/ would poison clients, so it counts as absent."""
    registry.inject(Headers(put={"Content-Type": mediatype.OCI_MANIFEST}))

    with pytest.raises(BlobUnknownError):
        await upstream.stat_blob(APP, blob.digest)
    with pytest.raises(BlobUnknownError):
        async with upstream.stream_range(APP, blob.digest, 0, 9):
            pass


@pytest.mark.parametrize(
    ("fault", "kind"), [(Status(403), UpstreamDeniedError), (Status(503), UpstreamUnavailableError)]
)
async def test_trouble_is_no_absence(
    registry: ScriptedRegistry,
    upstream: RegistryUpstream,
    blob: SimulatedBlob,
    fault: Fault,
    kind: type[UpstreamError],
) -> None:
    """An upstream that refuses or fails has not said that the blob is unknown."""
    registry.inject(fault)

    with pytest.raises(kind):
        await upstream.stat_blob(APP, blob.digest)


@pytest.mark.parametrize(
    ("first", "last", "start", "stop"),
    [
        (0, 0, 0, 1),
        (1_000, 1_999, 1_000, 2_000),
        (SIZE - 10, None, SIZE - 10, SIZE),
        (SIZE - 10, SIZE + 100, SIZE - 10, SIZE),
        (0, None, 0, SIZE),
    ],
)
async def test_a_range_is_passed_through(
    upstream: RegistryUpstream,
    blob: SimulatedBlob,
    first: int,
    last: int | None,
    *,
    start: int,
    stop: int,
) -> None:
    """Exactly the bytes asked for come, as far as there are any."""
    async with upstream.stream_range(APP, blob.digest, first, last) as stream:
        assert stream is not None
        body = b"".join([piece async for piece in stream])

    assert body == blob.read()[start:stop]


@pytest.mark.parametrize(
    "fault", [WithoutRange(), LyingRange(shift=1), Gzipped(), Headers(drop=("Content-Range",))]
)
async def test_any_other_range_is_none(
    registry: ScriptedRegistry, upstream: RegistryUpstream, blob: SimulatedBlob, fault: Fault
) -> None:
    """The whole blob, another range or an encoded one is not what was asked for."""
    registry.inject(fault)

    async with upstream.stream_range(APP, blob.digest, 10, 99) as stream:
        assert stream is None


async def test_a_range_behind_the_end_is_none(
    upstream: RegistryUpstream, blob: SimulatedBlob
) -> None:
    """A range that cannot be satisfied gives nothing."""
    async with upstream.stream_range(APP, blob.digest, SIZE, None) as stream:
        assert stream is None


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ([Cut(after=50)], UpstreamUnreachableError),
        ([Cut(after=50, reset=True)], UpstreamUnreachableError),
        ([Unsized(), Cut(after=50)], UpstreamUnreachableError),
        ([Stall(after=50)], UpstreamTimeoutError),
    ],
)
async def test_a_broken_range_never_ends_cleanly(
    registry: ScriptedRegistry,
    upstream: RegistryUpstream,
    blob: SimulatedBlob,
    faults: list[Fault],
    kind: type[UpstreamError],
) -> None:
    """A cut or stalled range raises, also where the cut looks like an end."""
    for fault in faults:
        registry.inject(fault)

    async with upstream.stream_range(APP, blob.digest, 0, 99) as stream:
        assert stream is not None
        with pytest.raises(kind):
            _ = [piece async for piece in stream]
