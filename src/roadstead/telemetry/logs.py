"""Sets up logging: one handler for everything, in the line format that was chosen.

Packages log with the standard library: ``logging.getLogger("roadstead.<area>")``, a short event
as the message, and ``extra={"fields": {...}}``. Libraries (aiohttp, urllib3, asyncio) and
warnings come the same way. structlog turns each record into a line; credentials are masked last.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from roadstead.telemetry.lineformat import Format, LogClock, renderer
from roadstead.telemetry.redaction import redact, redact_value

Level: TypeAlias = Literal["error", "warn", "info", "debug"]

LEVELS: Mapping[str, int] = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
"""Numbers of the levels that ``log.level`` knows."""

# logrus' names, which differ from those in the configuration.
_LEVEL_NAMES = {
    logging.CRITICAL: "fatal",
    logging.ERROR: "error",
    logging.WARNING: "warning",
    logging.INFO: "info",
    logging.DEBUG: "debug",
}
_RESERVED = frozenset({"time", "level", "msg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStyle:
    """How lines look: the ``log`` section, and what is known about this process."""

    line_format: Format = "text"
    static: Mapping[str, object] = field(default_factory=dict)
    """Fields on every line: ``log.fields``, ``version``, ``instance.id``."""
    report_caller: bool = False
    """Add ``func`` and ``file``."""


class LineHandler(logging.Handler):
    """Formats a record and hands the line on; a record that cannot be formatted says so."""

    def __init__(self, write: Callable[[str], None], style: LogStyle) -> None:
        """Hand lines, without line feed, to ``write``."""
        super().__init__()
        self._write = write
        self.setFormatter(_formatter(style))

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line of ``record``."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a bad log call must not break its caller
            line = self.format(_broken(record, error))
        self._write(line)


def install(handler: logging.Handler, level: Level) -> None:
    """Let ``handler`` have every record of the process from ``level`` on, and nobody else."""
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    logging.captureWarnings(capture=True)


def _broken(record: logging.LogRecord, error: Exception) -> logging.LogRecord:
    where = f"{record.pathname}:{record.lineno}"
    return logging.makeLogRecord(
        {
            "name": record.name,
            "levelno": logging.ERROR,
            "created": record.created,
            "pathname": record.pathname,
            "lineno": record.lineno,
            "funcName": record.funcName,
            "msg": "log record cannot be formatted",
            "fields": {"error": type(error).__name__, "file": where},
        }
    )


def _formatter(style: LogStyle) -> logging.Formatter:
    chain: list[Processor] = [_Fields(style)]
    if style.report_caller:
        chain.append(_add_caller)
    chain += [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _redact_all,
    ]
    render = renderer(style.line_format)
    return structlog.stdlib.ProcessorFormatter(
        processors=[*chain, lambda _logger, _name, event: render(event)]
    )


class _Fields:
    """The processor that makes logrus' keys and fields out of a record."""

    def __init__(self, style: LogStyle) -> None:
        self._static = style.static
        self._clock = LogClock()

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        record = cast("logging.LogRecord", event["_record"])
        fields = getattr(record, "fields", {})
        made: EventDict = {**self._static, "logger": record.name}
        for name, value in fields.items():
            # As logrus does when a field would hide one of its own.
            made[f"fields.{name}" if name in _RESERVED else name] = value
        made.update(event)
        made["msg"] = made.pop("event")
        made["time"] = self._clock.stamp(record.created)
        made["level"] = _LEVEL_NAMES.get(record.levelno, record.levelname.lower())
        return made


def _add_caller(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    record = cast("logging.LogRecord", event["_record"])
    event["func"] = record.funcName
    event["file"] = f"{record.pathname}:{record.lineno}"
    return event


def _redact_all(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    return {
        name: redact(value) if name in _RESERVED else redact_value(name, value)
        for name, value in event.items()
    }
