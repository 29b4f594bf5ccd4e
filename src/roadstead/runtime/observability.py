"""Builds what watches the mirror: logs and health checks."""

import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from roadstead import __version__
from roadstead.config.address import parse_address
from roadstead.config.load import Loaded
from roadstead.config.notice import Level
from roadstead.config.schema import LogSettings
from roadstead.config.schema_health import HealthSettings
from roadstead.storage.filesystem import FilesystemStore
from roadstead.telemetry import audit
from roadstead.telemetry.answered import Exchange, ExchangeLog, LogAgain
from roadstead.telemetry.exchanges import AccessLog, ResponseLog
from roadstead.telemetry.health import Check, Probe
from roadstead.telemetry.lineformat import renderer
from roadstead.telemetry.linewriter import LineWriter
from roadstead.telemetry.logs import LEVELS, LineHandler, LogStyle, install
from roadstead.telemetry.probes import file_is_absent, http_answers, tcp_connects
from roadstead.telemetry.storagewatch import StorageWatch

_log = logging.getLogger("roadstead.runtime")


class RequestLogs:
    """Both lines that a request leaves behind, and whoever else is told of it."""

    def __init__(
        self, response_log: ResponseLog, access_log: AccessLog | None, *writers: LineWriter
    ) -> None:
        """``access_log`` is None if it is switched off; both write to ``writers``."""
        self._told: list[ExchangeLog] = [response_log]
        if access_log is not None:
            self._told.append(access_log)
        self._writers = writers

    def also(self, told: ExchangeLog | None) -> None:
        """Tell ``told`` too, if it is anybody."""
        if told is not None:
            self._told.append(told)

    def __call__(self, exchange: Exchange) -> None:
        """Tell all of them."""
        for told in self._told:
            told(exchange)

    def again(self, exchange: Exchange) -> LogAgain:
        """See ExchangeLog."""
        logs = tuple(told.again(exchange) for told in self._told)

        def log(peer: str, request_id: str, seconds: float) -> None:
            for one in logs:
                one(peer, request_id, seconds)

        return log

    def flush(self) -> None:
        """Write what is still to be written."""
        for writer in self._writers:
            writer.flush()


def start_logging(loaded: Loaded, instance_id: str) -> RequestLogs:
    """Take over the process's logging, and say what there is to say of the configuration."""
    log = loaded.settings.log
    errors, static = log_to_stderr(log, instance_id)
    output = LineWriter(sys.stdout)
    response_log = ResponseLog(
        errors.write_soon, render=renderer(log.formatter), static=static, level=LEVELS[log.level]
    )
    access_log = None if log.accesslog.disabled else AccessLog(output.write_soon)
    for notice in loaded.notices:
        level = logging.WARNING if notice.level is Level.WARNING else logging.INFO
        _log.log(level, "%s", notice)
    return RequestLogs(response_log, access_log, errors, output)


def log_to_stderr(log: LogSettings, instance_id: str) -> tuple[LineWriter, dict[str, object]]:
    """Send all log records to standard error; return where, and the fields on each line."""
    static = {**log.fields, "version": __version__, "instance.id": instance_id}
    style = LogStyle(line_format=log.formatter, static=static, report_caller=log.reportcaller)
    errors = LineWriter(sys.stderr)
    install(LineHandler(errors.write, style), log.level)
    audit.switch(on=not log.audit.disabled)
    return errors, static


def make_checks(
    health: HealthSettings,
    store: FilesystemStore,
    watch: StorageWatch,
    *,
    retention: Probe | None,
    metadata: Probe,
) -> Sequence[Check]:
    """Make the checks of the ``health`` section, and those of store, limits and database.

    ``retention`` is None in a process that does not look after limits.
    """
    writing = Check(name="storage", probe=partial(watch.probe, store.check_writing), is_vital=False)
    # These only look at what is known.
    minor = [
        Check(name=name, probe=probe, interval_seconds=1, is_vital=False)
        for name, probe in (("retention", retention), ("metadata", metadata))
        if probe is not None
    ]
    checks = [writing, *minor]
    checks += [
        Check(
            name=check.file,
            probe=file_is_absent(Path(check.file)),
            interval_seconds=check.interval.total_seconds(),
            threshold=check.threshold,
        )
        for check in health.file
    ]
    checks += [
        Check(
            name=check.uri,
            probe=http_answers(
                check.uri,
                status=check.statuscode,
                headers=check.headers,
                timeout_seconds=check.timeout.total_seconds(),
            ),
            interval_seconds=check.interval.total_seconds(),
            threshold=check.threshold,
            timeout_seconds=check.timeout.total_seconds(),
        )
        for check in health.http
    ]
    checks += [
        Check(
            name=check.addr,
            probe=tcp_connects(
                *_host_and_port(check.addr), timeout_seconds=check.timeout.total_seconds()
            ),
            interval_seconds=check.interval.total_seconds(),
            threshold=check.threshold,
            timeout_seconds=check.timeout.total_seconds(),
        )
        for check in health.tcp
    ]
    if health.storagedriver.enabled:
        checks.append(
            Check(
                name="storagedriver_filesystem",
                probe=store.check,
                interval_seconds=health.storagedriver.interval.total_seconds(),
                threshold=health.storagedriver.threshold,
            )
        )
    return checks


def _host_and_port(addr: str) -> tuple[str, int]:
    address = parse_address(addr)
    return address.host or "localhost", address.port
