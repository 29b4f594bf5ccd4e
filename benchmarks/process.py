"""Server processes: started, watched through /proc, stopped."""

import http
import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

_START_SECONDS = 20.0
_STOP_SECONDS = 15.0
_POLL_SECONDS = 0.002
_SETTLE_SECONDS = 0.4
_SETTLE_LIMIT_SECONDS = 60.0
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
# Positions behind the command's name in /proc/<pid>/stat; see proc(5).
_SESSION, _UTIME, _STIME = 3, 11, 12


class StartFailedError(Exception):
    """A server did not come up."""


class Server:
    """A running server; all processes of its session belong to it."""

    def __init__(
        self, name: str, port: int, process: subprocess.Popen[bytes], *, secure: bool = False
    ) -> None:
        """Take a process that leads a session of its own and listens on ``port`` of loopback."""
        self.name = name
        self.secure = secure
        self.port = port
        self._process = process
        self.start_seconds = 0.0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """Return user and system time of all its processes so far."""
        ticks = sum(int(found[_UTIME]) + int(found[_STIME]) for _, found in self._processes())
        return ticks / _TICKS_PER_SECOND

    def reset_peak(self) -> None:
        """Let the peak of resident memory begin anew, at what is resident now."""
        for pid, _ in self._processes():
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")

    def peak_bytes(self) -> int:
        """Return the peak of resident memory, summed over its processes."""
        return sum(_peak_bytes(pid) for pid, _ in self._processes())

    def pin(self, cpu: int) -> None:
        """Bind all its threads to one processor."""
        for pid, _ in self._processes():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), {cpu})

    def settle(self) -> None:
        """Wait until it has nothing left to do, so that work behind an answer is counted."""
        deadline = time.monotonic() + _SETTLE_LIMIT_SECONDS
        seen = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_SETTLE_SECONDS)
            now = self.cpu_seconds()
            if now - seen < _SETTLE_SECONDS / 20:
                return
            seen = now

    def wait_until_it_answers(self) -> None:
        """Poll ``/v2/``.

        Raises:
            StartFailedError: the process ended, or time is over.
        """
        started = time.perf_counter()
        while time.perf_counter() - started < _START_SECONDS:
            if self._process.poll() is not None:
                break
            if _answers(self.port, secure=self.secure):
                self.start_seconds = time.perf_counter() - started
                return
            time.sleep(_POLL_SECONDS)
        message = f"{self.name} does not answer"
        raise StartFailedError(message)

    def _processes(self) -> Iterator[tuple[str, list[str]]]:
        session = str(self._process.pid)
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(FileNotFoundError, ProcessLookupError):
                text = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                found = text.rpartition(")")[2].split()
                if found[_SESSION] == session:
                    yield entry.name, found


@contextmanager
def run_server(
    name: str, command: Sequence[str], *, port: int, directory: Path, secure: bool = False
) -> Iterator[Server]:
    """Run ``command`` until the end of the context; its output goes to files in ``directory``.

    Raises:
        StartFailedError: it does not answer on ``port``.
    """
    with (directory / "stdout").open("wb") as output, (directory / "stderr").open("wb") as errors:
        process = subprocess.Popen(
            list(command), stdout=output, stderr=errors, cwd=directory, start_new_session=True
        )
        server = Server(name, port, process, secure=secure)
        try:
            server.wait_until_it_answers()
            yield server
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _answers(port: int, *, secure: bool) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    if secure:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=1.0, context=context)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _peak_bytes(pid: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    return 0
