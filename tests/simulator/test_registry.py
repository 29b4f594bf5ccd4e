"""The scripted registry is a right registry until told otherwise, and lies exactly as told."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from roadstead.oci import mediatype
from roadstead.simulator.content import GeneratedContent
from roadstead.simulator.faults import (
    Cut,
    Gzipped,
    HangUp,
    Headers,
    Html,
    LyingRange,
    RedirectToStorage,
    RequestKind,
    Slow,
    Stall,
    Status,
    Unsized,
    WithoutRange,
    WrongBytes,
)
from roadstead.simulator.registry import ScriptedRegistry

BLOB = bytes(range(256)) * 1024


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[ScriptedRegistry]:
    """Provide a registry that serves."""
    async with ScriptedRegistry() as running:
        yield running


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Provide a client that undoes nothing."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


async def test_an_image_is_served_whole(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """Manifest by tag and digest, and every blob, come back as they were added."""
    image = registry.add_image("library/app", tag="latest", layers=[b"one", b"two"])

    for reference in ("latest", str(image.manifest_digest)):
        url = f"{registry.url}/v2/library/app/manifests/{reference}"
        async with http.get(url) as answer:
            assert await answer.read() == image.content
            assert answer.headers["Content-Type"] == mediatype.OCI_MANIFEST
            assert answer.headers["Docker-Content-Digest"] == str(image.manifest_digest)
    for blob in image.blobs:
        async with http.get(f"{registry.url}/v2/library/app/blobs/{blob.digest}") as answer:
            assert await answer.read() == blob.read()


async def test_a_moved_tag_is_another_manifest_at_once(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """Content changes between two requests."""
    registry.add_image("library/app", tag="latest")
    newer = registry.add_image("library/app", layers=[b"newer"])
    registry.move_tag("library/app", "latest", newer.manifest_digest)

    async with http.get(f"{registry.url}/v2/library/app/manifests/latest") as answer:
        assert await answer.read() == newer.content


async def test_an_index_names_its_images(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """An index lists one image per platform, each of which is there."""
    index = registry.add_index("library/app", tag="latest")

    async with http.get(f"{registry.url}/v2/library/app/manifests/latest") as answer:
        document = json.loads(await answer.read())
    assert [child["digest"] for child in document["manifests"]] == [
        str(image.manifest_digest) for image in index.images
    ]
    assert document["manifests"][1]["platform"] == {"os": "linux", "architecture": "arm64"}


@pytest.mark.parametrize(
    ("asked", "status", "start", "stop"),
    [
        ("bytes=10-19", 206, 10, 20),
        ("bytes=100-", 206, 100, len(BLOB)),
        ("bytes=-5", 206, len(BLOB) - 5, len(BLOB)),
        ("bytes=0-1,5-6", 200, 0, len(BLOB)),
        (f"bytes={len(BLOB)}-", 416, 0, 0),
    ],
)
async def test_ranges_are_right(
    registry: ScriptedRegistry, asked: str, status: int, start: int, stop: int
) -> None:
    """One range gives exactly its bytes; several give everything; none left gives 416."""
    blob = registry.add_blob("library/app", BLOB)
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{registry.url}/v2/library/app/blobs/{blob.digest}", headers={"Range": asked}
        ) as answer,
    ):
        assert answer.status == status
        assert await answer.read() == BLOB[start:stop]


async def test_generated_content_agrees_with_itself() -> None:
    """Reading in pieces at any offset gives the bytes of one long read."""
    content = GeneratedContent(3_000_000, seed=7)

    whole = content.read(0, 4_000_000)

    assert len(whole) == 3_000_000
    assert content.read(1_048_000, 2_000) == whole[1_048_000:1_050_000]
    assert content.read(2_999_999, 10) == whole[-1:]
    assert GeneratedContent(3_000_000, seed=8).read(0, 100) != whole[:100]


async def test_sent_bytes_are_counted(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """What went out for a blob is known to the byte, over all requests."""
    blob = registry.add_blob("library/app", GeneratedContent(200_000))
    url = f"{registry.url}/v2/library/app/blobs/{blob.digest}"

    async with http.get(url) as answer:
        assert hashlib.sha256(await answer.read()).hexdigest() == blob.digest.encoded
    async with http.get(url, headers={"Range": "bytes=0-9"}) as answer:
        await answer.read()
    async with http.head(url) as answer:
        assert answer.headers["Content-Length"] == "200000"

    assert registry.blob_bytes_sent(blob.digest) == 200_010
    assert registry.count(kind=RequestKind.BLOB, method="GET") == 2


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("after", [0, 1, len(BLOB) - 1])
async def test_a_cut_body_breaks_off(
    registry: ScriptedRegistry, http: aiohttp.ClientSession, after: int, *, reset: bool
) -> None:
    """A cut ends the connection in the body, and only as often as it was asked for."""
    blob = registry.add_blob("library/app", BLOB)
    registry.inject(Cut(after, reset=reset), kind=RequestKind.BLOB, times=1)
    url = f"{registry.url}/v2/library/app/blobs/{blob.digest}"

    with pytest.raises(aiohttp.ClientError):
        async with http.get(url) as answer:
            await answer.read()

    assert registry.blob_bytes_sent(blob.digest) == after
    async with http.get(url) as answer:
        assert await answer.read() == BLOB


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_connection_may_end_in_place_of_an_answer(
    registry: ScriptedRegistry, http: aiohttp.ClientSession, method: str, *, reset: bool
) -> None:
    """Not even headers come, whatever was asked."""
    registry.add_image("library/app", tag="latest")
    registry.inject(HangUp(reset=reset))

    with pytest.raises(aiohttp.ClientConnectionError):
        async with http.request(method, f"{registry.url}/v2/library/app/manifests/latest"):
            pass


async def test_bodies_without_a_length(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """A body may be chunked or end with the connection; then a cut one looks complete."""
    blob = registry.add_blob("library/app", BLOB)
    url = f"{registry.url}/v2/library/app/blobs/{blob.digest}"

    chunked = registry.inject(Unsized(chunked=True))
    async with http.get(url) as answer:
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert await answer.read() == BLOB
    registry.withdraw(chunked)
    registry.inject(Unsized())
    registry.inject(Cut(after=5))
    async with http.get(url) as answer:
        assert "Content-Length" not in answer.headers
        assert await answer.read() == BLOB[:5]


async def test_a_stall_lasts_until_released(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """A stalled body stops at its byte, and goes on when released."""
    blob = registry.add_blob("library/app", BLOB)
    release = asyncio.Event()
    registry.inject(Stall(after=100, release=release), kind=RequestKind.BLOB)

    async with http.get(f"{registry.url}/v2/library/app/blobs/{blob.digest}") as answer:
        assert await answer.content.readexactly(100) == BLOB[:100]
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await answer.content.readexactly(1)
        release.set()
        assert await answer.read() == BLOB[100:]


async def test_pause_is_silence_and_resume_ends_it(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """A paused registry accepts and does not answer."""
    registry.pause()
    pending = asyncio.ensure_future(http.get(f"{registry.url}/v2/"))
    done, _ = await asyncio.wait({pending}, timeout=0.05)
    assert not done

    registry.resume()
    answer = await pending
    assert answer.status == 200
    answer.release()


async def test_stop_refuses_and_start_comes_back_on_the_same_port(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """After stop nobody listens; after start the same address answers again."""
    url = f"{registry.url}/v2/"
    await registry.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get(url)

    await registry.start()
    async with http.get(url) as answer:
        assert answer.status == 200


async def test_faults_choose_their_requests(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """A fault waits for its kind, method and turn."""
    image = registry.add_image("library/app", tag="latest")
    fault = Status(429, code="TOOMANYREQUESTS", headers={"Retry-After": "7"})
    injection = registry.inject(fault, kind=RequestKind.MANIFEST, method="GET", skip=1, times=1)
    url = f"{registry.url}/v2/library/app/manifests/latest"
    other = f"{registry.url}/v2/library/app/blobs/{image.config.digest}"

    seen = []
    for method, target in (("HEAD", url), ("GET", url), ("GET", other), ("GET", url), ("GET", url)):
        async with http.request(method, target) as answer:
            seen.append((answer.status, answer.headers.get("Retry-After")))

    assert seen == [(200, None), (200, None), (200, None), (429, "7"), (200, None)]
    assert injection.used == 1


async def test_lies_about_content(registry: ScriptedRegistry, http: aiohttp.ClientSession) -> None:
    """Wrong bytes, pages, encodings, headers and ranges go out as scripted."""
    blob = registry.add_blob("library/app", BLOB)
    url = f"{registry.url}/v2/library/app/blobs/{blob.digest}"
    ranged = {"Range": "bytes=10-"}

    registry.inject(WrongBytes(), times=1)
    async with http.get(url) as answer:
        assert await answer.read() == BLOB[:-1] + b"\x00"
    registry.inject(Html(), times=1)
    async with http.get(url) as answer:
        assert answer.content_type == "text/html"
    registry.inject(Gzipped(), times=1)
    async with http.get(url) as answer:
        assert (answer.headers["Content-Encoding"], await answer.read() != BLOB) == ("gzip", True)
    registry.inject(WithoutRange(), times=1)
    async with http.get(url, headers=ranged) as answer:
        assert (answer.status, await answer.read()) == (200, BLOB)
    registry.inject(LyingRange(shift=1), times=1)
    async with http.get(url, headers=ranged) as answer:
        assert answer.headers["Content-Range"] == f"bytes 11-{len(BLOB) - 1}/{len(BLOB)}"
        assert await answer.read() == BLOB[11:]
    registry.inject(LyingRange(shift=1, admit=False), times=1)
    async with http.get(url, headers=ranged) as answer:
        assert answer.headers["Content-Range"] == f"bytes 10-{len(BLOB) - 1}/{len(BLOB)}"
        assert await answer.read() == BLOB[11:]
    registry.inject(Headers(drop=("Docker-Content-Digest",), put={"ETag": '"other"'}), times=1)
    async with http.get(url) as answer:
        assert "Docker-Content-Digest" not in answer.headers
        assert answer.headers["ETag"] == '"other"'


async def test_speed_is_limited_by_the_given_sleep(http: aiohttp.ClientSession) -> None:
    """Latency and bandwidth become waits of the right length."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async with ScriptedRegistry(sleep=sleep) as registry:
        blob = registry.add_blob("library/app", bytes(100_000))
        registry.inject(Slow(latency_seconds=0.5, bytes_per_second=50_000))
        async with http.get(f"{registry.url}/v2/library/app/blobs/{blob.digest}") as answer:
            await answer.read()

    assert waits[0] == 0.5
    assert sum(waits[1:]) == pytest.approx(2.0)


async def test_a_signed_address_expires_and_refuses_credentials(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """A redirect leads to a foreign host, works once, for GET, without Authorization."""
    blob = registry.add_blob("library/app", BLOB)
    async with ScriptedRegistry() as storage:
        registry.inject(RedirectToStorage(storage, uses=1), kind=RequestKind.BLOB)
        url = f"{registry.url}/v2/library/app/blobs/{blob.digest}"
        async with http.get(url, allow_redirects=False) as answer:
            assert answer.status == 307
            location = answer.headers["Location"]
        assert location.startswith(storage.url)

        seen = []
        for method, headers in (("HEAD", {}), ("GET", {"Authorization": "x"}), ("GET", {})):
            async with http.request(method, location, headers=headers) as answer:
                seen.append(answer.status)
        async with http.get(location) as answer:
            seen.append(answer.status)

    assert seen == [403, 400, 200, 403]
    assert storage.count(kind=RequestKind.STORAGE) == 4


async def test_tags_are_paged(registry: ScriptedRegistry, http: aiohttp.ClientSession) -> None:
    """Pages follow n and last, and the Link header leads on until the end."""
    for tag in ("c", "a", "b"):
        registry.add_image("library/app", tag=tag)

    async with http.get(f"{registry.url}/v2/library/app/tags/list?n=2") as answer:
        assert (await answer.json())["tags"] == ["a", "b"]
        assert answer.headers["Link"] == '</v2/library/app/tags/list?last=b&n=2>; rel="next"'
    async with http.get(f"{registry.url}/v2/library/app/tags/list?n=2&last=b") as answer:
        assert (await answer.json())["tags"] == ["c"]
        assert "Link" not in answer.headers


async def test_referrers_are_found_or_switched_off(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """A manifest with a subject is listed under it; without the API the answer is 404."""
    image = registry.add_image("library/app", tag="latest")
    signature = registry.add_image(
        "library/app", subject=image.descriptor, fields={"artifactType": "application/x.signature"}
    )
    url = f"{registry.url}/v2/library/app/referrers/{image.manifest_digest}"

    async with http.get(url) as answer:
        assert answer.content_type == mediatype.OCI_INDEX
        (entry,) = json.loads(await answer.read())["manifests"]
    assert entry["digest"] == str(signature.manifest_digest)
    assert entry["artifactType"] == "application/x.signature"
    registry.api.referrers_enabled = False
    async with http.get(url) as answer:
        assert answer.status == 404
