"""Thousands of connections that do nothing: what a normal client still gets."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.server.limits import raise_descriptor_limit
from roadstead.storage.layout import Layout
from tests.conftest import Figures
from tests.support.roadstead_process import RoadsteadProcess, start_roadstead

pytestmark = [pytest.mark.scale, pytest.mark.timeout(300)]

COUNT = 5000
REPOSITORY = RepositoryName("library/big")
BIG = bytes(range(256)) * 40_000
ASKED = 100


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[RoadsteadProcess]:
    """Start a mirror that holds a large blob, and asks no upstream."""
    raise_descriptor_limit()
    digest = Digest.of(BIG)
    root = tmp_path / "data"
    layout = Layout(root)
    for path, content in (
        (layout.blob(digest), BIG),
        (layout.layer_link(REPOSITORY, digest), str(digest).encode()),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    with start_roadstead(
        {
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(root)}},
            "mirror": {"offline": True},
        }
    ) as started:
        yield started


def latencies(mirror: RoadsteadProcess, *, fresh: bool) -> list[float]:
    """Ask for a part of the blob many times; return the sorted seconds of each answer."""
    path = f"/v2/{REPOSITORY}/blobs/{Digest.of(BIG)}"
    seconds = []
    connection = HTTPConnection("127.0.0.1", mirror.port, timeout=30)
    for _ in range(ASKED):
        begun = time.perf_counter()
        if fresh:
            connection = HTTPConnection("127.0.0.1", mirror.port, timeout=30)
        connection.request("GET", path, headers={"Range": "bytes=0-9999"})
        response = connection.getresponse()
        assert response.status == 206
        assert response.read() == BIG[:10_000]
        if fresh:
            connection.close()
        seconds.append(time.perf_counter() - begun)
    connection.close()
    return sorted(seconds)


def memory_mb(mirror: RoadsteadProcess) -> float:
    """Return the resident memory of the mirror."""
    status = Path(f"/proc/{mirror.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def idle(_host: str) -> bytes:
    """Say nothing."""
    return b""


def dripping(host: str) -> bytes:
    """Begin a request and never end it."""
    return f"GET /v2/ HTTP/1.1\r\nHost: {host}\r\nX-Slow: ".encode()


def stalled(host: str) -> bytes:
    """Ask for the large blob, and read nothing of it."""
    path = f"/v2/{REPOSITORY}/blobs/{Digest.of(BIG)}"
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


@contextlib.contextmanager
def crowd(mirror: RoadsteadProcess, says: Callable[[str], bytes]) -> Iterator[None]:
    """Open the connections, and close them at the end."""
    opened = []
    with contextlib.ExitStack() as stack:
        for _ in range(COUNT):
            one = stack.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", mirror.port))
            one.sendall(says(mirror.host))
            opened.append(one)
        yield


@pytest.mark.parametrize("says", [idle, dripping, stalled], ids=lambda says: says.__name__)
def test_a_normal_client_among_thousands_that_do_nothing(
    mirror: RoadsteadProcess, figures: Figures, says: Callable[[str], bytes]
) -> None:
    """It gets its answers, in about its usual time, on a kept connection and on new ones."""
    latencies(mirror, fresh=False)
    before, memory_before = {}, memory_mb(mirror)
    for fresh in (False, True):
        before[fresh] = latencies(mirror, fresh=fresh)
    with crowd(mirror, says):
        for fresh in (False, True):
            among = latencies(mirror, fresh=fresh)
            name = "new" if fresh else "kept"
            figures.add(
                f"{COUNT} {says.__name__:9} {name:4} connections: "
                f"p50 {_ms(before[fresh], 0.5)} -> {_ms(among, 0.5)} ms, "
                f"p99 {_ms(before[fresh], 0.99)} -> {_ms(among, 0.99)} ms"
            )
        memory = memory_mb(mirror)
    each = (memory - memory_before) * 1024 / COUNT
    figures.add(
        f"{COUNT} {says.__name__:9} memory {memory_before:.0f} -> {memory:.0f} MB, "
        f"{each:.1f} KiB each"
    )
    assert each < 100
    assert json.loads(_get(mirror, "/v2/")) == {}


def _get(mirror: RoadsteadProcess, path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", mirror.port, timeout=30)
    connection.request("GET", path)
    content = connection.getresponse().read()
    connection.close()
    return content


def _ms(seconds: list[float], quantile: float) -> str:
    return f"{seconds[min(len(seconds) - 1, int(len(seconds) * quantile))] * 1000:.1f}"
