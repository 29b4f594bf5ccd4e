"""The mirror that verifies by itself, as the configuration says."""

import asyncio
import time
from pathlib import Path

from aiohttp import ClientSession

from roadstead.maintenance.verification.position import Position, read_position, write_position
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.storage.layout import Layout
from tests.runtime.started import debug_url_of, started
from tests.support.rig import APP, make_rig

SCHEDULED = {
    "REGISTRY_VERIFY_SCHEDULE": "0 3 1 1 *",
    "REGISTRY_VERIFY_RATE": "0",
    "REGISTRY_HTTP_DEBUG_ADDR": "127.0.0.1:0",
    "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "true",
}
HEALED = 'roadstead_healed_blobs_total{error="none"} 1.0'


async def test_a_verification_that_was_cut_short_goes_on_and_heals(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """Damage that no request would find is found, fetched again, and told in metrics."""
    layout = Layout(tmp_path)
    async with make_rig(tmp_path, upstream=upstream) as rig:
        image = upstream.add_image(APP, tag="latest", layers=[b"layer" * 30_000])
        await rig.hold(image)
    data = layout.blob(image.layers[0].digest)
    data.write_bytes(bytes(data.stat().st_size))
    write_position(layout.verification, Position(started_at=time.time()))

    async with started(upstream, tmp_path, **SCHEDULED) as mirror, asyncio.timeout(20):
        metrics = ""
        while HEALED not in metrics:
            async with client.get(f"{debug_url_of(mirror)}/metrics") as response:
                metrics = await response.text()

    assert 'roadstead_damaged_blobs_total{damage="content"} 1.0' in metrics
    assert data.read_bytes() == image.layers[0].read()
    position = read_position(layout.verification)
    assert (position.started_at, position.completed_damaged) == (None, 1)


async def test_without_a_schedule_nothing_is_hashed(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """Not even what an earlier process with one has begun."""
    begun = Position(started_at=5.0)
    write_position(Layout(tmp_path).verification, begun)

    async with started(upstream, tmp_path):
        pass

    assert read_position(Layout(tmp_path).verification) == begun
