"""The two lines that one request leaves behind: access log and application log.

These are on the path of every request, so neither goes through ``logging``; the application
line is rendered by the same function as every other line of that log. Lines of requests that
are alike are rendered once, with marks where they differ, and filled in after that.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

from roadstead.telemetry.answered import Exchange, LogAgain
from roadstead.telemetry.lineformat import LogClock, Render, SecondCache, duration_text, escape
from roadstead.telemetry.redaction import redact, redact_value

# Longer texts are rare, and a client that makes them up shall not fill the memory with them.
_LONGEST_REMEMBERED = 512
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIRST_SUCCESS = 200
_FIRST_ERROR = 400

WriteLine = Callable[[str], None]

# No client can know it, so what one sends is never taken for a mark.
_SECRET = secrets.token_hex(8)
_TIME, _ID, _NUMBER, _PEER = (f"{name}{_SECRET}" for name in ("time", "id", "number", "peer"))
_MICROSECONDS = "µs"


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
        self._write(self._line(exchange, self._moment.text(int(self._clock()))))

    def again(self, exchange: Exchange) -> LogAgain:
        """See ExchangeLog."""
        template = _template(self._line(replace(exchange, peer=_PEER), _TIME))

        def write(peer: str, _request_id: str, _seconds: float) -> None:
            moment = self._moment.text(int(self._clock()))
            self._write(template % {"peer": escape(peer), "time": moment})

        return write

    def _line(self, exchange: Exchange, moment: str) -> str:
        target = escape(_shown(exchange.target))
        referer = escape(_shown(exchange.referer))
        agent = escape(_shown(exchange.user_agent))
        return (
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
        if self._is_wanted(exchange):
            stamp = self._stamps.stamp(self._clock())
            self._write(self._line(exchange, stamp, duration_text(exchange.seconds)))

    def again(self, exchange: Exchange) -> LogAgain:
        """See ExchangeLog."""
        if not self._is_wanted(exchange):
            return _write_nothing
        templates: dict[tuple[bool, bool], str] = {}

        def write(peer: str, request_id: str, seconds: float) -> None:
            number = duration_text(seconds)
            is_tiny = number.endswith(_MICROSECONDS)
            # How a value is quoted depends on what is in it, so there is a template for each.
            kind = (is_tiny, ":" in peer)
            template = templates.get(kind)
            if template is None:
                template = templates[kind] = self._template(exchange, *kind)
            stamp = self._stamps.stamp(self._clock())
            if is_tiny:
                number = number[: -len(_MICROSECONDS)]
            values = {"time": stamp, "id": request_id, "number": number, "peer": peer}
            self._write(template % values)

        return write

    def _is_wanted(self, exchange: Exchange) -> bool:
        return (logging.ERROR if _failed(exchange) else logging.INFO) >= self._level

    def _template(self, exchange: Exchange, is_tiny: bool, is_ipv6: bool) -> str:  # noqa: FBT001 - the key of a dict
        peer = f":{_PEER}" if is_ipv6 else _PEER
        marked = replace(exchange, request_id=_ID, peer=peer)
        line = self._line(marked, _TIME, _NUMBER + (_MICROSECONDS if is_tiny else ""))
        return _template(line.replace(peer, _PEER))

    def _line(self, exchange: Exchange, stamp: str, duration: str) -> str:
        failed = _failed(exchange)
        event = self._static.copy()
        event["time"] = stamp
        event["level"] = "error" if failed else "info"
        event["msg"] = "response completed with error" if failed else "response completed"
        event["http.response.status"] = exchange.status
        event["http.response.written"] = exchange.written_bytes
        event["http.response.duration"] = duration
        for name, text in _text_fields(exchange):
            if text:
                event[name] = text
        return self._render(event)


def _failed(exchange: Exchange) -> bool:
    return not _FIRST_SUCCESS <= exchange.status < _FIRST_ERROR


def _write_nothing(_peer: str, _request_id: str, _seconds: float) -> None:
    pass


def _template(line: str) -> str:
    """Make a format string of a line with marks in it."""
    return (
        line.replace("%", "%%")
        .replace(_TIME, "%(time)s")
        .replace(_ID, "%(id)s")
        .replace(_NUMBER, "%(number)s")
        .replace(_PEER, "%(peer)s")
    )


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
