"""The audit line of a command that changes a volume itself, without a mirror to tell it to."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from roadstead import __version__
from roadstead.config.schema import LogSettings
from roadstead.telemetry import audit
from roadstead.telemetry.audit import AuditEntry, audited, local_user
from roadstead.telemetry.logs import LineHandler, LogStyle


@contextmanager
def audited_command(call: str, log: LogSettings) -> Iterator[AuditEntry]:
    """Log a command at its end to standard error, where that goes to a log and not to a person."""
    style = LogStyle(line_format=log.formatter, static={**log.fields, "version": __version__})
    handler = LineHandler(_write, style)
    logger = logging.getLogger(audit.LOGGER)
    audit.switch(on=not (log.audit.disabled or sys.stderr.isatty()))
    logger.addHandler(handler)
    logger.propagate = False
    try:
        with audited(call, caller=local_user()) as entry:
            yield entry
    finally:
        logger.removeHandler(handler)
        logger.propagate = True


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
