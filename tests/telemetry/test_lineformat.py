"""Lines and their parts as Go's logrus writes them."""

import ast
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.telemetry.lineformat import LogClock, SecondCache, duration_text, escape, renderer
from tests.telemetry.lines import parse_text

_EVENT = {
    "time": "2026-11-23T21:18:38.123456Z",
    "level": "info",
    "msg": "response completed",
    "vars.name": "library/nginx",
    "http.response.status": 200,
    "service": "my registry",
    "empty": "",
    "ok": True,
}


def test_text_line() -> None:
    """Time, level and message lead; fields follow by name, quoted only where needed."""
    assert renderer("text")(_EVENT) == (
        'time="2026-11-23T21:18:38.123456Z" level=info msg="response completed" empty='
        ' http.response.status=200 ok=true service="my registry" vars.name=library/nginx'
    )


def test_json_line() -> None:
    """All keys are flat, sorted and keep their types."""
    line = renderer("json")(_EVENT)

    assert json.loads(line) == _EVENT
    assert list(json.loads(line)) == sorted(_EVENT)


def test_logstash_line() -> None:
    """The reserved keys have logstash's names, as distribution 2.8 writes them."""
    document = json.loads(renderer("logstash")(_EVENT))

    assert document.pop("@timestamp") == _EVENT["time"]
    assert document.pop("@version") == "1"
    assert document.pop("message") == _EVENT["msg"]
    assert document == {k: v for k, v in _EVENT.items() if k not in ("time", "msg")}


@given(st.text())
def test_escaped_text_stays_on_its_line(text: str) -> None:
    """Nothing unprintable and no bare quote is left, and nothing is lost."""
    escaped = escape(text)

    assert escaped.isprintable()
    assert ast.literal_eval(f'"{escaped}"') == text


@given(st.dictionaries(st.from_regex(r"[a-z][a-z.]{0,8}", fullmatch=True), st.text(), max_size=5))
def test_text_line_parses_back(fields: dict[str, str]) -> None:
    """Any values survive a text line: it cannot be forged from inside a field."""
    event = {**fields, "time": "2026-11-23T21:18:38.123456Z", "level": "info", "msg": "a b"}

    assert parse_text(renderer("text")(event)) == event


@given(st.dictionaries(st.text(max_size=8), st.text(), max_size=5))
def test_json_line_is_one_line(fields: dict[str, str]) -> None:
    """Any fields survive a JSON line, which has no line break in it."""
    event = {**fields, "time": "t", "level": "info", "msg": "m"}
    line = renderer("json")(event)

    assert json.loads(line) == event
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (5e-9, "5ns"),
        (0.0000015, "1.5µs"),
        (0.004141025, "4.141025ms"),
        (0.25, "250ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (62.5, "1m2.5s"),
        (3600, "1h0m0s"),
        (3723.000000001, "1h2m3.000000001s"),
        (36000, "10h0m0s"),
    ],
)
def test_duration_as_go_prints_it(seconds: float, text: str) -> None:
    """Durations have Go's units and no trailing zeros."""
    assert duration_text(seconds) == text


def test_stamp_is_rfc3339_in_utc() -> None:
    """Stamps have microseconds and follow the clock across seconds and back."""
    clock = LogClock()

    assert clock.stamp(1_795_468_718.123456) == "2026-11-23T21:18:38.123456Z"
    assert clock.stamp(1_795_468_719) == "2026-11-23T21:18:39.000000Z"
    assert clock.stamp(1_795_468_718.5) == "2026-11-23T21:18:38.500000Z"


def test_second_is_spelled_once() -> None:
    """The text of a second is made anew only when the second changes."""
    spelled: list[int] = []

    def spell(second: int) -> str:
        spelled.append(second)
        return str(second)

    cache = SecondCache(spell)

    assert [cache.text(second) for second in (7, 7, 8, 8)] == ["7", "7", "8", "8"]
    assert spelled == [7, 8]
