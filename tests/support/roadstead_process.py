"""``roadstead serve`` in a process of its own, as users run it."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

_START_SECONDS = 20.0
_STOP_SECONDS = 20.0

# Loopback only, whatever proxy the environment names.
_opener = build_opener(
    ProxyHandler({}),
    # Whether it answers, and not who it is.
    HTTPSHandler(context=ssl._create_unverified_context()),  # noqa: S323 - see above
)


@dataclass(slots=True)
class RoadsteadProcess:
    """A running mirror."""

    port: int
    process: "subprocess.Popen[bytes]"
    log_file: Path
    killed: bool = False

    @property
    def host(self) -> str:
        """Address and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://{self.host}"

    @property
    def log(self) -> str:
        """All that the process has written: application log and access log."""
        return self.log_file.read_text(errors="replace")

    def kill(self) -> None:
        """End the process as a power cut does."""
        self.killed = True
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Ask the process to end by SIGTERM; it must do so cleanly.

        Raises:
            AssertionError: it did not end in time, or with another status than 0.
        """
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"SIGTERM did not stop the mirror:\n{self.log}"
            raise AssertionError(message) from None
        assert status == 0, f"the mirror ended with {status}:\n{self.log}"


@contextmanager
def start_roadstead(
    configuration: Mapping[str, object] | Path,
    *,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    tls: bool = False,
    command: Sequence[str] = (sys.executable, "-m", "roadstead", "serve"),
) -> Iterator[RoadsteadProcess]:
    """Run ``roadstead serve``; at the end stop it and require exit status 0, unless killed.

    ``configuration`` is a document without ``http.addr``, or a file that is used as it is. The
    mirror listens on ``port`` of 127.0.0.1, by default on a free one; ``environment`` adds
    ``REGISTRY_*`` overrides;
    ``tls`` says that it speaks HTTPS; ``command`` is what stands before the name of the file.
    """
    port = free_port() if port is None else port
    with TemporaryDirectory(prefix="roadstead-") as directory:
        file = configuration if isinstance(configuration, Path) else Path(directory) / "config.yml"
        if not isinstance(configuration, Path):
            # JSON is YAML.
            file.write_text(json.dumps({"version": 0.1, **configuration}), encoding="utf-8")
        log_file = Path(directory) / "log"
        with log_file.open("w+b") as log:
            process = subprocess.Popen(
                [*command, str(file)],
                env={
                    **clean_environment(),
                    "REGISTRY_HTTP_ADDR": f"127.0.0.1:{port}",
                    **(environment or {}),
                },
                stdout=log,
                stderr=log,
            )
        mirror = RoadsteadProcess(port, process, log_file)
        try:
            _wait_for(mirror, tls=tls)
            yield mirror
        except BaseException:
            mirror.kill()
            raise
        if not mirror.killed:
            mirror.stop()


def free_port() -> int:
    """Find a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def installed(name: str) -> str:
    """Return the path of a command that was installed with the package."""
    return str(Path(sys.executable).with_name(name))


def clean_environment() -> dict[str, str]:
    """Return the environment without what would configure the mirror."""
    return {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}


def _wait_for(mirror: RoadsteadProcess, *, tls: bool) -> None:
    url = f"https://{mirror.host}/v2/" if tls else f"{mirror.url}/v2/"
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and mirror.process.poll() is None:
        try:
            _opener.open(url, timeout=5).close()
        except HTTPError as error:
            error.close()
            if error.code == HTTPStatus.UNAUTHORIZED:
                return
            message = f"/v2/ answered {error.code}:\n{mirror.log}"
            raise AssertionError(message) from None
        except (URLError, OSError):
            time.sleep(0.02)
        else:
            return
    message = f"the mirror did not start:\n{mirror.log}"
    raise AssertionError(message)
