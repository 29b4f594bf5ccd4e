"""A configuration becomes a mirror that serves."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from roadstead.server.listener import Listener
from roadstead.simulator import faults
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import debug_url_of, started, url_of
from tests.support.certificates import Authority
from tests.support.rig import APP

DEBUG = {
    "REGISTRY_HTTP_DEBUG_ADDR": "127.0.0.1:0",
    "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "true",
}


async def status_of(client: ClientSession, url: str) -> int:
    """Ask, and return the status."""
    async with client.get(url, allow_redirects=False) as response:
        return response.status


async def becomes(client: ClientSession, url: str, status: int) -> None:
    """Ask until the status is as expected; the test's time limit ends a vain wait."""
    async with asyncio.timeout(20):
        while await status_of(client, url) != status:
            pass


async def test_images_are_served_and_outlive_upstream_and_process(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """What one process fetched, the next one serves while upstream is away."""
    image = upstream.add_image(APP, tag="latest", layers=[b"layer" * 100_000])
    paths = {
        f"/v2/{APP}/manifests/latest": image.content,
        f"/v2/{APP}/blobs/{image.layers[0].digest}": image.layers[0].read(),
    }

    for _ in range(2):
        async with started(upstream, tmp_path) as mirror:
            for path, content in paths.items():
                async with client.get(url_of(mirror) + path) as response:
                    assert (response.status, await response.read()) == (200, content)
                    assert response.headers["X-Content-Type-Options"] == "nosniff"
        await upstream.stop()


async def test_a_store_in_trouble_does_not_stop_the_start(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """Manifests come from upstream, until the check of the store says that all is not well."""
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    image = upstream.add_image(APP, tag="latest")

    async with (
        started(upstream, blocked) as mirror,
        client.get(f"{url_of(mirror)}/v2/{APP}/manifests/latest") as response,
    ):
        assert await response.read() == image.content
    often = {**DEBUG, "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL": "5ms"}
    async with started(upstream, blocked, **often) as mirror:
        health = f"{debug_url_of(mirror)}/debug/health"
        await becomes(client, health, 503)
        async with client.get(health) as response:
            assert set(await response.json()) == {"storagedriver_filesystem"}


async def test_a_prefix_moves_the_api(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """With ``http.prefix`` the API is found there only, and its links lead there."""
    upstream.add_image(APP, tag="a")
    upstream.add_image(APP, tag="b")

    async with started(upstream, tmp_path, REGISTRY_HTTP_PREFIX="/mirror/") as mirror:
        url = url_of(mirror)
        assert await status_of(client, f"{url}/mirror/v2/") == 200
        assert await status_of(client, f"{url}/v2/") == 404
        assert await status_of(client, f"{url}/mirror/") == 404
        async with client.get(f"{url}/mirror/v2", allow_redirects=False) as response:
            assert response.headers["Location"] == "/mirror/v2/"
        async with client.get(f"{url}/mirror/v2/{APP}/tags/list?n=1") as response:
            assert response.headers["Link"].startswith(f"</mirror/v2/{APP}/tags/list?")


@pytest.mark.parametrize("with_helper", [False, True], ids=["account", "exec helper"])
async def test_upstream_gets_the_configured_credentials(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession, *, with_helper: bool
) -> None:
    """Of ``proxy.username`` and ``password``, or of the helper that ``proxy.exec`` names."""
    upstream.require_basic("alice", "pl4nted")
    image = upstream.add_image(APP, tag="latest")
    account = {"REGISTRY_PROXY_USERNAME": "alice", "REGISTRY_PROXY_PASSWORD": "pl4nted"}
    if with_helper:
        helper = tmp_path / "docker-credential-test"
        helper.write_text("""#!/bin/sh\necho '{"Username": "alice", "Secret": "pl4nted"}'\n""")
        helper.chmod(0o755)
        account = {
            "REGISTRY_PROXY_EXEC_COMMAND": str(helper),
            "REGISTRY_PROXY_EXEC_LIFETIME": "1h",
        }

    async with (
        started(upstream, tmp_path / "data", **account) as mirror,
        client.get(f"{url_of(mirror)}/v2/{APP}/manifests/latest") as response,
    ):
        assert await response.read() == image.content


async def test_without_credentials_a_private_upstream_is_403(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """The mirror's lack of an account never becomes a challenge to the client."""
    upstream.require_basic("alice", "pl4nted")
    upstream.add_image(APP, tag="latest")

    async with (
        started(upstream, tmp_path) as mirror,
        client.get(f"{url_of(mirror)}/v2/{APP}/manifests/latest") as response,
    ):
        assert response.status == 403
        assert "WWW-Authenticate" not in response.headers


async def test_metrics_tell_what_was_served(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """The names of registry:3 count one miss and one hit after two pulls of a manifest."""
    upstream.add_image(APP, tag="latest")

    async with started(upstream, tmp_path, **DEBUG) as mirror:
        for _ in range(2):
            assert await status_of(client, f"{url_of(mirror)}/v2/{APP}/manifests/latest") == 200
        async with client.get(f"{debug_url_of(mirror)}/metrics") as response:
            text = await response.text()
            assert response.headers["Content-Type"].startswith("text/plain")
        async with client.get(f"{debug_url_of(mirror)}/debug/vars") as response:
            variables = await response.json()

    assert 'registry_proxy_hits_total{type="manifest"} 1.0' in text
    assert 'registry_proxy_misses_total{type="manifest"} 1.0' in text
    assert variables["registry"]["proxy"]["manifests"]["Requests"] == 2


async def test_the_debug_server_shows_what_is_asked_for_only(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """Metrics stand under the configured path; nothing else, and no other verb, is there."""
    moved = {**DEBUG, "REGISTRY_HTTP_DEBUG_PROMETHEUS_PATH": "/m"}
    plain = {**DEBUG, "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "false"}

    async with started(upstream, tmp_path, **moved) as mirror:
        url = debug_url_of(mirror)
        for path, status in (("/m", 200), ("/metrics", 404), ("/debug/pprof/", 404), ("/", 404)):
            assert await status_of(client, url + path) == status
        async with client.post(f"{url}/m") as response:
            assert response.status == 404
    async with started(upstream, tmp_path, **plain) as mirror:
        assert await status_of(client, f"{debug_url_of(mirror)}/metrics") == 404
        assert await status_of(client, f"{debug_url_of(mirror)}/debug/health") == 200
    async with started(upstream, tmp_path) as mirror:
        assert mirror.debug_port is None


async def test_a_failing_check_takes_the_mirror_out_of_rotation_and_back(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """While the file exists every path of both servers says so; then all is well again."""
    out_of_rotation = tmp_path / "out"
    checks = {
        **DEBUG,
        "REGISTRY_HEALTH_FILE_0_FILE": str(out_of_rotation),
        "REGISTRY_HEALTH_FILE_0_INTERVAL": "5ms",
    }

    async with started(upstream, tmp_path / "data", **checks) as mirror:
        url, health = url_of(mirror), f"{debug_url_of(mirror)}/debug/health"
        out_of_rotation.touch()
        await becomes(client, health, 503)
        async with client.get(health) as response:
            assert await response.json() == {str(out_of_rotation): "file exists"}
        for path in ("/", "/v2/", f"/v2/{APP}/manifests/latest", "/nowhere"):
            async with client.get(url + path) as response:
                assert response.status == 503
                assert (await response.json())["errors"][0]["code"] == "UNAVAILABLE"
        out_of_rotation.unlink()
        await becomes(client, health, 200)
        assert await status_of(client, f"{url}/v2/") == 200


async def test_checks_of_other_services_are_made(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """``health.http`` and ``health.tcp`` follow the service they watch; both name it."""
    checks = {
        **DEBUG,
        "REGISTRY_HEALTH_HTTP_0_URI": f"{upstream.url}/v2/",
        "REGISTRY_HEALTH_HTTP_0_INTERVAL": "5ms",
        "REGISTRY_HEALTH_TCP_0_ADDR": upstream.host,
        "REGISTRY_HEALTH_TCP_0_INTERVAL": "5ms",
        "REGISTRY_HEALTH_STORAGEDRIVER_INTERVAL": "5ms",
    }
    failing: dict[str, str] = {}

    async with started(upstream, tmp_path, **checks) as mirror:
        health = f"{debug_url_of(mirror)}/debug/health"
        assert await status_of(client, health) == 200
        await upstream.stop()
        async with asyncio.timeout(20):
            while len(failing) < 2:
                async with client.get(health) as response:
                    failing = await response.json()

    assert set(failing) == {f"{upstream.url}/v2/", upstream.host}


async def test_a_key_without_its_file_ends_the_start(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """A TLS file that cannot be read is an OSError, and leaves nothing that runs."""
    certificate = Authority(tmp_path).certificate.file
    files = {
        "REGISTRY_HTTP_TLS_CERTIFICATE": str(certificate),
        "REGISTRY_HTTP_TLS_KEY": str(tmp_path / "absent"),
    }
    tasks = asyncio.all_tasks()

    with pytest.raises(OSError, match="No such file"):
        async with started(upstream, tmp_path / "data", **files):
            pass

    assert asyncio.all_tasks() == tasks


async def test_settings_of_the_upstream_client_arrive(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """The time-outs and the size limit of ``proxy`` hold, and their breach has its own status."""
    upstream.add_image(APP, tag="latest")
    upstream.add_manifest(APP, b'{"manifests": [], "x": "%s"}' % (b"x" * 5000), "", tag="large")
    limits = {
        "REGISTRY_PROXY_CONNECTTIMEOUT": "20ms",
        "REGISTRY_PROXY_FIRSTBYTETIMEOUT": "20ms",
        "REGISTRY_PROXY_MAXMANIFESTSIZE": "4096",
    }

    async with started(upstream, tmp_path, **limits) as mirror:
        url = f"{url_of(mirror)}/v2/{APP}/manifests"
        assert await status_of(client, f"{url}/large") == 502
        upstream.inject(faults.Stall())
        assert await status_of(client, f"{url}/latest") == 504


async def test_pulls_are_notified(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """A manifest and a blob, once each; a second look that finds nothing new is none."""
    config = str(upstream.add_image(APP, tag="latest").blobs[0].digest)
    received: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def listen(request: web.BaseRequest) -> web.StreamResponse:
        await received.put(json.loads(await request.read())["events"][0])
        return web.Response()

    listener = Listener(listen, drain_seconds=0)
    port = await listener.listen_tcp("127.0.0.1", 0)
    try:
        endpoints = f'[{{name: hook, url: "http://127.0.0.1:{port}/events"}}]'
        async with started(
            upstream, tmp_path, REGISTRY_NOTIFICATIONS_ENDPOINTS=endpoints
        ) as mirror:
            url = f"{url_of(mirror)}/v2/{APP}"
            async with client.get(f"{url}/manifests/latest") as response:
                etag = response.headers["ETag"]
                await response.read()
            again = {"If-None-Match": etag}
            async with client.get(f"{url}/manifests/latest", headers=again) as response:
                assert response.status == 304
            async with client.head(f"{url}/blobs/{config}"):
                pass
            async with asyncio.timeout(20):
                manifest, blob = await received.get(), await received.get()
    finally:
        await listener.aclose()
    assert manifest["target"]["tag"] == "latest"
    assert manifest["target"]["digest"] == etag.strip('"')
    assert blob["target"]["digest"] == config
    assert blob["target"]["size"] > 0
    assert received.empty()


async def test_without_nginx_roadstead_sends_what_is_held(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """Unless http.accelredirect is set, no answer names a file."""
    blob = upstream.add_blob(APP, b"x" * 100_000)
    async with started(upstream, tmp_path) as mirror:
        for _ in range(3):
            async with client.get(f"{url_of(mirror)}/v2/{APP}/blobs/{blob.digest}") as response:
                assert await response.read() == b"x" * 100_000
                assert "X-Accel-Redirect" not in response.headers
