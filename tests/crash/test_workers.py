"""Worker processes that are killed, reloaded and stopped while clients pull."""

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

from roadstead.simulator.content import GeneratedContent
from roadstead.simulator.faults import RequestKind, Slow
from roadstead.simulator.registry import ScriptedRegistry
from tests.conftest import Figures
from tests.support.roadstead_process import (
    RoadsteadProcess,
    clean_environment,
    free_port,
    start_roadstead,
)

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]

_MIB = 1 << 20
_SIZE_BYTES = 32 * _MIB
_CLIENTS = 12
# What the killed process had taken from its sockets, and had not written yet.
_LOST_BYTES = 2 * _MIB


@contextmanager
def mirror_of(upstream: str, root: Path) -> Iterator[tuple[RoadsteadProcess, int]]:
    """Run a mirror with two workers; give it and its debug port."""
    port = free_port()
    document = {
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "http": {
            "workers": 2,
            "debug": {"addr": f"127.0.0.1:{port}", "prometheus": {"enabled": True}},
        },
        "storage": {"filesystem": {"rootdirectory": str(root)}},
        # One connection, so that what is lost is what one had under way.
        "proxy": {"remoteurl": upstream, "blobconnections": 1},
    }
    with start_roadstead(document) as mirror:
        yield mirror, port


@asynccontextmanager
async def client() -> AsyncIterator[ClientSession]:
    """Give a client that opens a connection for each request, so that it meets all workers."""
    connector = TCPConnector(limit=0, force_close=True)
    async with ClientSession(connector=connector, timeout=ClientTimeout(60)) as session:
        yield session


def workers_of(mirror: RoadsteadProcess) -> list[int]:
    """Return the process ids of its workers."""
    pid = mirror.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def _pull(session: ClientSession, url: str, progress: list[int]) -> tuple[str, int]:
    """Pull as docker does: a broken pull is tried again. Return the hash, and the attempts."""
    for attempt in range(1, 20):
        hasher = hashlib.sha256()
        try:
            async with session.get(url) as response:
                assert response.status == 200, response.status
                async for piece in response.content.iter_any():
                    hasher.update(piece)
                    progress.append(len(piece))
            return hasher.hexdigest(), attempt
        except (ClientError, OSError):
            await asyncio.sleep(0.05)
    pytest.fail("the blob could not be pulled")


async def test_a_worker_that_dies_in_the_middle_of_a_blob_costs_nothing(
    tmp_path: Path, figures: Figures
) -> None:
    """The other one goes on from the byte where it stopped; all bytes are right."""
    async with ScriptedRegistry() as upstream:
        blob = upstream.add_blob("library/app", GeneratedContent(_SIZE_BYTES))
        upstream.inject(Slow(bytes_per_second=8.0 * _MIB), kind=RequestKind.BLOB)
        with mirror_of(upstream.url, tmp_path) as (mirror, port):
            async with client() as session:
                url = f"{mirror.url}/v2/library/app/blobs/{blob.digest}"
                progress: list[int] = []
                pulls = [
                    asyncio.create_task(_pull(session, url, progress)) for _ in range(_CLIENTS)
                ]
                await _until(lambda: sum(progress) > _CLIENTS * _SIZE_BYTES // 3)
                owner = _owner(tmp_path, workers_of(mirror))
                os.kill(owner, signal.SIGKILL)
                results = await asyncio.gather(*pulls)
                metrics = await _scrape(session, port)

        assert {digest for digest, _ in results} == {blob.digest.encoded}
        sent = upstream.blob_bytes_sent(blob.digest)
        again = sum(tries > 1 for _, tries in results)
        figures.add(
            f"kill -9 of one of two workers in the middle of {_SIZE_BYTES / _MIB:.0f} MiB: "
            f"{_CLIENTS} clients, {again} of them had to try again, "
            f"{sent / _SIZE_BYTES:.3f}x the bytes from upstream"
        )
        assert sent < _SIZE_BYTES + _LOST_BYTES
        assert upstream.count(kind=RequestKind.BLOB) == 2
        assert any(tries == 1 for _, tries in results)
        assert metrics["roadstead_worker_restarts_total"] == 1


def _owner(root: Path, workers: list[int]) -> int:
    """Find the worker that has the partial file open for writing."""
    (partial,) = [one for one in root.glob("roadstead/partial/*/sha256/*") if not one.suffix]
    for worker in workers:
        for entry in Path(f"/proc/{worker}/fd").iterdir():
            if entry.resolve() == partial:
                info = Path(f"/proc/{worker}/fdinfo/{entry.name}").read_text()
                flags = int(info.partition("flags:")[2].split()[0], 8)
                if flags & os.O_ACCMODE == os.O_RDWR:
                    return worker
    pytest.fail("nobody writes the partial file")


async def _scrape(session: ClientSession, port: int) -> dict[str, float]:
    async with session.get(f"http://127.0.0.1:{port}/metrics") as response:
        lines = (await response.text()).splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


async def test_reloads_and_a_stop_lose_no_request(tmp_path: Path, figures: Figures) -> None:
    """Every request is answered until the process says that it stops; counters only grow."""
    async with ScriptedRegistry() as upstream:
        upstream.add_image("library/app", tag="latest")
        with mirror_of(upstream.url, tmp_path) as (mirror, port):
            async with client() as session:
                url = f"{mirror.url}/v2/library/app/manifests/latest"
                stopping = asyncio.Event()
                loads = [asyncio.create_task(_ask(session, url, stopping)) for _ in range(4)]
                first = set(workers_of(mirror))
                answered = [0.0]
                for _ in range(2):
                    before = set(workers_of(mirror))
                    mirror.process.send_signal(signal.SIGHUP)
                    while before & set(workers_of(mirror)):
                        metrics = await _scrape(session, port)
                        answered.append(metrics['registry_proxy_requests_total{type="manifest"}'])
                assert not first & set(workers_of(mirror))
                stopping.set()
                counts = await asyncio.gather(*loads)
                metrics = await _scrape(session, port)

        assert answered == sorted(answered)
        assert metrics['registry_proxy_requests_total{type="manifest"}'] == sum(counts)
        assert metrics["roadstead_worker_restarts_total"] == 0
        figures.add(f"two reloads of two workers: {sum(counts)} requests, none lost")


async def _ask(session: ClientSession, url: str, stopping: asyncio.Event) -> int:
    count = 0
    while not stopping.is_set():
        async with session.get(url) as response:
            assert response.status == 200
            await response.read()
        count += 1
    return count


async def test_sigterm_drains_all_workers(tmp_path: Path) -> None:
    """Downloads under way end whole, then the process ends with status 0 and no worker stays."""
    async with ScriptedRegistry() as upstream:
        blob = upstream.add_blob("library/app", GeneratedContent(8 * _MIB))
        upstream.inject(Slow(bytes_per_second=6.0 * _MIB), kind=RequestKind.BLOB)
        with mirror_of(upstream.url, tmp_path) as (mirror, _):
            workers = workers_of(mirror)
            async with client() as session:
                url = f"{mirror.url}/v2/library/app/blobs/{blob.digest}"
                progress: list[int] = []
                pulls = [asyncio.create_task(_pull(session, url, progress)) for _ in range(8)]
                await _until(lambda: sum(progress) > 8 * _MIB)
                await asyncio.to_thread(mirror.stop)
                results = await asyncio.gather(*pulls)
            assert results == [(blob.digest.encoded, 1)] * 8
            assert not any(map(_runs, workers))
            mirror.killed = True


async def test_workers_do_not_outlive_their_keeper(tmp_path: Path) -> None:
    """However it ended."""
    async with ScriptedRegistry() as upstream:
        with mirror_of(upstream.url, tmp_path) as (mirror, _):
            workers = workers_of(mirror)
            mirror.kill()
            await _until(lambda: not any(map(_runs, workers)))


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what other processes do tells nobody
            await asyncio.sleep(0.01)


def _runs(process: int) -> bool:
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def test_a_taken_address_ends_the_start(tmp_path: Path) -> None:
    """With status 1, as for one process."""
    with mirror_of("http://127.0.0.1:9", tmp_path / "first") as (mirror, _):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "roadstead", "serve"),
            env={
                **clean_environment(),
                "REGISTRY_HTTP_ADDR": mirror.host,
                "REGISTRY_HTTP_WORKERS": "2",
                "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(tmp_path / "second"),
            },
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert "in use" in errors.decode()


async def test_a_reload_that_cannot_be_changes_nothing(tmp_path: Path) -> None:
    """The same workers go on; one that can be used may have another number of them."""
    config = tmp_path / "config.yml"

    def write(http: str) -> None:
        config.write_text(
            "version: 0.1\n"
            f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'store'}}}}}\n"
            f"http: {{{http}}}\n"
        )

    write("workers: 2")
    with start_roadstead(config) as mirror:
        before = workers_of(mirror)
        write("workers: 2, tls: {certificate: /missing, key: /missing}")
        mirror.process.send_signal(signal.SIGHUP)
        await _until(lambda: "not reloaded" in mirror.log)
        assert workers_of(mirror) == before

        write("workers: 3")
        mirror.process.send_signal(signal.SIGHUP)
        await _until(lambda: "3 worker processes serve" in mirror.log)
        await _until(lambda: not any(map(_runs, before)))
        assert len(workers_of(mirror)) == 3
        async with client() as session:
            for _ in range(20):
                async with session.get(f"{mirror.url}/v2/") as response:
                    assert response.status == 200
