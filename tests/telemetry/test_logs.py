"""Records of the standard library as lines."""

import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import get_args

import pytest

from roadstead.telemetry.lineformat import Format
from roadstead.telemetry.logs import LEVELS, LineHandler, LogStyle, install
from tests.telemetry.lines import parse_text

_SECRET = "hunter2-Zm9v"
_STATIC = {"service": "registry", "version": "1.2.3", "instance.id": "0192"}

Emit = Callable[[logging.Logger], None]


def lines_of(emit: Emit, *, style: LogStyle | None = None) -> list[str]:
    """Return the lines of what ``emit`` logs to a logger of its own."""
    lines: list[str] = []
    handler = LineHandler(lines.append, style or LogStyle(static=_STATIC))
    logger = logging.getLogger("roadstead.test")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        emit(logger)
    finally:
        logger.removeHandler(handler)
    return lines


def log_failure(logger: logging.Logger, text: str) -> None:
    """Log a ValueError with its traceback."""
    try:
        int(text)
    except ValueError:
        logger.exception("failed")


def test_record_becomes_a_text_line() -> None:
    """Message, fields and static fields stand on one logrus line."""
    fields = {"path": "a b", "status": 3}

    [line] = lines_of(lambda log: log.warning("purged %d", 7, extra={"fields": fields}))

    parsed = parse_text(line)
    assert parsed.pop("time").endswith("Z")
    assert parsed == {
        "level": "warning",
        "msg": "purged 7",
        "path": "a b",
        "status": "3",
        "logger": "roadstead.test",
        **_STATIC,
    }


@pytest.mark.parametrize(
    ("line_format", "message_key", "time_key"),
    [("json", "msg", "time"), ("logstash", "message", "@timestamp")],
)
def test_record_becomes_a_json_line(line_format: Format, message_key: str, time_key: str) -> None:
    """The JSON formats have flat dotted fields with their types."""
    style = LogStyle(line_format=line_format, static=_STATIC)

    [line] = lines_of(lambda log: log.info("hi", extra={"fields": {"a.b": 1}}), style=style)

    document = json.loads(line)
    assert (document[message_key], document["level"], document["a.b"]) == ("hi", "info", 1)
    assert document["instance.id"] == "0192"
    assert time_key in document


@pytest.mark.parametrize(
    ("level", "name"),
    [("error", "error"), ("warn", "warning"), ("info", "info"), ("debug", "debug")],
)
def test_level_names_are_those_of_logrus(level: str, name: str) -> None:
    """Every configured level prints as logrus prints it."""
    [line] = lines_of(lambda log: log.log(LEVELS[level], "x"))

    assert parse_text(line)["level"] == name


def test_fields_cannot_replace_the_message() -> None:
    """A field called like one of logrus' own keys is kept under another name."""
    [line] = lines_of(lambda log: log.info("true", extra={"fields": {"msg": "false"}}))

    parsed = parse_text(line)
    assert (parsed["msg"], parsed["fields.msg"]) == ("true", "false")


def test_caller_is_reported_when_asked() -> None:
    """With report_caller the line says which function of which file logged it."""
    [plain] = lines_of(lambda log: log.info("x"))
    [line] = lines_of(lambda log: log.info("x"), style=LogStyle(report_caller=True))

    assert "file" not in parse_text(plain)
    assert "test_logs.py:" in parse_text(line)["file"]
    assert parse_text(line)["func"] == "<lambda>"


def test_exception_is_one_field() -> None:
    """A traceback stays on the line of its record."""
    [line] = lines_of(lambda log: log_failure(log, "seven"))

    traceback = parse_text(line)["exception"]
    assert traceback.startswith("Traceback")
    assert traceback.endswith("invalid literal for int() with base 10: 'seven'")


def test_unusable_record_does_not_raise() -> None:
    """A log call whose arguments do not fit leaves a line that says where it is."""
    record = logging.LogRecord("a.b", logging.INFO, "module.py", 7, "%d", ("seven",), None)
    lines: list[str] = []

    LineHandler(lines.append, LogStyle()).handle(record)

    parsed = parse_text(lines[0])
    assert parsed["msg"] == "log record cannot be formatted"
    assert (parsed["error"], parsed["level"]) == ("TypeError", "error")
    assert parsed["file"] == "module.py:7"


@pytest.mark.parametrize("line_format", get_args(Format))
def test_planted_credentials_never_appear(line_format: Format) -> None:
    """A credential in message, argument, field, static field or traceback is masked."""

    def plant(log: logging.Logger) -> None:
        log.info("https://u:%s@host/", _SECRET)
        log.info("Authorization: Bearer " + _SECRET)  # noqa: G003 - as a careless library does
        log.info("x", extra={"fields": {"password": _SECRET, "uri": f"/b?sig={_SECRET}"}})
        log.info("x", extra={"fields": {"headers": {"Authorization": f"Basic {_SECRET}"}}})
        log_failure(log, f"token={_SECRET}")

    style = LogStyle(line_format=line_format, static={"upstream": f"https://u:{_SECRET}@host"})
    lines = lines_of(plant, style=style)

    assert len(lines) == 5
    assert not [line for line in lines if _SECRET in line]


@contextmanager
def restored_logging() -> Iterator[None]:
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)


def test_installed_handler_gets_everything_from_its_level_on() -> None:
    """Libraries and warnings come through the one handler; what is below the level does not."""
    lines: list[str] = []
    with restored_logging():
        install(LineHandler(lines.append, LogStyle()), "info")
        logging.getLogger("urllib3.connectionpool").warning("retrying /b?sig=%s", _SECRET)
        logging.getLogger("asyncio").debug("using selector")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert [parse_text(line)["logger"] for line in lines] == [
        "urllib3.connectionpool",
        "py.warnings",
    ]
    assert _SECRET not in lines[0]
