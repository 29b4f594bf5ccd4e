"""Pulls and collections by many processes at once: nothing that a tag points at is ever lost."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from roadstead.maintenance.collection import Collection
from roadstead.storage.filesystem import FilesystemStore
from tests.conftest import Figures

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

_TOP = Path(__file__).parents[2]
_PULLERS = 4
_PULLS = 150
_KILLS = 12


class _Child:
    """A running child, whose lines are read as they come."""

    def __init__(self, task: str, root: Path) -> None:
        command = [sys.executable, "-m", "tests.maintenance.stress_child", task, str(root)]
        self.process = subprocess.Popen(command, cwd=_TOP, stdout=subprocess.PIPE, text=True)

    def lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        # Not "yield from", which would close the pipe when the reader has had enough.
        for line in self.process.stdout:  # noqa: UP028 - as said
            yield line

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def _pullers(root: Path, lost: list[str], *, pulls: int) -> Iterator[list[threading.Thread]]:
    """Run pullers, each in a process, until each has pulled so often or has lost something."""
    children = [_Child(f"puller{number}", root) for number in range(_PULLERS)]

    def follow(child: _Child) -> None:
        for line in child.lines():
            word, _, rest = line.strip().partition(" ")
            if word == "lost":
                lost.append(rest)
            elif int(rest) >= pulls:
                return

    threads = [threading.Thread(target=follow, args=(child,)) for child in children]
    try:
        for thread in threads:
            thread.start()
        yield threads
    finally:
        for child in children:
            child.kill()
        for thread in threads:
            thread.join()
        for child in children:
            child.close()


def test_collections_lose_nothing(tmp_path: Path, figures: Figures) -> None:
    """A collector that never pauses and gives no grace takes only what nobody points at."""
    lost: list[str] = []
    totals = [0, 0, 0, 0]
    runs = 0
    with _pullers(tmp_path, lost, pulls=_PULLS) as threads:
        collector = _Child("collect", tmp_path)
        try:
            for line in collector.lines():
                runs += 1
                totals = [a + int(b) for a, b in zip(totals, line.split()[1:], strict=True)]
                if lost or not any(thread.is_alive() for thread in threads):
                    break
        finally:
            collector.close()
    assert not lost
    figures.add(
        f"collections beside pulls: {_PULLERS} processes, {_PULLERS * _PULLS} pulls, {runs} "
        f"collections: removed {totals[0]} manifests, {totals[1]} links, {totals[2]} blobs, "
        f"spared {totals[3]}; lost 0"
    )
    assert min(totals[:3]) > 0, totals


def test_killed_collectors_lose_nothing(tmp_path: Path, figures: Figures) -> None:
    """A collector that is killed at any moment leaves what a next one can go on from."""
    lost: list[str] = []
    kills = 0
    with _pullers(tmp_path, lost, pulls=_PULLS) as threads:
        while not lost and any(thread.is_alive() for thread in threads) and kills < _KILLS:
            collector = _Child("collect", tmp_path)
            try:
                for line, _ in zip(collector.lines(), range(1 + kills % 3), strict=False):
                    assert line.startswith("collected ")
            finally:
                collector.close()
                kills += 1
        for thread in threads:
            thread.join()
    assert not lost
    Collection(FilesystemStore(tmp_path), say=lambda _line: None, grace_seconds=0).run()
    assert not list((tmp_path / "roadstead/marks").iterdir())
    figures.add(f"collectors killed beside pulls: {kills}; lost 0")
