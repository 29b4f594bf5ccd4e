"""Failures 3: real disks without room, read-only, or closed to us, under a real mirror."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import pytest

from roadstead.oci.digest import Digest
from roadstead.simulator.client import PullingClient
from roadstead.simulator.content import GeneratedContent, digest_of
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.storage.layout import Layout
from tests.support.roadstead_process import RoadsteadProcess, free_port, start_roadstead

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]

_MIB = 1 << 20
_VOLUME_MIB = 8
_IMAGE_BYTES = 3 * _MIB
_NOBODY = 65_534

# Loopback only, whatever proxy the environment names.
_opener = build_opener(ProxyHandler({}))


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 8 MiB; skips where none may be mounted."""
    path = tmp_path / "volume"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_VOLUME_MIB}m", "none", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted: {error}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedRegistry]:
    """Give a registry with eight images, of which two fit into the volume."""
    async with ScriptedRegistry() as registry:
        for number in range(8):
            layer = GeneratedContent(_IMAGE_BYTES, seed=number)
            registry.add_image("library/app", tag=f"v{number}", layers=[layer])
        yield registry


class Mirror:
    """A running mirror and what can be seen of it."""

    def __init__(self, process: RoadsteadProcess, debug_port: int, root: Path) -> None:
        self.process = process
        self._debug = f"http://127.0.0.1:{debug_port}"
        self._root = root

    async def pull(self, *numbers: int) -> None:
        """Pull these images; every byte must be right."""
        async with PullingClient(self.process.url) as client:
            for number in numbers:
                pulled = await client.pull("library/app", f"v{number}")
                assert pulled.failure == ""
        self.require_nothing_damaged()

    def require_nothing_damaged(self) -> None:
        """Hash everything that a reader of the volume can see."""
        for directory, _, names in os.walk(self._root / "docker/registry/v2/blobs/sha256"):
            # What is evicted meanwhile is not there any more.
            with suppress(FileNotFoundError):
                if "data" in names:
                    content = Path(directory, "data").read_bytes()
                    assert Digest.of(content).encoded == Path(directory).name

    def partial_files(self) -> list[Path]:
        """List what is left of downloads."""
        return list(self._root.glob("roadstead/partial/*/*/*"))

    async def metric(self, name: str, label: str = "") -> float:
        """Sum the series of a metric that have this label; 0 if there is none."""
        _, body = await asyncio.to_thread(self._get, "/metrics")
        lines = [line for line in body.splitlines() if line.startswith(name) and label in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def condition(self) -> str:
        """Say how the metadata database stands; blocks."""
        _, body = self._get("/debug/status")
        condition: str = json.loads(body)["metadata"]["condition"]
        return condition

    async def stands(self, condition: str) -> None:
        """Wait until the metadata database stands so."""
        await asyncio.to_thread(_until, lambda: self.condition() == condition)

    async def becomes(self, *, well: bool, check: str = "storage") -> tuple[int, dict[str, str]]:
        """Wait until the check of writing says so; return what health answers then."""

        def wait() -> tuple[int, str]:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                status, body = self._get("/debug/health")
                if (check not in json.loads(body)) is well:
                    return status, body
                time.sleep(0.2)
            raise TimeoutError

        status, body = await asyncio.to_thread(wait)
        return status, json.loads(body)

    def _get(self, path: str) -> tuple[int, str]:
        try:
            with _opener.open(f"{self._debug}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()


@contextmanager
def mirroring(
    upstream: ScriptedRegistry, root: Path, *, user: int | None = None, minfree: int = 0
) -> Iterator[Mirror]:
    """Run a mirror over ``root``, as another user if one is given."""
    command = [sys.executable, "-m", "roadstead", "serve"]
    if user is not None:
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
    debug_port = free_port()
    document = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(root)}},
        "http": {"debug": {"addr": f"127.0.0.1:{debug_port}", "prometheus": {"enabled": True}}},
        "proxy": {"remoteurl": upstream.url},
        # Else room is made, or nothing kept, before the disk is full.
        "retention": {"minfree": minfree, "grace": "0s"},
    }
    configuration = root.parent / "config.yml"
    configuration.write_text(json.dumps(document), encoding="utf-8")
    with start_roadstead(configuration, command=command) as process:
        yield Mirror(process, debug_port, root)


def free_bytes(volume: Path) -> int:
    """Say how much room is left."""
    found = os.statvfs(volume)
    return found.f_bavail * found.f_frsize


def fill(volume: Path) -> Path:
    """Leave no room at all, as another program might; returns the file that takes it."""
    path = volume / "ballast"
    with path.open("ab", buffering=0) as file:
        while free := free_bytes(volume):
            file.write(bytes(min(free, _MIB)))
    return path


def remount(volume: Path, option: str) -> None:
    """Change how the volume is mounted."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(volume)], check=True)


async def test_a_full_disk_serves_everything_and_recovers(
    volume: Path, upstream: ScriptedRegistry
) -> None:
    """Images for three times the room arrive whole; when there is room they are kept again."""
    with mirroring(upstream, volume) as mirror:
        await mirror.pull(*range(8))
        await mirror.pull(*range(8))

        assert await mirror.metric("roadstead_storage_errors_total", 'operation="write"') > 0
        assert await mirror.metric("roadstead_passed_on_total") > 0
        assert mirror.partial_files() == []

        # Meanwhile room was made, or is: what was pulled longest ago goes when the disk is full.
        remount(volume, "size=64m")
        await mirror.becomes(well=True)
        await mirror.pull(*range(8))
        await upstream.stop()
        await mirror.pull(*range(8))
        await mirror.becomes(well=True)
        assert "the store cannot be written" in mirror.process.log


@pytest.mark.parametrize("left_kib", [0, 4, 16, 64, 300])
async def test_a_disk_that_fills_at_any_step(
    volume: Path, upstream: ScriptedRegistry, left_kib: int
) -> None:
    """Directories, partial files, links, manifests and the database: each may be the one."""
    with mirroring(upstream, volume) as mirror:
        ballast = volume / "ballast"
        with ballast.open("wb") as file:
            free = os.statvfs(volume).f_bavail * os.statvfs(volume).f_bsize
            file.write(bytes(max(free - left_kib * 1024, 0)))
        await mirror.pull(0, 1, 0)
        ballast.unlink()
        await mirror.pull(0, 1, 0)
        await upstream.stop()
        await mirror.pull(0, 1)


@pytest.mark.parametrize("when", ["running", "stopped", "killed"])
async def test_a_disk_that_others_have_filled(
    volume: Path, upstream: ScriptedRegistry, when: str
) -> None:
    """Eviction needs the database, which needs room: it has some put by."""
    remount(volume, "size=32m")
    minfree = 4 * _MIB
    with mirroring(upstream, volume, minfree=minfree) as mirror:
        await mirror.pull(0, 1, 2, 3, 4)
        await mirror.stands("whole")
        if when == "running":
            await _fill_and_recover(mirror, volume, upstream, minfree)
            return
        if when == "killed":
            mirror.process.kill()
    fill(volume)
    with mirroring(upstream, volume, minfree=minfree) as mirror:
        await _fill_and_recover(mirror, volume, upstream, minfree)


async def _fill_and_recover(
    mirror: Mirror, volume: Path, upstream: ScriptedRegistry, minfree: int
) -> None:
    fill(volume)
    await mirror.pull(5, 6, 7)
    await asyncio.to_thread(_until, lambda: free_bytes(volume) >= minfree)
    await _keep(mirror, volume, 5)
    await upstream.stop()
    await mirror.pull(5)


async def _keep(mirror: Mirror, volume: Path, number: int) -> None:
    """Pull an image until it is held, which needs room, and once more."""
    layer = digest_of(GeneratedContent(_IMAGE_BYTES, seed=number))
    while not Layout(volume).blob(layer).exists():
        await mirror.pull(number)
    await mirror.becomes(well=True)
    await mirror.pull(number)


async def test_a_database_on_a_full_disk(volume: Path, upstream: ScriptedRegistry) -> None:
    """Pulls go on; the database is tried again, and well when there is room."""
    remount(volume, "size=32m")
    with mirroring(upstream, volume) as mirror:
        await mirror.pull(0)
        await mirror.stands("whole")
        ballast = fill(volume)
        while mirror.condition() != "failed":
            fill(volume)
            await mirror.pull(0, 1)
        assert "the metadata database is in trouble" in mirror.process.log
        status, failing = await mirror.becomes(well=False, check="metadata")
        assert status == 200
        assert "nothing is evicted until it can" in failing["metadata"]
        assert await mirror.metric("roadstead_metadata_failures_total") > 0
        await mirror.pull(0, 1, 2)

        ballast.unlink()
        await _keep(mirror, volume, 3)
        await mirror.stands("whole")
        await upstream.stop()
        await mirror.pull(3)


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)


async def test_a_volume_that_is_read_only(volume: Path, upstream: ScriptedRegistry) -> None:
    """What is held is served, the rest passed on; health says so and stays 200.

    From the start: while the database is open for writing, mount refuses to make it so.
    """
    with mirroring(upstream, volume) as mirror:
        await mirror.pull(0)
    remount(volume, "ro")
    with mirroring(upstream, volume) as mirror:
        await mirror.pull(0, 1, 1)
        status, failing = await mirror.becomes(well=False)
        assert status == 200
        assert "Read-only file system" in failing["storage"]

        remount(volume, "rw")
        await mirror.becomes(well=True)
        await mirror.pull(1)
        await upstream.stop()
        await mirror.pull(0, 1)


async def test_a_root_that_may_not_be_written(tmp_path: Path, upstream: ScriptedRegistry) -> None:
    """A volume of another owner serves everything from upstream, and keeps it once it may."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    # The folders above belong to root alone.
    for folder in (*tmp_path.parents, tmp_path):
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):  # noqa: S108 - pytest's own
            folder.chmod(0o755)
    root = tmp_path / "volume"
    root.mkdir(mode=0o755)
    with mirroring(upstream, root, user=_NOBODY) as mirror:
        await mirror.pull(0, 0)
        assert await mirror.metric("roadstead_storage_errors_total", 'operation="open"') > 0

        os.chown(root, _NOBODY, _NOBODY)
        await mirror.pull(0)
        await upstream.stop()
        await mirror.pull(0)
