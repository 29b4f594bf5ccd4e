"""The read API as clients see it: statuses, headers and bodies."""

import json
from email.parser import BytesParser

import pytest
from aiohttp import ClientSession
from multidict import CIMultiDict

from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import DOCKER_MANIFEST, OCI_INDEX
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from tests.support.rig import APP, Rig, serving

CONTENT = bytes(range(256)) * 800  # 200 KiB: above what is sent from memory
SMALL = bytes(range(256)) * 8


def error_code(body: bytes) -> str:
    """Return the code of the one error in a body of the spec's form."""
    (entry,) = json.loads(body)["errors"]
    assert set(entry) <= {"code", "message", "detail"}
    return str(entry["code"])


async def test_the_version_check_never_asks_upstream(rig: Rig, client: ClientSession) -> None:
    """``/v2/`` says what registry:2 says, also while upstream is silent."""
    rig.upstream.pause()

    async with client.get("/v2/") as response:
        body = await response.read()

    assert (response.status, body) == (200, b"{}")
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    rig.upstream.resume()


async def test_the_root_and_the_slashless_path(client: ClientSession) -> None:
    """``/`` is an empty 200 for health checks; ``/v2`` leads to ``/v2/``."""
    async with client.get("/") as root:
        assert (root.status, await root.read()) == (200, b"")
        assert root.headers["Cache-Control"] == "no-cache"
    async with client.get("/v2", allow_redirects=False) as bare:
        assert (bare.status, bare.headers["Location"]) == (301, "/v2/")
        assert bare.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/", f"/v2/{APP}/blobs/sha256:bad", "/nothing"])
@pytest.mark.parametrize("healthy", [True, False])
async def test_no_answer_tells_what_the_server_is_made_of(
    rig: Rig, client: ClientSession, path: str, *, healthy: bool
) -> None:
    """The Server header is the program's name, without versions of Python and libraries."""
    rig.healthy = healthy
    async with client.get(path, allow_redirects=False) as response:
        assert response.headers.getall("Server") == ["roadstead"]


async def test_a_manifest_by_tag(rig: Rig, client: ClientSession) -> None:
    """Body verbatim, stored type, digest, quoted ETag, and no caching of what can move."""
    image = rig.upstream.add_image(APP, tag="latest", media_type=DOCKER_MANIFEST)

    async with client.get(f"/v2/{APP}/manifests/latest") as response:
        body = await response.read()

    assert body == image.content
    assert response.headers["Content-Type"] == DOCKER_MANIFEST
    assert response.headers["Docker-Content-Digest"] == str(image.manifest_digest)
    assert response.headers["ETag"] == f'"{image.manifest_digest}"'
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["Content-Length"] == str(len(image.content))


async def test_a_manifest_by_digest_may_be_cached_for_ever(rig: Rig, client: ClientSession) -> None:
    """What a digest names never changes."""
    image = rig.upstream.add_image(APP)

    async with client.get(f"/v2/{APP}/manifests/{image.manifest_digest}") as response:
        assert response.headers["Cache-Control"] == "max-age=31536000, immutable"


async def test_head_tells_what_get_would(rig: Rig, client: ClientSession) -> None:
    """Docker needs Content-Length on HEAD, and everybody the digest."""
    image = rig.upstream.add_image(APP, tag="latest")
    path = f"/v2/{APP}/manifests/latest"

    async with client.get(path) as got, client.head(path) as headed:
        assert await headed.read() == b""
        for name in ("Content-Type", "Content-Length", "Docker-Content-Digest", "ETag"):
            assert headed.headers[name] == got.headers[name]
    assert headed.headers["Content-Length"] == str(len(image.content))


async def test_a_head_by_tag_holds_the_manifest(rig: Rig, client: ClientSession) -> None:
    """Docker asks for tags by HEAD only: the tag must be held after it for the next outage."""
    image = rig.upstream.add_image(APP, tag="latest")
    async with client.head(f"/v2/{APP}/manifests/latest"):
        pass
    for blob in image.blobs:
        async with client.get(f"/v2/{APP}/blobs/{blob.digest}") as response:
            await response.read()
    await rig.landed()
    await rig.upstream.stop()
    rig.clock.advance(3600)

    async with client.get(f"/v2/{APP}/manifests/latest") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    "accept",
    [
        [],
        ["*/*"],
        ["application/vnd.docker.distribution.manifest.v2+json"],
        ["application/json", "application/vnd.oci.image.index.v1+json", "text/html;q=0.1"],
    ],
)
async def test_whatever_a_client_accepts_it_gets_the_stored_bytes(
    rig: Rig, client: ClientSession, accept: list[str]
) -> None:
    """Nothing is converted, so one line or six, or none, make no difference."""
    index = rig.upstream.add_index(APP, tag="latest")
    headers = CIMultiDict([("Accept", value) for value in accept])

    async with client.get(f"/v2/{APP}/manifests/latest", headers=headers) as response:
        assert await response.read() == index.content
        assert response.headers["Content-Type"] == OCI_INDEX


@pytest.mark.parametrize("form", ['"{}"', "{}", 'W/"{}"', '"other", "{}"'])
async def test_a_manifest_the_client_has_is_304(rig: Rig, client: ClientSession, form: str) -> None:
    """If-None-Match in every form that clients send."""
    image = rig.upstream.add_image(APP, tag="latest")
    headers = {"If-None-Match": form.format(image.manifest_digest)}

    async with client.get(f"/v2/{APP}/manifests/latest", headers=headers) as response:
        assert (response.status, await response.read()) == (304, b"")
        assert response.headers["ETag"] == f'"{image.manifest_digest}"'
        assert response.headers["Docker-Content-Digest"] == str(image.manifest_digest)


async def test_a_stale_answer_says_so(rig: Rig, client: ClientSession) -> None:
    """Warning and Age, in a form that clients can show; never a broken header."""
    await rig.hold(rig.upstream.add_image(APP, tag="latest"))
    rig.upstream.inject(faults.Status(503, message='no "luck"\r\nX-Evil: 1'))
    rig.clock.advance(120)

    async with client.get(f"/v2/{APP}/manifests/latest") as response:
        assert response.status == 200
        assert response.headers["Age"] == "120"
        assert response.headers["Warning"].startswith('299 - "stale, last confirmed 120 s ago')
        assert response.headers["Warning"].count('"') == 2
        assert response.headers["X-Roadstead-Reason"] in response.headers["Warning"]
        assert "X-Evil" not in response.headers


@pytest.mark.parametrize("content", [CONTENT, SMALL, b""], ids=["large", "small", "empty"])
async def test_a_blob_cold_and_warm(rig: Rig, client: ClientSession, content: bytes) -> None:
    """The same body and headers from the flight and from the store."""
    blob = rig.upstream.add_blob(APP, content)
    seen = []
    for _ in range(2):
        async with client.get(f"/v2/{APP}/blobs/{blob.digest}") as response:
            assert response.status == 200
            assert await response.read() == content
            seen.append(response.headers.copy())
            del seen[-1]["Date"], seen[-1]["X-Roadstead-Outcome"]
        await rig.landed()
    # On the same connection, so that the server is done with what came before.
    async with client.get("/v2/"):
        pass

    cold, warm = seen
    assert cold == warm
    assert warm["Content-Type"] == "application/octet-stream"
    assert warm["Docker-Content-Digest"] == str(blob.digest)
    assert warm["ETag"] == f'"{blob.digest}"'
    assert warm["Accept-Ranges"] == "bytes"
    assert warm["Content-Length"] == str(len(content))
    assert warm["Docker-Distribution-Api-Version"] == "registry/2.0"
    assert rig.served() == ["miss", "hit"]


async def test_head_of_an_absent_blob_downloads_nothing(rig: Rig, client: ClientSession) -> None:
    """Its size comes from upstream, its bytes do not."""
    blob = rig.upstream.add_blob(APP, CONTENT)

    async with client.head(f"/v2/{APP}/blobs/{blob.digest}") as response:
        assert response.status == 200
        assert response.headers["Content-Length"] == str(len(CONTENT))
        assert response.headers["Accept-Ranges"] == "bytes"

    assert rig.upstream.blob_bytes_sent(blob.digest) == 0
    assert rig.files("docker/**/*") == []


@pytest.mark.parametrize("is_warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=500-1499", (500, 1500)),
        ("bytes=500-", (500, len(CONTENT))),
        ("bytes=-500", (len(CONTENT) - 500, len(CONTENT))),
        ("bytes=0-0", (0, 1)),
        (f"bytes={len(CONTENT) - 10}-{len(CONTENT) + 99}", (len(CONTENT) - 10, len(CONTENT))),
    ],
)
async def test_one_range(
    rig: Rig, client: ClientSession, header: str, expected: tuple[int, int], *, is_warm: bool
) -> None:
    """206 with exact Content-Range, also for a blob that is only just being fetched."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    if is_warm:
        async with client.get(f"/v2/{APP}/blobs/{blob.digest}") as response:
            await response.read()
        await rig.landed()
    first, stop = expected

    async with client.get(f"/v2/{APP}/blobs/{blob.digest}", headers={"Range": header}) as response:
        assert response.status == 206
        assert await response.read() == CONTENT[first:stop]
        assert response.headers["Content-Range"] == f"bytes {first}-{stop - 1}/{len(CONTENT)}"
        assert response.headers["Content-Length"] == str(stop - first)
        assert response.headers["Accept-Ranges"] == "bytes"


async def test_several_ranges_are_multipart_in_the_order_asked(
    rig: Rig, client: ClientSession
) -> None:
    """As many parts as asked for, each with its range: stargz and zstd:chunked depend on it."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    wanted = [(100_000, 100_009), (0, 0), (5, 9)]
    header = "bytes=" + ",".join(f"{first}-{last}" for first, last in wanted)

    async with client.get(f"/v2/{APP}/blobs/{blob.digest}", headers={"Range": header}) as response:
        body = await response.read()

    assert response.status == 206
    content_type = response.headers["Content-Type"]
    assert content_type.startswith("multipart/byteranges; boundary=")
    assert response.headers["Content-Length"] == str(len(body))
    message = BytesParser().parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = [part for part in message.walk() if not part.is_multipart()]
    got = [(part["Content-Range"], part.get_payload(decode=True)) for part in parts]
    assert got == [
        (f"bytes {first}-{last}/{len(CONTENT)}", CONTENT[first : last + 1])
        for first, last in wanted
    ]


async def test_a_range_out_of_reach_is_416_with_a_fitting_length(
    rig: Rig, client: ClientSession
) -> None:
    """Registry 2.8.2 announces the whole blob's length on a 416; here it is the body's own."""
    blob = rig.upstream.add_blob(APP, CONTENT)

    async with client.get(
        f"/v2/{APP}/blobs/{blob.digest}", headers={"Range": f"bytes={len(CONTENT)}-"}
    ) as response:
        body = await response.read()

    assert response.status == 416
    assert error_code(body) == "RANGE_INVALID"
    assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
    assert response.headers["Content-Length"] == str(len(body))
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Docker-Content-Digest"] == str(blob.digest)
    assert response.headers["Cache-Control"] == "no-store"


async def test_if_range_decides_between_part_and_whole(rig: Rig, client: ClientSession) -> None:
    """A matching strong ETag gives the part, another one the whole blob."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    for validator, status in ((f'"{blob.digest}"', 206), ('"other"', 200)):
        headers = {"Range": "bytes=0-9", "If-Range": validator}
        async with client.get(f"/v2/{APP}/blobs/{blob.digest}", headers=headers) as response:
            assert response.status == status
            await response.read()


async def test_a_blob_the_client_has_is_304_and_no_download(
    rig: Rig, client: ClientSession
) -> None:
    """If-None-Match on a cold blob is answered without fetching it."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    headers = {"If-None-Match": f'"{blob.digest}"'}

    async with client.get(f"/v2/{APP}/blobs/{blob.digest}", headers=headers) as response:
        assert response.status == 304
        assert response.headers["Docker-Content-Digest"] == str(blob.digest)

    assert rig.upstream.blob_bytes_sent(blob.digest) == 0


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("manifests/nowhere", 404, "MANIFEST_UNKNOWN"),
        (f"manifests/{Digest.of(b'x')}", 404, "MANIFEST_UNKNOWN"),
        (f"blobs/{Digest.of(b'x')}", 404, "BLOB_UNKNOWN"),
        ("manifests/sha256:bad", 400, "DIGEST_INVALID"),
        ("blobs/sha256:bad", 400, "DIGEST_INVALID"),
        ("referrers/sha256:bad", 400, "DIGEST_INVALID"),
        # The conformance suite wants 404 for what can be no tag: nothing has that name.
        ("manifests/.INVALID_MANIFEST_NAME", 404, "MANIFEST_UNKNOWN"),
        (f"manifests/{'a' * 129}", 404, "MANIFEST_UNKNOWN"),
        ("blobs/uploads/0e4f4a2c", 404, "BLOB_UPLOAD_UNKNOWN"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_errors_have_the_form_of_the_spec(
    client: ClientSession, method: str, path: str, status: int, code: str
) -> None:
    """Status, code, JSON, never cached; a HEAD has the status only."""
    async with client.request(method, f"/v2/{APP}/{path}") as response:
        body = await response.read()

    assert response.status == status
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
    if method == "GET":
        assert error_code(body) == code
    else:
        assert body == b""


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (faults.Status(401, "UNAUTHORIZED"), 403, "DENIED"),
        (faults.Status(403, "DENIED"), 403, "DENIED"),
        (faults.Status(404, "MANIFEST_UNKNOWN"), 404, "MANIFEST_UNKNOWN"),
        (faults.Status(429, headers={"Retry-After": "3600"}), 429, "TOOMANYREQUESTS"),
        (faults.Status(500), 502, "UNAVAILABLE"),
        (faults.Status(503), 502, "UNAVAILABLE"),
        (faults.Html(), 502, "UNAVAILABLE"),
    ],
)
async def test_the_cause_upstream_reaches_the_client(
    rig: Rig, client: ClientSession, fault: faults.Fault, status: int, code: str
) -> None:
    """Each trouble has its own status; none becomes a challenge or "manifest unknown"."""
    rig.upstream.add_image(APP, tag="latest")
    rig.upstream.inject(fault, kind=RequestKind.MANIFEST)

    async with client.get(f"/v2/{APP}/manifests/latest") as response:
        assert response.status == status
        assert error_code(await response.read()) == code
        assert "WWW-Authenticate" not in response.headers
        if status == 429:
            assert 1 <= int(response.headers["Retry-After"]) <= 5


async def test_a_stopped_upstream_is_a_bad_gateway(rig: Rig, client: ClientSession) -> None:
    """What is not held is refused quickly and with the reason."""
    await rig.upstream.stop()

    async with client.get(f"/v2/{APP}/manifests/latest") as response:
        body = await response.read()

    assert response.status == 502
    assert rig.upstream.host in json.loads(body)["errors"][0]["message"]


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        "manifests/latest",
        f"blobs/{Digest.of(b'x')}",
        "blobs/uploads/",
        "blobs/uploads/0e4f4a2c",
        "tags/list",
    ],
)
async def test_writes_are_refused(client: ClientSession, method: str, path: str) -> None:
    """Every verb that would change something: 405, UNSUPPORTED, Allow, in JSON."""
    async with client.request(method, f"/v2/{APP}/{path}", data=b"body") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert error_code(await response.read()) == "UNSUPPORTED"


@pytest.mark.parametrize("path", ["/v1/_ping", "/v2/app", "/nothing", "/v2x"])
async def test_other_paths_are_not_found(client: ClientSession, path: str) -> None:
    """What is no endpoint is a plain 404, as in registry:2."""
    async with client.get(path) as response:
        assert (response.status, await response.text()) == (404, "404 page not found\n")
        assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


async def test_a_broken_name_is_named_once(client: ClientSession) -> None:
    """Docker shows the message to the user."""
    async with client.get("/v2/Library/App/manifests/latest") as response:
        (entry,) = (await response.json())["errors"]

    assert response.status == 400
    assert (entry["code"], entry["detail"]) == ("NAME_INVALID", "Library/App")
    assert entry["message"] == "invalid repository name: 'Library/App'"


async def test_links_lead_back_through_the_prefix(rig: Rig) -> None:
    """Behind ``http.prefix`` the next page has the prefix too."""
    for tag in ("a", "b"):
        rig.upstream.add_image(APP, tag=tag)
    async with serving(rig, prefix="/mirror/"), ClientSession(f"{rig.url}/mirror/") as client:
        async with client.get(f"v2/{APP}/manifests/a"):
            pass
        async with client.get(f"v2/{APP}/tags/list", params={"n": "1"}) as tags:
            link = f'</mirror/v2/{APP}/tags/list?last=a&n=1>; rel="next"'
            assert tags.headers["Link"] == link
        async with client.get("v2", allow_redirects=False) as bare:
            assert bare.headers["Location"] == "/mirror/v2/"


async def test_tags_pass_through_with_paging(rig: Rig, client: ClientSession) -> None:
    """Upstream's pages, with links that lead back to the mirror."""
    for tag in ("a", "b", "c"):
        rig.upstream.add_image(APP, tag=tag)

    async with client.get(f"/v2/{APP}/tags/list", params={"n": "2"}) as response:
        assert await response.json() == {"name": APP, "tags": ["a", "b"]}
        assert response.headers["Link"] == f'</v2/{APP}/tags/list?last=b&n=2>; rel="next"'
    async with client.get(f"/v2/{APP}/tags/list", params={"n": "2", "last": "b"}) as response:
        assert await response.json() == {"name": APP, "tags": ["c"]}
        assert "Link" not in response.headers
    async with client.get(f"/v2/{APP}/tags/list", params={"n": "0"}) as response:
        assert await response.json() == {"name": APP, "tags": []}


async def test_held_tags_are_listed_without_upstream(rig: Rig, client: ClientSession) -> None:
    """During an outage the list is what is held, paged here."""
    for tag in ("a", "b", "c"):
        rig.upstream.add_image(APP, tag=tag)
        async with client.get(f"/v2/{APP}/manifests/{tag}"):
            pass
    await rig.upstream.stop()

    async with client.get(f"/v2/{APP}/tags/list", params={"n": "2"}) as response:
        assert await response.json() == {"name": APP, "tags": ["a", "b"]}
        assert 'rel="next"' in response.headers["Link"]
        assert response.headers["X-Roadstead-Outcome"] == "stale"
        assert rig.upstream.host in response.headers["X-Roadstead-Reason"]
        assert response.headers["Warning"].startswith('299 - "stale: ')
    async with client.get("/v2/library/never/tags/list") as response:
        assert response.status == 502


@pytest.mark.parametrize("number", ["-1", "x", "1.5"])
@pytest.mark.parametrize("path", ["_catalog", f"{APP}/tags/list"])
async def test_a_page_size_that_is_none_is_refused(
    client: ClientSession, path: str, number: str
) -> None:
    """PAGINATION_NUMBER_INVALID with what was given."""
    async with client.get(f"/v2/{path}", params={"n": number}) as response:
        body = await response.read()

    assert response.status == 400
    assert error_code(body) == "PAGINATION_NUMBER_INVALID"
    assert json.loads(body)["errors"][0]["detail"] == {"n": number}


async def test_the_catalog_lists_what_is_held(rig: Rig, client: ClientSession) -> None:
    """Empty at first, then every repository with content, in pages."""
    async with client.get("/v2/_catalog") as response:
        assert await response.json() == {"repositories": []}
    for name in ("library/a", "library/b", "other/c"):
        rig.upstream.add_image(name, tag="latest")
        async with client.get(f"/v2/{name}/manifests/latest"):
            pass

    async with client.get("/v2/_catalog", params={"n": "2"}) as response:
        assert await response.json() == {"repositories": ["library/a", "library/b"]}
        assert response.headers["Link"] == '</v2/_catalog?last=library%2Fb&n=2>; rel="next"'
    async with client.get("/v2/_catalog", params={"n": "2", "last": "library/b"}) as response:
        assert await response.json() == {"repositories": ["other/c"]}
        assert "Link" not in response.headers
    async with client.get("/v2/_catalog", params={"n": "3"}) as response:
        assert len((await response.json())["repositories"]) == 3
        assert "Link" not in response.headers, "a page that is full may be the last"
    async with client.get("/v2/_catalog", params={"n": "1001"}) as response:
        assert response.status == 400


async def test_kept_referrers_are_said_to_be_stale(rig: Rig, client: ClientSession) -> None:
    """A verifier can see that a newer signature may be missing."""
    path = f"/v2/{APP}/referrers/{rig.upstream.add_image(APP).manifest_digest}"
    async with client.get(path) as response:
        assert response.status == 200
    await rig.upstream.stop()
    rig.clock.advance(61)

    async with client.get(path) as response:
        assert response.status == 200
        assert response.headers["X-Roadstead-Outcome"] == "stale"
        assert rig.upstream.host in response.headers["X-Roadstead-Reason"]


async def test_referrers_are_an_index_filtered_here(rig: Rig, client: ClientSession) -> None:
    """From upstream's API, with the filter applied and said to be."""
    image = rig.upstream.add_image(APP)
    for kind in ("application/x.sbom", "application/x.signature"):
        rig.upstream.add_image(
            APP, layers=[kind.encode()], subject=image.descriptor, fields={"artifactType": kind}
        )
    path = f"/v2/{APP}/referrers/{image.manifest_digest}"

    async with client.get(path) as response:
        document = await response.json(content_type=None)
        assert response.headers["Content-Type"] == OCI_INDEX
        assert document["schemaVersion"] == 2
        assert len(document["manifests"]) == 2
        assert response.headers["X-Roadstead-Outcome"] == "miss"
    async with client.get(path, params={"artifactType": "application/x.sbom"}) as response:
        assert response.headers["X-Roadstead-Outcome"] == "hit"
        document = await response.json(content_type=None)
        assert [item["artifactType"] for item in document["manifests"]] == ["application/x.sbom"]
        assert response.headers["OCI-Filters-Applied"] == "artifactType"


async def test_a_namespace_that_is_ours_is_confirmed(rig: Rig, client: ClientSession) -> None:
    """Containerd's ``?ns=`` comes back as OCI-Namespace, also on a streamed blob."""
    image = rig.upstream.add_image(APP, tag="latest", layers=[CONTENT])
    paths = [f"/v2/{APP}/manifests/latest", f"/v2/{APP}/blobs/{image.layers[0].digest}"]
    for path in paths:
        async with client.get(path, params={"ns": "docker.io"}) as response:
            assert response.status == 200
            assert response.headers["OCI-Namespace"] == "docker.io"


async def test_a_foreign_namespace_is_never_answered_from_here(
    rig: Rig, client: ClientSession
) -> None:
    """Another registry's image must not come from this upstream: a quick 404, no question."""
    rig.upstream.add_image(APP, tag="latest")

    async with client.get(f"/v2/{APP}/manifests/latest", params={"ns": "ghcr.io"}) as response:
        assert response.status == 404
        assert "ghcr.io" in await response.text()

    assert rig.upstream.requests == []


async def test_an_unhealthy_mirror_says_so_everywhere(rig: Rig, client: ClientSession) -> None:
    """Every path answers 503, without the API's headers, as registry:2 does."""
    rig.healthy = False
    for path in ("/", "/v2/", f"/v2/{APP}/manifests/latest"):
        async with client.get(path) as response:
            assert response.status == 503
            assert error_code(await response.read()) == "UNAVAILABLE"
            assert "Docker-Distribution-Api-Version" not in response.headers
