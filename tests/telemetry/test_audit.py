"""The audit log: one line for each call that steers, with who, what and how it ended."""

import logging
from collections.abc import Iterator

import pytest

from roadstead.errors import AccessDeniedError, StorageUnavailableError
from roadstead.telemetry.audit import LOGGER, AuditEntry, audited, local_user, switch
from roadstead.telemetry.logs import LineHandler, LogStyle, install
from tests.telemetry.lines import parse_text

_SECRET = "hunter2-Zm9v"


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Collect what a log of level error shows."""
    written: list[str] = []
    install(LineHandler(written.append, LogStyle()), "error")
    switch(on=True)
    yield written
    logging.getLogger(LOGGER).setLevel(logging.NOTSET)


def fields(line: str) -> dict[str, str]:
    """Return the fields of a line that are about the call."""
    return {
        name.removeprefix("audit."): value
        for name, value in parse_text(line).items()
        if name.startswith("audit.") and name != "audit.seconds"
    }


def test_what_was_done_stands_in_one_line(lines: list[str]) -> None:
    """Whatever the level of the log is: who, from where, what, how much."""
    with audited("evict", caller="user:alice", address="10.1.2.3") as entry:
        entry.arguments = {"patterns": ["alpine:3.*"]}
        entry.take({"images": [1, 2], "evicted": 2, "freed_bytes": 4096, "dry_run": False})

    [line] = lines
    assert parse_text(line)["logger"] == LOGGER
    assert fields(line) == {
        "call": "evict",
        "caller": "user:alice",
        "address": "10.1.2.3",
        "arguments": "{'patterns': ['alpine:3.*']}",
        "outcome": "done",
        "images": "2",
        "bytes": "4096",
    }


@pytest.mark.parametrize(
    ("error", "outcome", "level"),
    [
        (AccessDeniedError("not you"), "refused", "warning"),
        (StorageUnavailableError("no disk"), "failed", "warning"),
        (KeyboardInterrupt(), "failed", "warning"),
    ],
)
def test_what_was_not_done_is_told_too(
    lines: list[str], error: BaseException, outcome: str, level: str
) -> None:
    """With the reason; the exception goes its way."""
    with pytest.raises(type(error)), audited("purge", caller="user:bob"):
        raise error

    [line] = lines
    assert parse_text(line)["level"] == level
    assert fields(line)["outcome"] == outcome
    assert fields(line)["error"]


def test_a_dry_run_is_called_one(lines: list[str]) -> None:
    """Nobody takes it for a removal; what a pin holds is counted as bytes too."""
    with audited("pin", caller="user:alice") as entry:
        entry.take({"images": [1], "bytes": 7, "dry_run": True})

    assert fields(lines[0]) == {
        "call": "pin",
        "caller": "user:alice",
        "outcome": "dry-run",
        "images": "1",
        "bytes": "7",
    }


def test_credentials_in_arguments_are_masked(lines: list[str]) -> None:
    """They are text like any other of the log."""
    with audited("evict") as entry:
        entry.arguments = {"password": _SECRET, "patterns": [f"https://u:{_SECRET}@h/x"]}

    assert _SECRET not in lines[0]


def test_it_can_be_switched_off(lines: list[str]) -> None:
    """And then says nothing, not even of failures."""
    switch(on=False)

    error = AccessDeniedError("not you")
    with pytest.raises(AccessDeniedError), audited("evict"):
        raise error

    assert lines == []


def test_an_entry_without_figures_has_none() -> None:
    """A document that names neither images nor bytes says nothing about them."""
    entry = AuditEntry("reload")

    entry.take({})

    assert (entry.images, entry.size_bytes, entry.is_dry_run) == (None, None, False)


def test_a_command_is_run_by_somebody() -> None:
    """By a user of this machine, who always has a name or a number."""
    assert local_user()
