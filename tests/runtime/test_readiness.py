"""When a mirror should get requests, and how it stands down before it stops."""

import asyncio
from pathlib import Path

from aiohttp import ClientSession

from roadstead.simulator import faults
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import debug_url_of, started, url_of
from tests.support.rig import APP

_DEBUG = {"REGISTRY_HTTP_DEBUG_ADDR": "127.0.0.1:0"}


async def test_a_mirror_without_upstream_is_alive_and_ready(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """It serves what it holds; who requires the upstream by name is told that it is away."""
    upstream.inject(faults.Status(503))
    async with started(upstream, tmp_path, **_DEBUG) as mirror:
        debug = debug_url_of(mirror)
        async with client.get(f"{url_of(mirror)}/v2/{APP}/manifests/latest") as response:
            assert response.status == 502

        async with client.get(f"{debug}/livez") as response:
            assert (response.status, await response.json()) == (200, {"live": True})
        async with client.get(f"{debug}/readyz") as response:
            document = await response.json()
            assert response.status == 200
        away = [name for name, state in document["upstreams"].items() if state == "away"]
        assert document["ready"]
        assert len(away) == 1
        for required, status in ((away[0], 503), ("all", 503), ("quay.io", 200), ("nowhere", 503)):
            async with client.get(f"{debug}/readyz", params={"upstreams": required}) as response:
                assert response.status == status, required


async def test_a_failing_check_takes_it_out_of_service(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """The file that an operator makes, say; the process is alive all the same."""
    flag = tmp_path / "out-of-service"
    flag.write_bytes(b"")
    checks = f"[{{file: {flag}, interval: 1ms}}]"
    async with started(upstream, tmp_path, REGISTRY_HEALTH_FILE=checks, **_DEBUG) as mirror:
        debug = debug_url_of(mirror)
        async with asyncio.timeout(20):
            while True:
                async with client.get(f"{debug}/readyz") as response:
                    document = await response.json()
                if response.status == 503:
                    break
        assert str(flag) in document["failing"]
        async with client.get(f"{debug}/livez") as response:
            assert response.status == 200


async def test_standing_down(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """It serves on, is not ready any more, and keeps no connection; a second signal hurries it."""
    hurry = asyncio.Event()
    async with started(upstream, tmp_path, **_DEBUG) as mirror:
        url = f"{url_of(mirror)}/v2/"
        async with client.get(url) as response:
            assert "Connection" not in response.headers

        standing_down = asyncio.ensure_future(mirror.stand_down(3600, hurry=hurry))
        await asyncio.sleep(0)

        async with client.get(url) as response:
            assert (response.status, response.headers["Connection"]) == (200, "close")
        async with client.get(f"{debug_url_of(mirror)}/readyz") as response:
            assert response.status == 503
            assert (await response.json())["draining"]
        hurry.set()
        await asyncio.wait_for(standing_down, 20)
