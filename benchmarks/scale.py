"""``python -m benchmarks.scale``: a million blobs in a hundred thousand repositories.

Makes such a volume on a tmpfs, and measures what its size could slow down: the rebuild of the
metadata database, start-up, pages of the catalog, the candidates of an eviction; beside
docker-registry where it can do the same.
"""

import argparse
import asyncio
import http.client
import http.server
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bigvolume import make_volume, repository_name
from benchmarks.content import MIB
from benchmarks.process import Server, free_port, run_server

_ROADSTEAD = str(Path(sys.executable).with_name("roadstead"))
_PAGES = 7
_CANDIDATES = 1000


def main() -> int:
    """Measure, and print one line for each figure."""
    options = _options()
    directory = Path(tempfile.mkdtemp(prefix="roadstead-scale-", dir=options.directory))
    try:
        root = directory / "store"
        started = time.perf_counter()
        count = make_volume(root, repositories=options.repositories, blobs=options.blobs)
        _say("volume made", data_files=count, seconds=time.perf_counter() - started)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Upstream) as upstream:
            threading.Thread(target=upstream.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{upstream.server_port}"
            _measure(Bench(directory, root, url, options.repositories))
            upstream.shutdown()
    finally:
        shutil.rmtree(directory)
    return 0


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs; the volume is in ``root``."""

    directory: Path
    root: Path
    upstream: str
    repositories: int

    def configuration(self, port: int) -> str:
        """Write the configuration of a mirror that listens on ``port``; return its path."""
        document = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.root)}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": "benchmark"},
            "proxy": {"remoteurl": self.upstream},
        }
        file = self.directory / "config.yml"
        # JSON is YAML.
        file.write_text(json.dumps(document), encoding="utf-8")
        return str(file)


def _measure(bench: Bench) -> None:
    _rebuild(bench)
    _rebuild(bench, "again, nothing changed")
    database = bench.root / "roadstead" / "metadata.sqlite"
    _say("database", MiB=database.stat().st_size / MIB)
    asyncio.run(_candidates(bench.root))
    _serve(bench, _ROADSTEAD, "roadstead")
    shutil.rmtree(bench.root / "roadstead")
    _serve(bench, _ROADSTEAD, "roadstead while rebuilding")
    shutil.rmtree(bench.root / "roadstead")
    if shutil.which("docker-registry"):
        _serve(bench, "docker-registry", "docker-registry")


def _rebuild(bench: Bench, what: str = "from nothing") -> None:
    command = [_ROADSTEAD, "metadata", "rebuild", bench.configuration(free_port()), "--json"]
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    _say(
        f"rebuild {what}",
        seconds=seconds,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        peak_MiB=after.ru_maxrss / 1024,
        blobs=json.loads(run.stdout)["data"],
    )


async def _candidates(root: Path) -> None:
    """Read the first candidates, as one plan does, and then all of them."""
    # Only here: this process is to be small while it makes the volume.
    from roadstead.metadata.database import MetadataDatabase  # noqa: PLC0415
    from roadstead.metadata.records import Condition  # noqa: PLC0415
    from roadstead.storage.survey import Survey  # noqa: PLC0415

    database = MetadataDatabase(root / "roadstead" / "metadata.sqlite", Survey(root))
    database.start(rebuilding=False)
    while database.condition() is Condition.OPENING:  # noqa: ASYNC110 - a thread opens it
        await asyncio.sleep(0.01)
    started = time.perf_counter()
    used = await database.used_bytes()
    _say("used bytes", ms=(time.perf_counter() - started) * 1000, GiB=used / MIB / 1024)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for limit, what in ((_CANDIDATES, "first candidates"), (0, "all candidates")):
        started = time.perf_counter()
        number = 0
        async for _ in database.candidates():
            number += 1
            if number == limit:
                break
        _say(what, number=number, seconds=time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _say("candidates, memory", grown_MiB=peak - before)
    started = time.perf_counter()
    orphans = [one async for one in database.orphans()]
    _say("orphans", number=len(orphans), seconds=time.perf_counter() - started)
    await database.aclose()


def _serve(bench: Bench, program: str, name: str) -> None:
    port = free_port()
    command = [program, "serve", bench.configuration(port)]
    middle = repository_name(bench.repositories // 2)
    with run_server(name, command, port=port, directory=bench.directory) as server:
        _say(f"{name}: start to first answer", seconds=server.start_seconds)
        for page, query in (("first", ""), ("middle", f"&last={middle}")):
            times = [_page(server, f"/v2/_catalog?n=100{query}") for _ in range(_PAGES)]
            _say(
                f"{name}: {page} page of the catalog",
                first_ms=times[0],
                median_ms=statistics.median(times),
                highest_ms=max(times),
            )
        _say(f"{name}: memory", peak_MiB=server.peak_bytes() / MIB)


def _page(server: Server, path: str) -> float:
    """Ask for a page of 100 names; return milliseconds."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    started = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    names = json.load(answer)["repositories"]
    elapsed = time.perf_counter() - started
    connection.close()
    if not names:
        message = f"{server.name} gave an empty page"
        raise RuntimeError(message)
    return elapsed * 1000


class _Upstream(http.server.BaseHTTPRequestHandler):
    """A registry with nothing in it: docker-registry does not start without one."""

    def do_GET(self) -> None:
        """Agree."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _say(what: str, **values: float) -> None:
    text = ", ".join(f"{name} {value:,.4g}" for name, value in values.items())
    print(f"{what}: {text} (load {os.getloadavg()[0]:.1f})", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--repositories", type=int, default=100_000)
    parser.add_argument("--blobs", type=int, default=10, help="of each repository's image")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
