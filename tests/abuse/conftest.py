"""A mirror of a registry, both in processes of their own."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.roadstead_process import RoadsteadProcess, free_port, start_roadstead


@pytest.fixture(scope="module")
def busy_mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoadsteadProcess]:
    """Start a registry with a few small images, and a mirror of it."""
    folder = tmp_path_factory.mktemp("mirror")
    port = free_port()
    command = [sys.executable, "-m", "roadstead", "upstream-simulator", f"--port={port}"]
    with subprocess.Popen(
        [*command, "--images=1", "--layers=1", "--layer-size=100kB"], stdout=subprocess.DEVNULL
    ) as registry:
        try:
            with start_roadstead(
                {
                    "log": {"level": "debug"},
                    "storage": {"filesystem": {"rootdirectory": str(folder)}},
                    "http": {"limits": {"idletimeout": "3s"}},
                    "proxy": {"remoteurl": f"http://127.0.0.1:{port}", "tagttl": "1h"},
                }
            ) as mirror:
                yield mirror
        finally:
            registry.terminate()


def memory_mb(mirror: RoadsteadProcess) -> float:
    """Return the resident memory of the mirror."""
    status = Path(f"/proc/{mirror.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def complaints(mirror: RoadsteadProcess) -> list[str]:
    """Return the lines of its log that no request of a client may cause."""
    marks = ("Traceback", "a request failed", "Unhandled", "Error handling", "never retrieved")
    return [line for line in mirror.log.splitlines() if any(mark in line for mark in marks)]
