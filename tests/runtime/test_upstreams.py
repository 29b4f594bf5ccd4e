"""Several registries through one process: each request reaches the upstream it means."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.oci.errorcode import ErrorCode
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import started, url_of
from tests.support.rig import APP

OFFLINE = {"REGISTRY_MIRROR_OFFLINE": "true"}


@pytest.fixture
async def other() -> AsyncIterator[ScriptedRegistry]:
    """Give a second registry, with another image under the same name and tag."""
    async with ScriptedRegistry() as registry:
        registry.add_image(APP, tag="latest", layers=[b"other"])
        registry.add_image(APP, tag="second", layers=[b"other"])
        yield registry


def second(other: ScriptedRegistry, **keys: str) -> dict[str, str]:
    """Configure the second registry as upstream ``other``."""
    given = {"REMOTEURL": other.url, **keys}
    return {f"REGISTRY_UPSTREAMS_OTHER_{key}": value for key, value in given.items()}


@pytest.mark.parametrize(
    "form",
    [
        "/v2/other/{app}/manifests/latest",
        "/v2/{app}/manifests/latest?ns=other",
        "/other/v2/{app}/manifests/latest",
        "/v2/other/{app}/manifests/latest?ns=other",
    ],
)
async def test_upstreams_never_mix(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    other: ScriptedRegistry,
    client: ClientSession,
    form: str,
) -> None:
    """The same repository and tag on two upstreams are two images, however one asks."""
    default = upstream.add_image(APP, tag="latest", layers=[b"default"])
    named = other.repositories[APP].find_manifest("latest")
    assert named is not None
    async with started(upstream, tmp_path, **second(other)) as mirror:
        for _ in range(2):
            async with client.get(url_of(mirror) + f"/v2/{APP}/manifests/latest") as response:
                assert await response.read() == default.content
            async with client.get(url_of(mirror) + form.format(app=APP)) as response:
                assert await response.read() == named.content
                assert response.headers["X-Roadstead-Upstream"] == "other"
                repeated = "other" if "ns=" in form else None
                assert response.headers.get("OCI-Namespace") == repeated
        async with client.get(url_of(mirror) + "/v2/_catalog") as response:
            assert await response.json() == {"repositories": [APP, f"other/{APP}"]}


async def test_an_upstream_may_have_a_port_and_a_host_name(
    tmp_path: Path, upstream: ScriptedRegistry, other: ScriptedRegistry, client: ClientSession
) -> None:
    """Three containers become three ports of one process; names of the mirror work as well."""
    keys = {"LISTEN": "127.0.0.1:0", "HOSTS": "[other.mirror.example]"}
    path = f"/v2/{APP}/manifests/latest"
    async with started(upstream, tmp_path, **second(other, **keys)) as mirror:
        own = f"http://127.0.0.1:{mirror.upstream_ports['other']}"
        async with client.get(own + path) as response:
            assert response.status == 200
            assert response.headers["X-Roadstead-Upstream"] == "other"
        headers = {"Host": "other.mirror.example:5000"}
        async with client.get(url_of(mirror) + path, headers=headers) as response:
            assert response.headers["X-Roadstead-Upstream"] == "other"
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"/v2/{APP}/manifests/latest?ns=evil.example", 404, ErrorCode.NAME_UNKNOWN),
        (f"/v2/{APP}/manifests/latest?ns=evil%0d%0aX:%22", 404, ErrorCode.NAME_UNKNOWN),
        (f"/v2/other/{APP}/manifests/latest?ns=ghcr.io", 400, ErrorCode.NAME_INVALID),
        ("/v2/other/secret/app/manifests/latest", 403, ErrorCode.DENIED),
    ],
)
async def test_what_is_not_configured_is_never_dialled(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    other: ScriptedRegistry,
    client: ClientSession,
    path: str,
    status: int,
    code: ErrorCode,
) -> None:
    """Unknown, contradictory and denied names are refused before anybody is asked."""
    async with (
        started(upstream, tmp_path, **second(other, DENY="[secret/*]")) as mirror,
        client.get(url_of(mirror) + path) as response,
    ):
        assert response.status == status
        assert code.name in await response.text()
        assert response.headers["X-Roadstead-Outcome"] == "denied"
        assert response.headers["X-Roadstead-Reason"]
    assert upstream.requests == other.requests == []


async def test_only_images_for_the_listed_platforms_are_fetched(
    tmp_path: Path, upstream: ScriptedRegistry, other: ScriptedRegistry, client: ClientSession
) -> None:
    """A denial tells the client why, so that it says so or asks the origin."""
    index = other.add_index(APP, platforms=["linux/amd64", "linux/s390x"], tag="multi")
    amd64, s390x = (image.manifest_digest for image in index.images)
    keys = second(other, PLATFORMS="[linux/amd64, linux/arm64/v8]")
    async with started(upstream, tmp_path, **keys) as mirror:
        base = url_of(mirror) + f"/v2/other/{APP}/manifests/"
        async with client.get(base + "multi") as response:
            assert await response.read() == index.content
        async with client.get(base + str(amd64)) as response:
            assert response.status == 200
        async with client.head(base + str(s390x)) as response:
            assert response.status == 403
        async with client.get(base + str(s390x)) as response:
            assert response.status == 403
            assert response.headers["X-Roadstead-Outcome"] == "denied"
            assert "linux/s390x" in response.headers["X-Roadstead-Reason"]
            told = await response.text()
    assert ErrorCode.DENIED.name in told
    assert "linux/amd64, linux/arm64/v8 only" in told
    assert "linux/s390x" in told


@pytest.mark.parametrize(
    ("path", "link"),
    [
        (f"/v2/other/{APP}/tags/list?n=1", f"/v2/other/{APP}/tags/list?last=latest&n=1"),
        (f"/other/v2/{APP}/tags/list?n=1", f"/other/v2/{APP}/tags/list?last=latest&n=1"),
        (f"/v2/{APP}/tags/list?n=1&ns=other", f"/v2/{APP}/tags/list?last=latest&n=1&ns=other"),
    ],
)
async def test_the_next_page_leads_back_the_same_way(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    other: ScriptedRegistry,
    client: ClientSession,
    path: str,
    link: str,
) -> None:
    """A Link is followed as it stands, so it names the upstream as the question did."""
    async with started(upstream, tmp_path, **second(other)) as mirror:
        async with client.get(url_of(mirror) + path) as response:
            assert response.headers["Link"] == f'<{link}>; rel="next"'
        async with client.get(url_of(mirror) + link) as response:
            assert (await response.json())["tags"] == ["second"]


async def test_offline_nobody_is_asked(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """What is held whole is served, marked as stale if it is old; the rest is refused."""
    image = upstream.add_image(APP, tag="latest")
    async with started(upstream, tmp_path) as mirror:
        paths = [f"/v2/{APP}/manifests/latest"]
        paths += [f"/v2/{APP}/blobs/{blob.digest}" for blob in image.blobs]
        for path in paths:
            async with client.get(url_of(mirror) + path) as response:
                await response.read()
    upstream.requests.clear()
    always = {"REGISTRY_PROXY_TAGTTL": "0s"}

    async with started(upstream, tmp_path, **OFFLINE, **always) as mirror:
        async with client.get(url_of(mirror) + paths[0]) as response:
            assert (response.status, await response.read()) == (200, image.content)
            assert "offline" in response.headers["Warning"]
        async with client.get(url_of(mirror) + f"/v2/{APP}/manifests/other") as response:
            assert response.status == 502

    assert upstream.requests == []


async def test_a_dead_endpoint_is_passed_over(
    tmp_path: Path, upstream: ScriptedRegistry, other: ScriptedRegistry, client: ClientSession
) -> None:
    """The next endpoint answers, and the client does not notice."""
    dead = other.url
    await other.stop()
    image = upstream.add_image(APP, tag="latest")
    endpoints = {"REGISTRY_PROXY_ENDPOINTS": f"[{dead}, {upstream.url}]"}

    async with (
        started(upstream, tmp_path, **endpoints) as mirror,
        client.get(url_of(mirror) + f"/v2/{APP}/manifests/latest") as response,
    ):
        assert await response.read() == image.content


async def test_a_mirror_of_several_registries_is_told_which_one_is_meant(
    tmp_path: Path, upstream: ScriptedRegistry, other: ScriptedRegistry, client: ClientSession
) -> None:
    """A Roadstead asks another one for its ghcr.io, and never gets the other's default."""
    upstream.add_image(APP, tag="latest", layers=[b"the default upstream's"])
    image = other.add_image(APP, tag="one", layers=[b"ghcr.io's"])
    signature = other.add_image(APP, tag="two", subject=image.descriptor)
    ghcr = "REGISTRY_UPSTREAMS_GHCR.IO_REMOTEURL"
    async with AsyncExitStack() as stack:
        far = await stack.enter_async_context(
            started(upstream, tmp_path / "far", **{ghcr: other.url})
        )
        near = await stack.enter_async_context(
            started(upstream, tmp_path / "near", **{ghcr: url_of(far)})
        )
        base = url_of(near) + f"/v2/ghcr.io/{APP}/"
        async with client.get(base + "manifests/one") as response:
            assert await response.read() == image.content
        async with client.get(base + f"blobs/{image.layers[0].digest}") as response:
            assert await response.read() == b"ghcr.io's"
        async with client.get(base + "tags/list") as response:
            assert (await response.json())["tags"] == ["latest", "one", "second", "two"]
        async with client.get(base + f"referrers/{image.manifest_digest}") as response:
            (found,) = (await response.json())["manifests"]
            assert found["digest"] == str(signature.manifest_digest)
    assert upstream.requests == []
