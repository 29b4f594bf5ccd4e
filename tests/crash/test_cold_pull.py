"""A mirror that is killed again and again in the middle of one download."""

import asyncio
import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from urllib.request import ProxyHandler, build_opener

import pytest

from roadstead.oci.digest import Digest
from roadstead.simulator.content import GeneratedContent
from roadstead.simulator.faults import RequestKind, Slow
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.storage.layout import Layout
from roadstead.storage.partial import current_boot_id
from tests.conftest import Figures
from tests.support.roadstead_process import RoadsteadProcess, start_roadstead

pytestmark = [pytest.mark.crash, pytest.mark.timeout(180)]

_MIB = 1 << 20
_SIZE_BYTES = 64 * _MIB
_BYTES_PER_SECOND = 48.0 * _MIB
_KILLS = 20
_READ_BYTES = 1 << 16
# Upstream has sent it, and the mirror died before it was in the file: what the pump holds, and
# both ends' socket buffers.
_LOST_PER_KILL_BYTES = _MIB

# Loopback only, whatever proxy the environment names.
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Pull:
    """A client of one blob, and the volume behind the mirror."""

    upstream_url: str
    digest: Digest
    root: Path

    def killed_after(self, count: int) -> int:
        """Start the mirror, read ``count`` bytes, kill it; return the size of what it kept."""
        with self._mirror() as mirror:
            self._read(mirror, count)
            mirror.kill()
        return self._kept_bytes()

    def complete(self) -> str:
        """Start the mirror and read everything; return the sha256 of the body."""
        with self._mirror() as mirror:
            return self._read(mirror, _SIZE_BYTES)

    def require_nothing_damaged(self) -> None:
        """Hash everything that a reader of the volume can see."""
        blobs = self.root / "docker/registry/v2/blobs/sha256"
        for file in blobs.glob("??/*/data"):
            assert hashlib.sha256(file.read_bytes()).hexdigest() == file.parent.name

    def _mirror(self) -> AbstractContextManager[RoadsteadProcess]:
        return start_roadstead(
            {
                "storage": {"filesystem": {"rootdirectory": str(self.root)}},
                "proxy": {"remoteurl": self.upstream_url},
            }
        )

    def _read(self, mirror: RoadsteadProcess, count: int) -> str:
        hasher = hashlib.sha256()
        left = count
        url = f"{mirror.url}/v2/library/app/blobs/{self.digest}"
        with _opener.open(url, timeout=30) as response:
            while left > 0 and (piece := response.read(min(left, _READ_BYTES))):
                hasher.update(piece)
                left -= len(piece)
        assert left == 0
        return hasher.hexdigest()

    def _kept_bytes(self) -> int:
        layout = Layout(self.root)
        if layout.blob(self.digest).exists():
            return layout.blob(self.digest).stat().st_size
        partial = layout.partial(current_boot_id(), self.digest)
        return partial.stat().st_size if partial.exists() else 0


async def test_a_cold_pull_survives_twenty_kills(tmp_path: Path, figures: Figures) -> None:
    """Nothing damaged is ever visible, and upstream sends little more than one whole body."""
    async with ScriptedRegistry() as upstream:
        upstream.inject(Slow(bytes_per_second=_BYTES_PER_SECOND), kind=RequestKind.BLOB)
        content = GeneratedContent(_SIZE_BYTES, seed=7)
        digest = upstream.add_blob("library/app", content).digest
        pull = Pull(upstream.url, digest, tmp_path)

        kept = await asyncio.to_thread(_kill_at_random_moments, pull)
        body = await asyncio.to_thread(pull.complete)

        sent = upstream.blob_bytes_sent(digest)
        fetches = upstream.count(kind=RequestKind.BLOB, method="GET")
    pull.require_nothing_damaged()
    assert body == digest.encoded
    assert kept == sorted(kept)
    assert kept[-1] == _SIZE_BYTES
    assert sent <= _SIZE_BYTES + _KILLS * _LOST_PER_KILL_BYTES
    figures.add(
        f"kill -9, {_KILLS} times: a blob of {_SIZE_BYTES / _MIB:.0f} MiB cost upstream "
        f"{sent / _MIB:.2f} MiB in {fetches} transfers"
    )


def _kill_at_random_moments(pull: Pull) -> list[int]:
    """Return how much the mirror had kept after each kill; the last one is at the last byte."""
    random = Random(9)  # noqa: S311 - chooses moments to kill at, guards nothing
    kept = [0]
    for _ in range(_KILLS - 1):
        further = random.randint(0, 2 * _SIZE_BYTES // _KILLS)
        kept.append(pull.killed_after(min(kept[-1] + further, _SIZE_BYTES)))
        pull.require_nothing_damaged()
    kept.append(pull.killed_after(_SIZE_BYTES))
    pull.require_nothing_damaged()
    return kept
