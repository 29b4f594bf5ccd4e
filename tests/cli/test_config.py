"""``roadstead config`` shows what would happen, with the right exit code and no secret."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from roadstead.cli.config import app
from roadstead.config.document import parse_document
from roadstead.config.reference import compatibility_table

GOOD = """\
version: 0.1
storage: {filesystem: {rootdirectory: /data}, redirect: {disable: true}}
proxy: {remoteurl: 'https://u:hunter2@ghcr.io', cachewritetimeout: 1m}
"""
BAD = "version: 0.1\nstorage: s3\nhttp: {addr: '5000'}\nhealth: {tcp: [{}]}\nredis: {db: 1}\n"


def run(*arguments: str, **environ: str) -> Result:
    """Run the command with only these REGISTRY_* variables."""
    return CliRunner().invoke(app, arguments, env=environ)


@pytest.fixture
def good(tmp_path: Path) -> str:
    """A configuration that can be used, with two notices."""
    path = tmp_path / "good.yml"
    path.write_text(GOOD)
    return str(path)


@pytest.fixture
def bad(tmp_path: Path) -> str:
    """A configuration with three errors and a warning."""
    path = tmp_path / "bad.yml"
    path.write_text(BAD)
    return str(path)


def test_a_usable_configuration_is_printed_and_can_be_loaded(good: str) -> None:
    """Standard output is YAML; the notices are beside it."""
    result = run("check", good, REGISTRY_HTTP_ADDR=":81")

    document = parse_document(result.stdout)
    assert result.exit_code == 0
    assert isinstance(document, dict)
    assert isinstance(document["http"], dict)
    assert document["http"]["addr"] == ":81"
    assert "warning: proxy.cachewritetimeout: is ignored" in result.stderr
    assert "info: proxy.remoteurl: has user information" in result.stderr
    assert "info: without effect on a mirror: storage.redirect.disable" in result.stderr
    assert "hunter2" not in result.output


def test_every_error_is_printed_and_the_exit_code_is_1(bad: str) -> None:
    """Nothing goes to standard output; paths in brackets survive the styling."""
    result = run("check", bad)

    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert result.stdout == ""
    assert len([line for line in lines if line.startswith("error: ")]) == 3
    assert any(line.startswith("error: health.tcp[0].addr: is required") for line in lines)
    assert any(line.startswith("warning: redis: is ignored") for line in lines)
    assert lines[-1] == f"{bad} cannot be used: 3 errors"


def test_the_file_is_found_by_the_variable(good: str) -> None:
    """As `serve` finds it."""
    result = run("check", REGISTRY_CONFIGURATION_PATH=good)

    assert result.stdout.startswith(f"# effective configuration, from {good}\n")


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    """The message counts in the singular."""
    result = run("check", str(tmp_path / "none.yml"))

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("cannot be used: 1 error")


def test_json_of_a_usable_configuration(good: str) -> None:
    """One document with all that the text has."""
    result = run("check", good, "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (document["valid"], document["problems"]) == (True, [])
    assert document["source"] == good
    assert document["accepted"] == ["storage.redirect.disable"]
    assert document["configuration"]["proxy"]["password"] == "***"
    assert {notice["level"] for notice in document["notices"]} == {"info", "warning"}
    assert "hunter2" not in result.output


def test_json_of_a_bad_configuration(bad: str) -> None:
    """Each problem has its path, value, reason and fix."""
    result = run("check", bad, "--json")

    document = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (document["valid"], document["configuration"]) == (False, None)
    assert [problem["path"] for problem in document["problems"]] == [
        "storage.s3",
        "http.addr",
        "health.tcp[0].addr",
    ]
    assert all(
        problem.keys() == {"path", "value", "reason", "fix"} for problem in document["problems"]
    )


def test_keys_prints_the_table() -> None:
    """The same text as in the documentation."""
    assert run("keys").stdout == compatibility_table()


def test_keys_in_json_have_path_status_and_meaning() -> None:
    """For programs that check configurations of their own."""
    rows = json.loads(run("keys", "--json").stdout)

    assert {"path": "storage.inmemory", "status": "refused"}.items() <= rows_by_path(rows).items()


def rows_by_path(rows: list[dict[str, str]]) -> dict[str, str]:
    """Pick one row to look at."""
    return next(row for row in rows if row["path"] == "storage.inmemory")
