"""The two lines of a request."""

import ast
import json
import logging
import re
import tracemalloc
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roadstead.telemetry.answered import Exchange
from roadstead.telemetry.events import Outcome
from roadstead.telemetry.exchanges import AccessLog, ResponseLog
from roadstead.telemetry.lineformat import Format, renderer
from tests.telemetry.lines import parse_text

_NOW = 1_795_468_718.123456
_SECRET = "hunter2-Zm9v"
_EXCHANGE = Exchange(
    peer="10.1.2.3",
    forwarded_for="10.9.9.9",
    request_id="0192f1e2",
    method="GET",
    target="/v2/library/nginx/manifests/alpine?ns=docker.io",
    host="mirror.example:5000",
    referer="",
    user_agent='containerd/v2.1.0 "x"',
    status=200,
    written_bytes=3000,
    content_type="application/json",
    seconds=0.004141025,
    repository="library/nginx",
    reference="alpine",
    outcome=Outcome.HIT,
)
_COMBINED = re.compile(
    r'(\S+) - - \[([^]]+)\] "((?:[^"\\]|\\.)*)" (\d+) (\d+) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"'
)


def access_lines(*exchanges: Exchange) -> list[str]:
    """Return what the access log writes."""
    lines: list[str] = []
    log = AccessLog(lines.append, clock=lambda: _NOW)
    for exchange in exchanges:
        log(exchange)
    return lines


def response_lines(
    *exchanges: Exchange, line_format: Format = "text", level: int = logging.INFO
) -> list[str]:
    """Return what the application log writes."""
    lines: list[str] = []
    log = ResponseLog(
        lines.append,
        render=renderer(line_format),
        static={"service": "registry", "version": "1.2.3"},
        level=level,
        clock=lambda: _NOW,
    )
    for exchange in exchanges:
        log(exchange)
    return lines


def test_access_line_is_combined_format() -> None:
    """The line is the one distribution writes: peer, moment, request, status, size, headers."""
    [line] = access_lines(_EXCHANGE)

    assert line == (
        "10.1.2.3 - - [23/Nov/2026:21:18:38 +0000]"
        ' "GET /v2/library/nginx/manifests/alpine?ns=docker.io HTTP/1.1" 200 3000'
        ' "" "containerd/v2.1.0 \\"x\\""'
    )


@given(target=st.text(), referer=st.text(), agent=st.text())
def test_access_line_cannot_be_forged(target: str, referer: str, agent: str) -> None:
    """Whatever a client sends stays inside its own pair of quotes, on the one line."""
    exchange = replace(_EXCHANGE, target=target, referer=referer, user_agent=agent)

    [line] = access_lines(exchange)

    found = _COMBINED.fullmatch(line)
    assert line.isprintable()
    assert found is not None
    assert found[4] == "200"


def test_access_line_with_line_break() -> None:
    """A line break in a header does not begin a line of its own."""
    forged = 'x"\n10.0.0.1 - - [now] "GET /secret HTTP/1.1" 200 1 "" ""\x1b[2J'

    [line] = access_lines(replace(_EXCHANGE, user_agent=forged))

    assert "\n" not in line
    found = _COMBINED.fullmatch(line)
    assert found is not None
    assert ast.literal_eval(f'"{found[7]}"') == forged


def test_response_line_in_text() -> None:
    """The line has distribution's fields and the outcome; empty fields are left out."""
    [line] = response_lines(_EXCHANGE)

    assert parse_text(line) == {
        "time": "2026-11-23T21:18:38.123456Z",
        "level": "info",
        "msg": "response completed",
        "http.request.host": "mirror.example:5000",
        "http.request.id": "0192f1e2",
        "http.request.method": "GET",
        "http.request.remoteaddr": "10.9.9.9",
        "http.request.uri": "/v2/library/nginx/manifests/alpine?ns=docker.io",
        "http.request.useragent": 'containerd/v2.1.0 "x"',
        "http.response.contenttype": "application/json",
        "http.response.duration": "4.141025ms",
        "http.response.status": "200",
        "http.response.written": "3000",
        "mirror.outcome": "hit",
        "service": "registry",
        "vars.name": "library/nginx",
        "vars.reference": "alpine",
        "version": "1.2.3",
    }


@pytest.mark.parametrize("line_format", ["json", "logstash"])
def test_response_line_in_json(line_format: Format) -> None:
    """The JSON formats carry the same fields, numbers as numbers."""
    [line] = response_lines(_EXCHANGE, line_format=line_format)

    document = json.loads(line)
    assert document["http.response.status"] == 200
    assert document["http.response.written"] == 3000
    assert document["mirror.outcome"] == "hit"
    assert document["msg" if line_format == "json" else "message"] == "response completed"


def test_error_line() -> None:
    """From 400 on the level is error and the spec error is told."""
    failed = replace(
        _EXCHANGE, status=404, error_code="manifest unknown", error_message="it is", outcome=None
    )

    [line] = response_lines(failed)

    fields = parse_text(line)
    assert (fields["level"], fields["msg"]) == ("error", "response completed with error")
    assert (fields["err.code"], fields["err.message"]) == ("manifest unknown", "it is")
    assert "mirror.outcome" not in fields


def test_level_is_respected() -> None:
    """At level error only failed requests leave a line."""
    lines = response_lines(_EXCHANGE, replace(_EXCHANGE, status=500), level=logging.ERROR)

    assert len(lines) == 1
    assert "http.response.status=500" in lines[0]


@pytest.mark.parametrize("line_format", get_args(Format))
def test_credentials_of_clients_are_masked(line_format: Format) -> None:
    """Credentials in any text that a client or an error brings appear in neither log."""
    planted = replace(
        _EXCHANGE,
        target=f"/v2/?token={_SECRET}&X-Amz-Signature={_SECRET}",
        host=f"https://u:{_SECRET}@h",
        referer=f"https://user:{_SECRET}@example/?access_token={_SECRET}",
        user_agent=f"x Authorization: Bearer {_SECRET}",
        status=502,
        error_message=f"https://user:{_SECRET}@registry.example refused",
        error_detail=f"password={_SECRET}",
    )

    lines = access_lines(planted) + response_lines(planted, line_format=line_format)

    assert _SECRET not in "".join(lines)
    assert "***" in lines[0]
    assert "***" in lines[1]


def test_long_texts_are_not_remembered() -> None:
    """Made-up header values of the greatest length leave no memory behind."""
    written: list[int] = []
    log = AccessLog(lambda line: written.append(len(line)))
    tracemalloc.start()
    try:
        for number in range(50):
            log(replace(_EXCHANGE, user_agent=f"{number} {'x' * 60_000}"))
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert min(written) > 60_000
    assert left < 10 * 60_000


_TEXTS = st.text(max_size=30)
_PEERS = st.sampled_from(["10.1.2.3", "::1", "fe80::1%eth0", "@"])
_EXCHANGES = st.builds(
    replace,
    st.just(_EXCHANGE),
    target=_TEXTS,
    user_agent=_TEXTS,
    host=_TEXTS,
    reference=_TEXTS,
    status=st.sampled_from([200, 404]),
)


@pytest.mark.parametrize("line_format", get_args(Format))
@given(
    first=_EXCHANGES,
    peers=st.tuples(_PEERS, _PEERS),
    forwarded_for=_TEXTS | _PEERS,
    seconds=st.floats(0, 100),
    request_id=st.uuids().map(str),
)
# A forwarded address that happens to be that of the first peer.
@example(
    first=_EXCHANGE, peers=("@", "10.1.2.3"), forwarded_for="@", seconds=0.1, request_id="other"
)
def test_exchange_that_is_like_another_is_logged_like_it(
    line_format: Format,
    first: Exchange,
    peers: tuple[str, str],
    forwarded_for: str,
    seconds: float,
    request_id: str,
) -> None:
    """What ``again`` writes is what the log would have written of the whole exchange."""
    one, other = (replace(first, peer=peer, forwarded_for=forwarded_for) for peer in peers)
    other = replace(other, seconds=seconds, request_id=request_id)
    lines: list[str] = []
    access_log = AccessLog(lines.append, clock=lambda: _NOW)
    response_log = ResponseLog(
        lines.append,
        render=renderer(line_format),
        static={"service": "100%"},
        level=logging.INFO,
        clock=lambda: _NOW,
    )

    for log in (access_log, response_log):
        log.again(one)(other.peer, other.request_id, other.seconds)
        log(other)

    assert lines[0] == lines[1]
    assert lines[2] == lines[3]


def test_unwanted_exchange_is_not_logged_again_either() -> None:
    """A level of error leaves out repeated successes."""
    lines: list[str] = []
    log = ResponseLog(lines.append, render=renderer("text"), static={}, level=logging.ERROR)

    log.again(_EXCHANGE)("10.1.2.3", "id", 0.1)

    assert lines == []
