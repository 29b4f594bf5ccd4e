"""Failure 16: the mirror's memory depends neither on the size of a blob nor on its readers."""

import asyncio
import re
from pathlib import Path

import pytest

from roadstead.simulator.content import GeneratedContent
from roadstead.simulator.registry import ScriptedRegistry
from tests.conftest import Figures
from tests.support.rig import APP
from tests.support.roadstead_process import RoadsteadProcess, start_roadstead

pytestmark = [pytest.mark.scale, pytest.mark.timeout(180)]

_MIB = 1 << 20
_ALLOWED_BYTES = 64 * _MIB
_SMALL, _LARGE = 10 * _MIB, 2048 * _MIB
_CLIENTS = 200


async def test_memory_stays_where_it_is(tmp_path: Path, figures: Figures) -> None:
    """Failure 16: 10 MiB for one client, 2 GiB for one, 10 MiB for 200: within 64 MiB."""
    peaks = {
        "10 MiB, 1 client": await _peak(tmp_path / "a", size=_SMALL, clients=1),
        "2 GiB, 1 client": await _peak(tmp_path / "b", size=_LARGE, clients=1),
        "10 MiB, 200 clients": await _peak(tmp_path / "c", size=_SMALL, clients=_CLIENTS),
    }

    for name, peak in peaks.items():
        figures.add(f"peak resident size of the mirror, {name}: {peak / _MIB:.1f} MiB")
    assert max(peaks.values()) - min(peaks.values()) < _ALLOWED_BYTES


async def _peak(root: Path, *, size: int, clients: int) -> int:
    """Let clients pull a cold blob of this size; return the mirror's peak resident bytes."""
    async with ScriptedRegistry() as upstream:
        blob = upstream.add_blob(APP, GeneratedContent(size))
        configuration = {
            "log": {"accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(root)}},
            "proxy": {"remoteurl": upstream.url},
        }
        # Starting and stopping block; upstream lives on this loop.
        context = start_roadstead(configuration)
        mirror = await asyncio.to_thread(context.__enter__)
        try:
            path = f"/v2/{APP}/blobs/{blob.digest}"
            counts = await asyncio.gather(*(_drain(mirror, path) for _ in range(clients)))
            peak = _peak_of(mirror)
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)
    assert set(counts) == {size}
    return peak


async def _drain(mirror: RoadsteadProcess, path: str) -> int:
    """Read a body and return its length."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mirror.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: mirror\r\nConnection: close\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    count = 0
    while piece := await reader.read(_MIB):
        count += len(piece)
    writer.close()
    return count


def _peak_of(mirror: RoadsteadProcess) -> int:
    status = Path(f"/proc/{mirror.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024
