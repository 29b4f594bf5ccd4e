"""``python -m benchmarks.scale``: a million blobs in a hundred thousand repositories.

Makes such a volume, of sparse files, and measures what its size could slow down: the rebuild of
the metadata database, start-up, pages of the catalog and of tags, an eviction plan, a garbage
collection; beside docker-registry where it can do the same. The volume takes 12 GB of a tmpfs.
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
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bigvolume import TAGGED, make_volume, repository_name, tag_name
from benchmarks.content import MIB
from benchmarks.process import Server, free_port, run_server

_ROADSTEAD = str(Path(sys.executable).with_name("roadstead"))
_STOCK = "docker-registry"
_PAGES = 7
_CANDIDATES = 1000
_EVICTED_PERCENT = 1
"""So much of what is held is above the limit for which the plan is made; 2 % come on top."""
_WHOLE_SECONDS = 3600
_POLL_SECONDS = 0.5


def main() -> int:
    """Measure, and print one line for each figure."""
    options = _options()
    directory = Path(tempfile.mkdtemp(prefix="roadstead-scale-", dir=options.directory))
    root = options.volume or directory / "store"
    try:
        if not root.exists():
            started = time.perf_counter()
            count = make_volume(
                root, repositories=options.repositories, blobs=options.blobs, tags=options.tags
            )
            _say("volume made", data_files=count, seconds=time.perf_counter() - started)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Upstream) as upstream:
            threading.Thread(target=upstream.serve_forever, daemon=True).start()
            url = f"http://127.0.0.1:{upstream.server_port}"
            _measure(Bench(directory, root, url, options.repositories, options.tags))
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
    tags: int

    def configuration(self, port: int, *, debug_port: int = 0, max_bytes: int = 0) -> str:
        """Write the configuration of a mirror that listens on ``port``; return its path.

        Zeros: no debug listener, no limit.
        """
        listener: dict[str, object] = {"addr": f"127.0.0.1:{port}", "secret": "benchmark"}
        if debug_port:
            listener["debug"] = {"addr": f"127.0.0.1:{debug_port}"}
        document = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.root)}},
            "http": listener,
            "proxy": {"remoteurl": self.upstream},
            "retention": {"maxsize": max_bytes, "grace": "0s"},
        }
        file = self.directory / "config.yml"
        # JSON is YAML.
        file.write_text(json.dumps(document), encoding="utf-8")
        return str(file)

    def forget(self) -> None:
        """Remove what is ours beside the layout; a mirror that ran for a moment left nothing."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root / "roadstead")


def _measure(bench: Bench) -> None:
    bench.forget()
    _serve(bench, _ROADSTEAD, "roadstead before its rebuild")
    bench.forget()
    _rebuild(bench)
    _rebuild(bench, "again, nothing changed")
    database = bench.root / "roadstead" / "metadata.sqlite"
    _say("database", MiB=database.stat().st_size / MIB)
    used = asyncio.run(_candidates(bench.root))
    _serve(bench, _ROADSTEAD, "roadstead", used_bytes=used)
    _collect(bench, _ROADSTEAD, "roadstead")
    bench.forget()
    if shutil.which(_STOCK):
        _serve(bench, _STOCK, _STOCK)
        _collect(bench, _STOCK, _STOCK)


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


async def _candidates(root: Path) -> int:
    """Read the first candidates, as one plan does, and then all of them; return what is held."""
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
    return used


def _serve(bench: Bench, program: str, name: str, *, used_bytes: int = 0) -> None:
    """Measure a server; with ``used_bytes``, a mirror whose database is whole, and its plan."""
    port, debug_port = free_port(), free_port()
    max_bytes = used_bytes * (100 - _EVICTED_PERCENT) // 100
    configuration = bench.configuration(port, debug_port=debug_port, max_bytes=max_bytes)
    with run_server(
        name, [program, "serve", configuration], port=port, directory=bench.directory
    ) as server:
        _say(f"{name}: start to first answer", seconds=server.start_seconds)
        if used_bytes:
            _wait_until_whole(name, debug_port)
        middle = repository_name(bench.repositories // 2)
        tags = f"/v2/{TAGGED}/tags/list?n=100"
        for what, path in (
            ("first page of the catalog", "/v2/_catalog?n=100"),
            ("middle page of the catalog", f"/v2/_catalog?n=100&last={middle}"),
            ("first page of tags", tags),
            ("middle page of tags", f"{tags}&last={tag_name(bench.tags // 2)}"),
        ):
            times = [_page(server, path) for _ in range(_PAGES)]
            _say(
                f"{name}: {what}",
                first_ms=times[0],
                median_ms=statistics.median(times),
                highest_ms=max(times),
            )
        _say(f"{name}: memory", peak_MiB=server.peak_bytes() / MIB)
        if used_bytes:
            for round_number in (1, 2):
                _plan(f"{name}: plan {round_number}", debug_port)
            _say(f"{name}: memory after the plans", peak_MiB=server.peak_bytes() / MIB)


def _wait_until_whole(name: str, debug_port: int) -> None:
    """Wait until lists come from the database.

    Raises:
        TimeoutError: it is not whole within an hour.
    """
    started = time.perf_counter()
    while time.perf_counter() - started < _WHOLE_SECONDS:
        if _debug(debug_port, "/debug/status")["metadata"]["condition"] == "whole":
            _say(f"{name}: until the database was whole", seconds=time.perf_counter() - started)
            return
        time.sleep(_POLL_SECONDS)
    raise TimeoutError


def _plan(what: str, debug_port: int) -> None:
    started = time.perf_counter()
    plan = _debug(debug_port, "/debug/retention/plan", body=b"{}")
    _say(
        what,
        seconds=time.perf_counter() - started,
        images=len(plan["images"]),
        GiB=plan["freed_bytes"] / MIB / 1024,
    )


def _debug(port: int, path: str, *, body: bytes | None = None) -> Any:  # noqa: ANN401 - JSON
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(url, body, timeout=3600) as answer:
        return json.load(answer)


def _collect(bench: Bench, program: str, name: str) -> None:
    """Look for garbage, of which there is none."""
    configuration = bench.configuration(free_port())
    command = [program, "garbage-collect", "--dry-run", configuration]
    started = time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (bench.directory / "collected").open("wb") as output:
        subprocess.run(command, check=True, stdout=output, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    _say(
        f"{name}: garbage-collect --dry-run",
        seconds=time.perf_counter() - started,
        cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        # Of all children so far, the largest.
        peak_MiB=after.ru_maxrss / 1024,
    )


def _page(server: Server, path: str) -> float:
    """Ask for a page of 100 names; return milliseconds.

    Raises:
        RuntimeError: there are none.
    """
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=600)
    started = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    document = json.load(answer)
    elapsed = time.perf_counter() - started
    connection.close()
    if not document.get("repositories") and not document.get("tags"):
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
    parser.add_argument("--tags", type=int, default=10_000, help="of one repository")
    parser.add_argument("--volume", type=Path, help="made there unless it is there; stays")
    parser.add_argument("--directory", type=Path, default=Path(tempfile.gettempdir()))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
