"""The ``registry`` command takes the command lines of distribution."""

from pathlib import Path

import pytest

from roadstead import __version__
from roadstead.cli.registry import USAGE, run
from tests.support.roadstead_process import installed, start_roadstead

BAD = "version: 0.1\nstorage: {filesystem: {rootdirectory: /data}}\nhttp: {addr: '5000'}\n"


@pytest.fixture
def bad(tmp_path: Path) -> str:
    """A configuration that cannot be used."""
    path = tmp_path / "config.yml"
    path.write_text(BAD)
    return str(path)


@pytest.mark.parametrize("arguments", [[], ["help"], ["help", "serve"], ["--help"], ["-h"]])
def test_help_is_the_usage(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """On standard output, with success; also without any argument, as there."""
    assert run("registry", arguments) == 0
    assert capsys.readouterr() == (USAGE, "")


@pytest.mark.parametrize("argument", ["--version", "-v"])
def test_the_version_is_the_third_word(capsys: pytest.CaptureFixture[str], argument: str) -> None:
    """As distribution: the program as it was called, what it is, and the version."""
    assert run("/bin/registry", [argument]) == 0
    assert capsys.readouterr() == (f"/bin/registry roadstead {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["garbage"], ["sevre"], ["--nonsense"], ["serve", "a", "b"]])
def test_an_unknown_command_is_an_error(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """It is named on standard error, with the usage, and nothing starts."""
    assert run("registry", arguments) == 1
    expected = f"unknown command: {' '.join(arguments)}\n\n{USAGE}"
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize("command", [["serve"], []], ids=["serve", "file only"])
def test_an_unusable_configuration_is_exit_1(
    capsys: pytest.CaptureFixture[str], bad: str, command: list[str]
) -> None:
    """Both ways of naming a file read that file."""
    assert run("registry", [*command, bad]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert bad in errors
    assert "http.addr" in errors


def test_a_file_is_served(tmp_path: Path) -> None:
    """``registry FILE`` runs the mirror, and SIGTERM ends it with status 0."""
    document = {"storage": {"filesystem": {"rootdirectory": str(tmp_path)}}}
    with start_roadstead(document, command=[installed("registry")]) as mirror:
        mirror.stop()

        assert mirror.process.returncode == 0
        assert f"listening on {mirror.host}" in mirror.log
        assert "msg=stopped" in mirror.log
