"""Container tools as root that leave nothing behind.

Each command runs in a mount namespace of its own: its mounts end with it, and what it would
write under ``/var/lib``, ``/run`` and ``/etc/docker`` is lost. It knows a proxy that nobody
listens at, so that a client which falls back to the origin fails at once and never leaves the
loopback interface.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

# The discard port of an address of ours: connections are refused.
_NOWHERE = "http://127.0.0.1:9"
_HIDDEN = ("/var/lib", "/run", "/etc/docker")
_COMMAND_SECONDS = 60.0
_START_SECONDS = 30.0
_STOP_SECONDS = 20.0


def require(*programs: str) -> None:
    """Skip the test unless root may use mount namespaces here and the programs are there."""
    for program in ("unshare", "mount", *programs):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if os.geteuid() != 0:
        pytest.skip("container daemons need root")
    probe = subprocess.run(isolated("true"), capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip(f"no mount namespaces: {probe.stderr.decode(errors='replace').strip()}")


def isolated(*command: str | Path) -> list[str]:
    """Wrap a command in a mount namespace; the process keeps its id."""
    mounts = "; ".join(
        f"mkdir -p {path} && mount -t tmpfs roadstead-test {path}" for path in _HIDDEN
    )
    script = f'set -e; {mounts}; exec "$@"'
    return ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, command)]


def run(*command: str | Path, home: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return its output.

    Raises:
        AssertionError: it failed; the message holds what it said.
    """
    done = attempt(*command, home=home, environment=environment)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def attempt(
    *command: str | Path, home: Path, environment: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command that may fail; standard output holds its error output too.

    It sees nothing of this process's environment but PATH; ``home`` is its HOME.
    """
    return subprocess.run(
        isolated(*command),
        env={**_environment(home), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )


@contextmanager
def daemon(
    command: Sequence[str | Path], *, probe: Sequence[str | Path], home: Path
) -> Iterator[Path]:
    """Run a daemon until the end of the context and give its log file.

    It is ready when the command ``probe`` succeeds.
    """
    log_file = home / "daemon.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            isolated(*command), env=_environment(home), stdout=log, stderr=log
        )
    try:
        _wait_for(process, probe, home, log_file)
        yield log_file
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(
    process: "subprocess.Popen[bytes]", probe: Sequence[str | Path], home: Path, log_file: Path
) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if attempt(*probe, home=home).returncode == 0:
            return
        time.sleep(0.1)
    message = f"{process.args!r} did not start:\n{log_file.read_text(errors='replace')}"
    raise AssertionError(message)


def _environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "TMPDIR": str(home),
        "HTTP_PROXY": _NOWHERE,
        "HTTPS_PROXY": _NOWHERE,
        "NO_PROXY": "127.0.0.1,localhost",
    }
