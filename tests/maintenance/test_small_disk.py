"""A real mirror on a real small disk, with a working set of twice its size."""

import asyncio
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

from roadstead.simulator.client import PullingClient
from roadstead.simulator.content import BytesContent
from roadstead.simulator.registry import ScriptedRegistry
from tests.conftest import Figures
from tests.support.roadstead_process import start_roadstead

pytestmark = [
    pytest.mark.scale,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="needs root: mounts"),
]

MIB = 1024**2
DISK = 64 * MIB
IMAGES = 32
LAYER = 4 * MIB
PULLS = 1000
CLIENTS = 8


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 64 MiB."""
    root = tmp_path / "disk"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", root], check=True)
    try:
        yield root
    finally:
        subprocess.run(["umount", "-l", root], check=True)


class Sampler:
    """Looks at the store all the time, in a thread of its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.samples = 0
        self.most_bytes = 0
        self.least_free = DISK
        self.database_bytes = 0
        self.log_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.005):
            found = os.statvfs(self._root)
            self.least_free = min(self.least_free, found.f_bavail * found.f_frsize)
            self.most_bytes = max(self.most_bytes, self._data_bytes())
            self.database_bytes = max(self.database_bytes, self._size(""))
            self.log_bytes = max(self.log_bytes, self._size("-wal"))
            self.samples += 1

    def _size(self, ending: str) -> int:
        """Return the size of a file of the metadata database."""
        with suppress(FileNotFoundError):
            return Path(f"{self._root}/roadstead/metadata.sqlite{ending}").stat().st_size
        return 0

    def _data_bytes(self) -> int:
        """Sum up data and partial files; by inode, for one may be renamed while we look."""
        sizes = {}
        for part in ("roadstead/partial", "docker/registry/v2/blobs"):
            for directory, _, names in os.walk(self._root / part):
                for name in names:
                    with suppress(FileNotFoundError):
                        found = os.stat(f"{directory}/{name}")  # noqa: PTH116 - many a second
                        sizes[found.st_ino] = found.st_size
        return sum(sizes.values())


@pytest.mark.parametrize(
    ("limits", "most_bytes", "least_free"),
    [
        ({"maxsize": f"{40 * MIB}"}, 40 * MIB, 0),
        ({"minfree": f"{16 * MIB}"}, DISK, 16 * MIB),
    ],
    ids=["maxsize", "minfree"],
)
async def test_a_working_set_of_twice_the_disk(
    disk: Path, figures: Figures, limits: dict[str, str], most_bytes: int, least_free: int
) -> None:
    """A thousand pulls by eight clients all succeed, and no sample is beyond the limit."""
    chooser = random.Random(1)  # noqa: S311 - which image is next
    numbers = iter([min(IMAGES - 1, int(chooser.expovariate(0.08))) for _ in range(PULLS)])
    failures: list[str] = []
    async with ScriptedRegistry() as upstream:
        for number in range(IMAGES):
            layer = BytesContent(random.Random(number).randbytes(LAYER))  # noqa: S311 - filler
            upstream.add_image(f"library/app{number}", tag="1", layers=[layer])

        async def pull_some(url: str) -> None:
            async with PullingClient(url) as client:
                for number in numbers:
                    pulled = await client.pull(f"library/app{number}", "1")
                    if pulled.failure:
                        failures.append(pulled.failure)

        configuration = {
            "storage": {"filesystem": {"rootdirectory": str(disk)}},
            "proxy": {"remoteurl": upstream.url, "tagttl": "1h"},
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "retention": {"grace": "0s", **limits},
        }

        def run() -> tuple[Sampler, str]:
            with start_roadstead(configuration) as mirror, Sampler(disk) as sampler:
                asyncio.run_coroutine_threadsafe(pull_all(mirror.url), loop).result()
            return sampler, mirror.url

        async def pull_all(url: str) -> None:
            await asyncio.gather(*(pull_some(url) for _ in range(CLIENTS)))

        loop = asyncio.get_running_loop()
        sampler, _ = await asyncio.to_thread(run)
        fetched = sum(one.kind == "blob" for one in upstream.requests)
    figures.add(
        f"{PULLS} pulls of {IMAGES} images ({IMAGES * LAYER // MIB} MiB) over {DISK // MIB} MiB, "
        f"{limits}: at most {sampler.most_bytes / MIB:.1f} MiB held, at least "
        f"{sampler.least_free / MIB:.1f} MiB free in {sampler.samples} samples, "
        f"{fetched} blobs from upstream; database {sampler.database_bytes / MIB:.1f} MiB, "
        f"its log {sampler.log_bytes / MIB:.1f} MiB"
    )
    assert failures[:5] == []
    assert sampler.samples > 100
    assert sampler.most_bytes <= most_bytes
    assert sampler.least_free >= least_free
