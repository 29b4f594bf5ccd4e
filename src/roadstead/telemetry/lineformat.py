"""Log lines as logrus writes them: text, json and logstash (facts: registry, section 8).

A renderer turns the fields of one event into one line. It expects the keys ``time``, ``level``
and ``msg`` and any number of dotted fields beside them; it sorts them, as logrus does.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

Format: TypeAlias = Literal["text", "json", "logstash"]
Render: TypeAlias = Callable[[Mapping[str, object]], str]

# What logrus' text formatter leaves without quotes.
_PLAIN = re.compile(r"[A-Za-z0-9\-._/@^+]*")
_ESCAPES = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}
_HEAD = ("time", "level", "msg")


def renderer(line_format: Format) -> Render:
    """Return the renderer of ``line_format``."""
    return {"text": _render_text, "json": _render_json, "logstash": _render_logstash}[line_format]


def escape(text: str) -> str:
    r"""Return ``text`` fit for double quotes, as Go's ``%q`` writes it.

    Quotes, backslashes and everything that is not printable are escaped, so that no client can
    start a line of its own or move a terminal's cursor.
    """
    if text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(map(_escape_character, text))


def duration_text(seconds: float) -> str:
    """Return a duration as Go prints it: ``4.141025ms``, ``1m2.5s``, ``0s``."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds < 1_000_000_000:  # noqa: PLR2004 - one second
        return _subsecond_text(nanoseconds)
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    text = f"{rest / 1e9:.9f}".rstrip("0").rstrip(".") + "s"
    if not minutes:
        return text
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"


class SecondCache:
    """The text of a second, made once per second; ``spell`` gets whole seconds of Unix time."""

    def __init__(self, spell: Callable[[int], str]) -> None:
        self._spell = spell
        self._second = -1
        self._text = ""

    def text(self, second: int) -> str:
        """Return what ``spell`` makes of ``second``."""
        if second != self._second:
            self._text = self._spell(second)
            self._second = second
        return self._text


class LogClock:
    """Timestamps as RFC 3339 in UTC with microseconds."""

    def __init__(self) -> None:
        self._prefix = SecondCache(
            lambda second: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        )

    def stamp(self, now_seconds: float) -> str:
        """Return the text of a moment in Unix time."""
        second, microseconds = divmod(int(now_seconds * 1_000_000), 1_000_000)
        return f"{self._prefix.text(second)}.{microseconds:06d}Z"


def _subsecond_text(nanoseconds: int) -> str:
    if nanoseconds >= 1_000_000:  # noqa: PLR2004 - one millisecond
        value, places, unit = nanoseconds / 1e6, 6, "ms"
    elif nanoseconds >= 1000:  # noqa: PLR2004 - one microsecond
        value, places, unit = nanoseconds / 1e3, 3, "µs"
    else:
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    return f"{value:.{places}f}".rstrip("0").rstrip(".") + unit


def _escape_character(character: str) -> str:
    known = _ESCAPES.get(character)
    if known is not None:
        return known
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:  # noqa: PLR2004 - ASCII
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"  # noqa: PLR2004 - BMP


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else _plain_text(value)
    return text if _PLAIN.fullmatch(text) else f'"{escape(text)}"'


def _plain_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _render_text(event: Mapping[str, object]) -> str:
    fields = [f" {name}={_quoted(event[name])}" for name in sorted(event) if name not in _HEAD]
    head = f'time="{event["time"]}" level={event["level"]} msg={_quoted(event["msg"])}'
    return head + "".join(fields)


def _render_json(event: Mapping[str, object]) -> str:
    return json.dumps(event, separators=(",", ":"), sort_keys=True, default=str)


def _render_logstash(event: Mapping[str, object]) -> str:
    # As distribution 2.8 does; the formatter of 3.x is broken and leaves these names out.
    renamed = {name: value for name, value in event.items() if name not in _HEAD}
    renamed["@timestamp"] = event["time"]
    renamed["@version"] = "1"
    renamed["level"] = event["level"]
    renamed["message"] = event["msg"]
    return _render_json(renamed)
