"""Several workers as one mirror: fetches, memory, limits and counters are shared."""

import asyncio
from pathlib import Path

from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.workers.crew import made_crew
from tests.support.rig import APP

MIB = 1 << 20
_KEY = "key-of-the-operators"
CONTENT = bytes(range(256)) * 8192


async def test_a_cold_blob_is_fetched_once(upstream: ScriptedRegistry, tmp_path: Path) -> None:
    """However many clients of however many workers want it."""
    blob = upstream.add_blob(APP, CONTENT)
    async with made_crew(upstream, tmp_path) as crew:
        path = f"/v2/{APP}/blobs/{blob.digest}"
        answers = await asyncio.gather(*(crew.get(number % 2, path) for number in range(8)))

    assert answers == [(200, CONTENT)] * 8
    assert upstream.count(kind=RequestKind.BLOB) == 1


async def test_a_manifest_is_asked_for_once(upstream: ScriptedRegistry, tmp_path: Path) -> None:
    """One worker asks, the others wait for it and find the answer in the store."""
    image = upstream.add_image(APP, tag="latest")
    async with made_crew(upstream, tmp_path) as crew:
        for reference in ("latest", image.manifest_digest):
            path = f"/v2/{APP}/manifests/{reference}"
            answers = await asyncio.gather(*(crew.get(number % 2, path) for number in range(6)))
            assert {status for status, _ in answers} == {200}

    assert upstream.count(kind=RequestKind.MANIFEST, method="GET") == 1
    assert upstream.count(kind=RequestKind.MANIFEST, method="HEAD") == 1


async def test_what_one_worker_removes_is_forgotten_by_all(
    upstream: ScriptedRegistry, tmp_path: Path
) -> None:
    """A tag that was deleted through one of them is asked for anew by the other."""
    first = upstream.add_image(APP, tag="latest")
    async with made_crew(
        upstream,
        tmp_path,
        REGISTRY_STORAGE_DELETE_ENABLED="true",
        REGISTRY_ACCESS_ADMINS="[header:ops]",
        REGISTRY_ACCESS_HEADERS=f"[{{name: X-Key, secret: {_KEY}, identity: ops}}]",
        REGISTRY_ACCESS_RULES="[{allow: [everybody]}]",
    ) as crew:
        path = f"/v2/{APP}/manifests/latest"
        await asyncio.gather(crew.get(0, path), crew.get(1, path))
        second = upstream.add_image(APP, tag="latest", layers=[b"another layer"])
        assert second.content != first.content

        assert (await crew.get(0, path, method="DELETE", headers={"X-Key": _KEY}))[0] == 202
        _, moved = await crew.get(1, path)
        _, seen = await crew.get(0, path)

    assert moved == seen == second.content
    assert upstream.count(kind=RequestKind.MANIFEST, method="GET") == 2


async def test_counters_are_sums_that_survive_a_worker(
    upstream: ScriptedRegistry, tmp_path: Path
) -> None:
    """One scrape gives the total, and what a dead worker had counted stays in it."""
    upstream.add_image(APP, tag="latest")
    name = 'registry_proxy_requests_total{type="manifest"}'
    async with made_crew(upstream, tmp_path) as crew:
        for number in range(5):
            await crew.get(number % 2, f"/v2/{APP}/manifests/latest")
        before = await crew.metrics()
        assert (before[name], before["roadstead_workers"]) == (5, 2)

        await crew.workers[0].break_off()
        await crew.get(1, f"/v2/{APP}/manifests/latest")
        after = await crew.metrics()

        assert (after[name], after["roadstead_workers"]) == (6, 1)
        assert (await crew.status())["served"]["manifests"]["Requests"] == 6


async def test_limits_hold_over_all_workers(upstream: ScriptedRegistry, tmp_path: Path) -> None:
    """Room is asked for in one place: what arrives in any worker counts, and the oldest goes."""
    images = [upstream.add_image(APP, tag=f"v{n}", layers=[bytes([n]) * MIB]) for n in range(6)]
    given = {"REGISTRY_RETENTION_MAXSIZE": "3MiB", "REGISTRY_RETENTION_GRACE": "0s"}
    async with made_crew(upstream, tmp_path, **given) as crew:
        while (await crew.status())["metadata"]["condition"] != "whole":
            pass
        for number, image in enumerate(images):
            worker = number % 2
            await crew.get(worker, f"/v2/{APP}/manifests/v{number}")
            for blob in image.blobs:
                status, content = await crew.get(worker, f"/v2/{APP}/blobs/{blob.digest}")
                assert (status, len(content)) == (200, blob.descriptor.size)
                await asyncio.gather(*(one.mirror.mirrors.landed() for one in crew.workers))
            data = (tmp_path / "docker/registry/v2/blobs").rglob("data")
            assert sum(path.stat().st_size for path in data) <= 3 * MIB
        metrics = await crew.metrics()

    assert metrics['roadstead_evicted_images_total{reason="maxsize"}'] >= 2
    assert metrics["roadstead_not_kept_total"] == 0


async def test_what_workers_fetch_is_in_use(upstream: ScriptedRegistry, tmp_path: Path) -> None:
    """The keeper asks before it plans what goes, and hears of pulls then too."""
    image = upstream.add_image(APP, tag="latest", layers=[CONTENT])
    release = asyncio.Event()
    upstream.inject(faults.Stall(after=MIB, release=release), kind=RequestKind.BLOB)
    layer = image.layers[0].digest
    async with made_crew(upstream, tmp_path) as crew:
        await crew.get(0, f"/v2/{APP}/manifests/latest")
        pulling = asyncio.ensure_future(crew.get(1, f"/v2/{APP}/blobs/{layer}"))
        async with asyncio.timeout(20):
            while not crew.office.usage().is_in_use(layer):
                await crew.office.gather()
        assert APP in crew.office.usage().pulling_since
        release.set()
        assert (await pulling)[0] == 200
        await crew.workers[1].mirror.mirrors.landed()
        async with asyncio.timeout(20):
            while crew.office.usage().is_in_use(layer):
                await crew.office.gather()
        pulled = None
        database = crew.keeper.readiness.board.metadata
        async with asyncio.timeout(20):
            while pulled is None or not pulled.hits:
                await crew.office.gather()
                if database.database is not None:
                    pulled = await database.database.pulls(APP, image.manifest_digest)
        assert pulled.hits == 1


async def test_a_quota_that_one_worker_sees_is_known_to_all(
    upstream: ScriptedRegistry, tmp_path: Path
) -> None:
    """So that the budget is one budget."""
    upstream.add_image(APP, tag="latest")
    limit = {"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "7;w=21600"}
    upstream.inject(faults.Headers(put=limit), kind=RequestKind.MANIFEST)
    async with made_crew(upstream, tmp_path) as crew:
        await crew.get(0, f"/v2/{APP}/manifests/latest")
        status = await crew.status()
        assert status["upstreams"][0]["members"][0]["pulls_remaining"] == 7
        await crew.office.gather()
        await crew.office.refresh()
        reports = [report["budgets"] for report in crew.office.reports]

    assert [len(budgets) for budgets in reports] == [1, 1]
