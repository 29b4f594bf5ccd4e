"""The two lines that one request leaves behind: access log and application log.

These are on the path of every request, so neither goes through ``logging``; the application
line is rendered by the same function as every other line of that log.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import lru_cache

from roadstead.telemetry.events import Exchange
from roadstead.telemetry.lineformat import LogClock, Render, SecondCache, duration_text, escape
from roadstead.telemetry.redaction import redact, redact_value

# Longer texts are rare, and a client that makes them up shall not fill the memory with them.
_LONGEST_REMEMBERED = 512
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIRST_SUCCESS = 200
_FIRST_ERROR = 400

WriteLine = Callable[[str], None]


class AccessLog:
    """One line in Apache's combined format per exchange, as distribution writes to stdout.

    The address is the TCP peer's, whatever the headers say. Empty headers are ``""``.
    """

    def __init__(self, write: WriteLine, *, clock: Callable[[], float] = time.time) -> None:
        """Hand lines to ``write``; ``clock`` gives Unix time in seconds."""
        self._write = write
        self._clock = clock
        self._moment = SecondCache(_apache_moment)

    def __call__(self, exchange: Exchange) -> None:
        """Write the line of ``exchange``."""
        moment = self._moment.text(int(self._clock()))
        target = escape(_shown(exchange.target))
        referer = escape(_shown(exchange.referer))
        agent = escape(_shown(exchange.user_agent))
        self._write(
            f"{escape(exchange.peer)} - - [{moment}]"
            f' "{escape(exchange.method)} {target} {exchange.protocol}"'
            f' {exchange.status} {exchange.written_bytes} "{referer}" "{agent}"'
        )


class ResponseLog:
    """One ``response completed`` line per exchange, with distribution's fields.

    The level is info from 200 to 399, else error, as in distribution. Fields that
    are empty are left out.
    """

    def __init__(
        self,
        write: WriteLine,
        *,
        render: Render,
        static: Mapping[str, object],
        level: int = logging.INFO,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Hand lines of at least ``level`` to ``write``; ``static`` fields are on each."""
        self._write = write
        self._render = render
        self._static = {name: redact_value(name, value) for name, value in static.items()}
        self._level = level
        self._clock = clock
        self._stamps = LogClock()

    def __call__(self, exchange: Exchange) -> None:
        """Write the line of ``exchange``, if its level is wanted."""
        failed = not _FIRST_SUCCESS <= exchange.status < _FIRST_ERROR
        if (logging.ERROR if failed else logging.INFO) < self._level:
            return
        event = self._static.copy()
        event["time"] = self._stamps.stamp(self._clock())
        event["level"] = "error" if failed else "info"
        event["msg"] = "response completed with error" if failed else "response completed"
        event["http.response.status"] = exchange.status
        event["http.response.written"] = exchange.written_bytes
        event["http.response.duration"] = duration_text(exchange.seconds)
        for name, text in _text_fields(exchange):
            if text:
                event[name] = text
        self._write(self._render(event))


# Clients send the same agents, hosts and paths again and again.
_remembered = lru_cache(maxsize=1024)(redact)


def _shown(text: str) -> str:
    return _remembered(text) if len(text) <= _LONGEST_REMEMBERED else redact(text)


def _text_fields(exchange: Exchange) -> tuple[tuple[str, str], ...]:
    return (
        ("http.request.id", exchange.request_id),
        ("http.request.method", exchange.method),
        ("http.request.host", _shown(exchange.host)),
        ("http.request.uri", _shown(exchange.target)),
        ("http.request.remoteaddr", exchange.client),
        ("http.request.referer", _shown(exchange.referer)),
        ("http.request.useragent", _shown(exchange.user_agent)),
        ("http.response.contenttype", exchange.content_type),
        ("auth.user.name", _shown(exchange.user)),
        ("vars.name", exchange.repository),
        ("vars.reference", exchange.reference),
        ("vars.digest", exchange.digest),
        ("mirror.outcome", exchange.outcome or ""),
        ("err.code", exchange.error_code),
        ("err.message", _shown(exchange.error_message)),
        ("err.detail", _shown(exchange.error_detail)),
    )


def _apache_moment(second: int) -> str:
    at = time.gmtime(second)
    # Not strftime: the names of months there depend on the locale.
    return (
        f"{at.tm_mday:02d}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}"
        f":{at.tm_hour:02d}:{at.tm_min:02d}:{at.tm_sec:02d} +0000"
    )
