"""The whole program keeps its store within limits."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from roadstead.oci.reference import RepositoryName
from roadstead.runtime import Running
from roadstead.simulator.client import PullingClient
from roadstead.simulator.content import SimulatedImage
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.telemetry.probes import ProbeError
from tests.runtime.started import debug_url_of, started, url_of

KIB = 1024
LAYER = 64 * KIB
AT_ONCE = {"REGISTRY_RETENTION_GRACE": "0s", "REGISTRY_HTTP_DEBUG_ADDR": "127.0.0.1:0"}


def add_images(upstream: ScriptedRegistry, count: int) -> list[SimulatedImage]:
    """Add images of one layer each, ``library/app0`` and so on."""
    return [
        upstream.add_image(name(number), tag="latest", layers=[bytes([number]) * LAYER])
        for number in range(count)
    ]


def name(number: int) -> RepositoryName:
    """Return the name of an image."""
    return RepositoryName(f"library/app{number}")


async def pull(mirror: Running, number: int) -> None:
    """Pull an image whole."""
    async with PullingClient(url_of(mirror)) as client:
        pulled = await client.pull(name(number), "latest")
    assert pulled.failure == ""
    await mirror.mirrors.landed()


async def whole(mirror: Running, client: ClientSession) -> None:
    """Wait until the metadata database can be relied on."""
    async with asyncio.timeout(20):
        while (await status(mirror, client))["metadata"]["condition"] != "whole":
            pass


async def status(mirror: Running, client: ClientSession) -> dict[str, Any]:
    """Return the document of ``roadstead status``."""
    async with client.get(f"{debug_url_of(mirror)}/debug/status") as response:
        document: dict[str, Any] = await response.json()
        return document


async def call(
    mirror: Running, client: ClientSession, path: str, **arguments: object
) -> dict[str, Any]:
    """Steer a mirror."""
    async with client.post(f"{debug_url_of(mirror)}{path}", json=arguments) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == 200, document
        return document


def data_bytes(root: Path) -> int:
    """Sum up the data on disk, arriving bytes too."""
    files = [
        *root.glob("docker/registry/v2/blobs/*/*/*/data"),
        *root.glob("roadstead/partial/*/*/*"),
    ]
    return sum(path.stat().st_size for path in files)


def held(root: Path) -> set[str]:
    """List the repositories that hold a manifest."""
    links = root.glob("docker/registry/v2/repositories/library/*/_manifests/revisions/*/*/link")
    return {link.parts[-6] for link in links}


async def test_the_limit_holds_while_images_arrive_and_the_latest_stay(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """Twelve images through a store for four: all are served, the last ones are held."""
    add_images(upstream, 12)
    limit = 4 * LAYER + 10 * KIB
    async with started(
        upstream, tmp_path, REGISTRY_RETENTION_MAXSIZE=str(limit), **AT_ONCE
    ) as mirror:
        await whole(mirror, client)
        for number in range(12):
            await pull(mirror, number)
            assert data_bytes(tmp_path) <= limit
        assert held(tmp_path) >= {"app10", "app11"}
        assert "app0" not in held(tmp_path)


async def test_a_pull_saves_an_image_from_eviction(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """What is pulled again and again stays, however many others come by."""
    add_images(upstream, 8)
    limit = 3 * LAYER + 10 * KIB
    async with started(
        upstream, tmp_path, REGISTRY_RETENTION_MAXSIZE=str(limit), **AT_ONCE
    ) as mirror:
        await whole(mirror, client)
        for number in range(8):
            await pull(mirror, 0)
            await pull(mirror, number)
        assert "app0" in held(tmp_path)
        requests = len(upstream.requests)
        await pull(mirror, 0)
        assert len(upstream.requests) == requests


async def test_what_is_pinned_stays_and_the_rest_passes_through(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """A store full of pinned images keeps no other, and serves it all the same."""
    add_images(upstream, 4)
    limit = 2 * LAYER + 10 * KIB
    async with started(
        upstream, tmp_path, REGISTRY_RETENTION_MAXSIZE=str(limit), **AT_ONCE
    ) as mirror:
        await whole(mirror, client)
        await pull(mirror, 0)
        await pull(mirror, 1)
        host = (await call(mirror, client, "/debug/pin", pattern="library/app*"))["pattern"]
        assert host.endswith("/library/app*")
        await pull(mirror, 2)
        await pull(mirror, 3)
        assert held(tmp_path) >= {"app0", "app1"}
        assert data_bytes(tmp_path) <= limit
        plan = await call(mirror, client, "/debug/retention/plan")
        assert plan["images"] == []


async def test_an_image_is_evicted_by_hand(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """First a dry run, which names it and how many bytes it takes; then it is gone."""
    images = add_images(upstream, 2)
    async with started(upstream, tmp_path, **AT_ONCE) as mirror:
        await whole(mirror, client)
        await pull(mirror, 0)
        await pull(mirror, 1)
        before = data_bytes(tmp_path)
        planned = await call(
            mirror, client, "/debug/evict", patterns=["library/app0"], dry_run=True
        )
        assert [one["digest"] for one in planned["images"]] == [str(images[0].manifest_digest)]
        assert data_bytes(tmp_path) == before
        done = await call(mirror, client, "/debug/evict", patterns=["library/app0"])
        assert done["evicted"] == 1
        assert done["freed_bytes"] == planned["freed_bytes"] == before - data_bytes(tmp_path)
        assert held(tmp_path) == {"app1"}
        await pull(mirror, 0)
        assert held(tmp_path) == {"app0", "app1"}


@pytest.mark.parametrize("environ", [{}, {"REGISTRY_PROXY_TTL": "1h"}])
async def test_nothing_goes_without_a_limit(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession, environ: dict[str, str]
) -> None:
    """A stock registry's configuration keeps all that is held; only a plan is made."""
    add_images(upstream, 3)
    async with started(upstream, tmp_path, **AT_ONCE, **environ) as mirror:
        await whole(mirror, client)
        for number in range(3):
            await pull(mirror, number)
        assert held(tmp_path) == {"app0", "app1", "app2"}
        plan = await call(mirror, client, "/debug/retention/plan")
        assert (plan["images"], plan["freed_bytes"], plan["missing_bytes"]) == ([], 0, 0)


async def test_a_limit_that_cannot_hold_is_told_until_it_can(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """In health, readiness and status, but nothing is taken out of service; unpinning ends it."""
    add_images(upstream, 4)
    limit = 2 * LAYER + 10 * KIB
    async with started(
        upstream, tmp_path, REGISTRY_RETENTION_MAXSIZE=str(limit), **AT_ONCE
    ) as mirror:
        space = mirror.readiness.board.space
        assert space is not None
        await whole(mirror, client)
        await pull(mirror, 0)
        await pull(mirror, 1)
        await space.check()
        await call(mirror, client, "/debug/pin", pattern="library/app*")
        await pull(mirror, 2)

        with pytest.raises(ProbeError, match=r"maxsize cannot hold.*pinned \(\d images, "):
            await space.check()
        document = (await status(mirror, client))["retention"]
        assert document["pins"] == 1
        assert document["shortfall"]["kept"]["pinned"]["images"] >= 2
        assert document["shortfall"]["missing_bytes"] > 0
        (told,) = document["limits"]
        assert 2 * LAYER < told["used_bytes"] <= told["max_bytes"] == limit
        async with asyncio.timeout(20):
            while "retention" not in await _failing(mirror, client, "/debug/health"):
                pass
        assert "retention" in (await _failing(mirror, client, "/readyz"))["failing"]
        metric = mirror.metrics.render()[0].decode()  # what alerts go by
        assert "roadstead_retention_missing_bytes 0.0" not in metric

        await call(mirror, client, "/debug/unpin", pattern="library/app*")
        await space.timetable.tick()
        await space.check()
        await pull(mirror, 3)
        assert "app3" in held(tmp_path)
        assert (await status(mirror, client))["retention"]["shortfall"] is None


async def _failing(mirror: Running, client: ClientSession, path: str) -> dict[str, Any]:
    """Ask for health or readiness: whatever it says, the mirror serves."""
    async with client.get(f"{debug_url_of(mirror)}{path}") as response:
        assert response.status == 200
        document: dict[str, Any] = await response.json()
        return document


async def test_an_upstream_that_is_full_takes_nothing_from_another(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """What arrives from one is no reason to evict the other's, nor to keep nothing."""
    add_images(upstream, 2)
    async with ScriptedRegistry() as other:
        for number in (0, 1):
            layers = [bytes([100 + number]) * LAYER]
            other.add_image(f"team/app{number}", tag="latest", layers=layers)
        async with started(
            upstream,
            tmp_path,
            REGISTRY_UPSTREAMS_OTHER_REMOTEURL=other.url,
            REGISTRY_UPSTREAMS_OTHER_RETENTION_MAXSIZE=str(LAYER + 10 * KIB),
            REGISTRY_PROXY_RETENTION_MAXSIZE=str(4 * LAYER),
            **AT_ONCE,
        ) as mirror:
            await whole(mirror, client)
            await _pull_named(mirror, "other/team/app0")
            await pull(mirror, 0)
            await pull(mirror, 1)
            assert _held_of(tmp_path, "other/team/*") == {"app0"}
            await call(mirror, client, "/debug/pin", pattern="other/team/app0")
            await _pull_named(mirror, "other/team/app1")
            assert _held_of(tmp_path, "library/*") == {"app0", "app1"}
            assert _held_of(tmp_path, "other/team/*") == {"app0"}


async def _pull_named(mirror: Running, repository: str) -> None:
    async with PullingClient(url_of(mirror)) as client:
        assert (await client.pull(repository, "latest")).failure == ""
    await mirror.mirrors.landed()


def _held_of(root: Path, pattern: str) -> set[str]:
    """List the last components of repositories whose layers are held; configs are no matter."""
    volume = root / "docker/registry/v2"
    links = volume.glob(f"repositories/{pattern}/_layers/sha256/*/link")
    data = {path.parts[-2] for path in volume.glob("blobs/*/*/*/data") if _size(path) >= LAYER}
    return {link.parts[-5] for link in links if link.parts[-2] in data}


def _size(path: Path) -> int:
    return path.stat().st_size


async def test_what_is_pulled_at_once_after_the_start_is_kept(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """It waits until the database can say how much is held."""
    add_images(upstream, 1)
    async with started(upstream, tmp_path, REGISTRY_RETENTION_MAXSIZE="1MB") as mirror:
        await pull(mirror, 0)

    assert data_bytes(tmp_path) > LAYER
    assert held(tmp_path) == {"app0"}
