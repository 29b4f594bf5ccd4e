"""``roadstead serve`` in a process: exit codes, and what is said when it cannot start."""

import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roadstead import __version__
from roadstead.cli.main import app
from tests.support.roadstead_process import clean_environment, installed, start_roadstead

BAD = """\
version: 0.1
storage: {filesystem: {rootdirectory: /data}, s3: {bucket: images}}
http: {addr: '5000'}
health: {tcp: [{}]}
log: {level: loud}
"""


def serve(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run a mirror that cannot start, to its end."""
    return subprocess.run(
        [installed("roadstead"), "serve", *arguments],
        env={**clean_environment(), **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_every_problem_of_a_configuration_is_told_at_once(tmp_path: Path) -> None:
    """Exit status 1, one line for each on standard error, and nothing on standard output."""
    path = tmp_path / "config.yml"
    path.write_text(BAD)

    ended = serve(str(path))

    assert ended.returncode == 1
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert lines[0] == f"configuration error in {path} and the environment:"
    told = [line.split(":")[0].strip() for line in lines[1:-1]]
    assert sorted(told) == ["health.tcp[0].addr", "http.addr", "log.level", "storage"]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("variable", ["REGISTRY_HTTP_ADDR", "REGISTRY_HTTP_DEBUG_ADDR"])
def test_an_address_in_use_is_exit_1(tmp_path: Path, variable: str) -> None:
    """The main and the debug address are named when somebody else listens there."""
    path = tmp_path / "config.yml"
    storage = f"{{filesystem: {{rootdirectory: '{tmp_path}'}}}}"
    path.write_text(f"version: 0.1\nhttp: {{addr: '127.0.0.1:0'}}\nstorage: {storage}\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = serve(str(path), **{variable: f"127.0.0.1:{port}"})

    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("cannot start: ")
    assert str(port) in last
    assert "Traceback" not in ended.stderr


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    """A typing error never starts a mirror with another configuration."""
    missing = tmp_path / "none.yml"

    ended = serve(REGISTRY_CONFIGURATION_PATH=str(missing))

    assert ended.returncode == 1
    assert f"{missing}: there is no such file" in ended.stderr.replace("'", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_with_status_0(tmp_path: Path, number: signal.Signals) -> None:
    """As systemd, Docker and a terminal end it; with upstream unreachable all the while."""
    document: Mapping[str, object] = {
        "storage": {"filesystem": {"rootdirectory": str(tmp_path)}},
        "proxy": {"remoteurl": "http://127.0.0.1:9"},
    }
    with start_roadstead(document) as mirror:
        mirror.process.send_signal(number)
        assert mirror.process.wait(20) == 0
        assert "level=error" not in mirror.log


@pytest.mark.parametrize("arguments", [["--version"], ["version"]])
def test_the_version(arguments: list[str]) -> None:
    """Both spellings print the same."""
    result = CliRunner().invoke(app, arguments)

    assert (result.exit_code, result.stdout) == (0, f"roadstead {__version__}\n")


def test_an_unknown_command_is_named() -> None:
    """With the usual status of a wrong command line."""
    result = CliRunner().invoke(app, ["sevre"])

    assert result.exit_code == 2
    assert "sevre" in result.stderr
