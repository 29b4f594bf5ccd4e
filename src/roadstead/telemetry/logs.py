"""Sets up logging: one handler for everything, in the line format that was chosen.

Packages log with the standard library: ``logging.getLogger("roadstead.<area>")``, a short event
as the message, and ``extra={"fields": {...}}``. Libraries (aiohttp, urllib3, asyncio) and
warnings come the same way. Credentials are masked last.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

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
        self.setFormatter(_LineFormatter(style))

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


class _LineFormatter(logging.Formatter):
    """Makes logrus' keys and fields out of a record, and a line out of these."""

    def __init__(self, style: LogStyle) -> None:
        super().__init__()
        self._static = style.static
        self._reports_caller = style.report_caller
        self._render = renderer(style.line_format)
        self._clock = LogClock()

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        event = {**self._static, "logger": record.name}
        for name, value in getattr(record, "fields", {}).items():
            # As logrus does when a field would hide one of its own.
            event[f"fields.{name}" if name in _RESERVED else name] = value
        event["msg"] = record.getMessage()
        event["time"] = self._clock.stamp(record.created)
        event["level"] = _LEVEL_NAMES.get(record.levelno, record.levelname.lower())
        if self._reports_caller:
            event["func"] = record.funcName
            event["file"] = f"{record.pathname}:{record.lineno}"
        if record.stack_info:
            event["stack"] = self.formatStack(record.stack_info)
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = self.formatException(record.exc_info)
        return self._render(_redacted(event))


def _redacted(event: Mapping[str, object]) -> dict[str, object]:
    return {
        name: redact(str(value)) if name in _RESERVED else redact_value(name, value)
        for name, value in event.items()
    }
