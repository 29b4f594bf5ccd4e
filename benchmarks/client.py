"""Starts the load generators and reads what they found out."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.load import Load, Outcome

# What docker sends when it asks for a manifest.
ACCEPT = (
    "application/json, application/vnd.docker.distribution.manifest.v2+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
)
_SECONDS_PER_UNIT = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_LATENCY = re.compile(r"^\s+(\d+)%\s+([\d.]+)(us|ms|s|m)\s*$", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_TROUBLE = re.compile(r"^\s*(?:Non-2xx|Socket errors).*$", re.MULTILINE)


class LoadFailedError(Exception):
    """A load generator met an answer that is not the expected one."""


class Pulling:
    """A running load generator of benchmarks.load."""

    def __init__(self, load: Load, *, cpu: int | None = None) -> None:
        """Start it, on ``cpu`` only if that is given."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if cpu is not None:
            os.sched_setaffinity(self._process.pid, {cpu})
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        if stdin is None or stdout is None or stderr is None:
            message = "the load generator lacks its pipes"
            raise LoadFailedError(message)
        self._output, self._errors = stdout, stderr
        self._is_begun = False
        stdin.write(json.dumps(dataclasses.asdict(load)))
        stdin.close()

    def wait_until_begun(self) -> None:
        """Wait for the first byte of a body, or for the end."""
        self._output.readline()
        self._is_begun = True

    def outcome(self) -> Outcome:
        """Wait for its end.

        Raises:
            LoadFailedError: a body was wrong, or did not come.
        """
        if not self._is_begun:
            self.wait_until_begun()
        output = self._output.read()
        errors = self._errors.read()
        if self._process.wait():
            raise LoadFailedError(errors.strip().rpartition("\n")[2])
        return Outcome(**json.loads(output))


def pull(load: Load, *, cpu: int | None = None) -> Outcome:
    """Run one load generator to its end; see Pulling."""
    return Pulling(load, cpu=cpu).outcome()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Small requests as wrk counted them: per second, and latencies in seconds."""

    per_second: float
    p50_seconds: float
    p99_seconds: float


def small_requests(
    url: str,
    *,
    connections: int,
    seconds: int,
    headers: Iterable[str] = (f"Accept: {ACCEPT}",),
    cpu: int | None = None,
) -> Rate:
    """GET ``url`` as fast as it is answered, with wrk.

    Raises:
        LoadFailedError: an answer was not 2xx, or a connection failed.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s"]
    for header in headers:
        command += ["-H", header]
    if cpu is not None:
        command = ["taskset", "-c", str(cpu), *command]
    run = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    return parse_wrk(run.stdout)


def parse_wrk(output: str) -> Rate:
    """Read wrk's report.

    Raises:
        LoadFailedError: it tells of failed requests, or is none.
    """
    trouble = _TROUBLE.search(output)
    rate = _RATE.search(output)
    latency = {
        int(percent): float(number) * _SECONDS_PER_UNIT[unit]
        for percent, number, unit in _LATENCY.findall(output)
    }
    if trouble is not None or rate is None or not {50, 99} <= latency.keys():
        raise LoadFailedError(trouble.group().strip() if trouble else output)
    return Rate(per_second=float(rate.group(1)), p50_seconds=latency[50], p99_seconds=latency[99])
