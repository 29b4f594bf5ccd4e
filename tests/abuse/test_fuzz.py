"""Thousands of requests that nobody would send: no failure, no traceback, no growth.

ROADSTEAD_FUZZ=10 in the environment sends ten times as many.
"""

import os
import random
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.abuse.conftest import complaints, memory_mb
from tests.conftest import Figures
from tests.support.roadstead_process import RoadsteadProcess

pytestmark = [pytest.mark.scale, pytest.mark.timeout(900)]

_DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.yaml"
_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
_TIMES = int(os.environ.get("ROADSTEAD_FUZZ", "1"))
_EACH = 60 * _TIMES
_RAW = 1200 * _TIMES
_SEEDS = tuple(
    text.replace("\n", "\r\n").encode()
    for text in (
        "GET /v2/ HTTP/1.1\nHost: mirror\n\n",
        "GET /v2/library/app/manifests/latest?ns=docker.io HTTP/1.1\nHost: mirror\n\n",
        f"HEAD /v2/library/app/blobs/sha256:{'0' * 64} HTTP/1.1\nHost: mirror\nAccept: */*\n\n",
        f"GET /v2/x/blobs/sha256:{'0' * 64} HTTP/1.1\nHost: x\nRange: bytes=0-1,2-3,-5\n\n",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n0\n\n",
        "PUT /v2/a/manifests/x HTTP/1.1\nHost: x\nContent-Length: 4\nExpect: 100-continue\n\nabcd",
        'GET /v2/ HTTP/1.1\nHost: x\nAuthorization: Basic YTpi\nIf-None-Match: *, W/"y"\n\n',
        "GET http://mirror/v2/_catalog?n=10&last=%ff HTTP/1.0\nConnection: keep-alive\n\n",
        "OPTIONS * HTTP/1.1\nHost: [::1]:5000\nUpgrade: h2c\nConnection: Upgrade\n\n",
        "PRI * HTTP/2.0\n\nSM\n\n",
    )
)
_BITS = (
    *(b"\r\n", b"\n", b"\r", b"\0", b"\xff", b" ", b":", b"/", b"//", b"..", b"%2e%2e%2f", b"%00"),
    *(b"%", b"?", b"#", b"A" * 9000, b"9" * 40, b"-1", b"\xc3\x28", b"chunked", b"Host: a\r\n"),
    *(b"bytes=", b",", b"sha256:", b"@", b"\t", b"Content-Length: 99999999\r\n"),
)


@pytest.fixture(scope="module", autouse=True)
def _answers_told(figures: Figures) -> Iterator[None]:
    """Print what the odd requests were answered, when all of them were."""
    yield
    figures.add(f"{_answers.total()} requests by the document: {dict(_answers.most_common())}")


schema = schemathesis.openapi.from_path(str(_DOCUMENT))
_answers: Counter[int] = Counter()


@schema.parametrize()
@settings(
    max_examples=_EACH,
    phases=[Phase.generate],
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
def test_odd_requests_get_the_answers_of_the_document(
    case: schemathesis.Case[Any], busy_mirror: RoadsteadProcess
) -> None:
    """Whatever name, reference, range or namespace: a status and a body that are documented."""
    response = case.call(base_url=busy_mirror.url, timeout=20)

    _answers[response.status_code] += 1
    assert response.status_code != 500
    if case.method != "HEAD":
        case.validate_response(response, checks=_CHECKS)


def mutated(source: random.Random) -> bytes:
    """Spoil a request or two: bytes changed, cut, repeated, and bits of trouble put in."""
    text = bytearray(source.choice(_SEEDS))
    for _ in range(source.randint(1, 6)):
        place = source.randrange(len(text) + 1)
        match source.randrange(6):
            case 0:
                text[place : place + 1] = bytes([source.randrange(256)])
            case 1:
                text[place:place] = source.choice(_BITS)
            case 2:
                del text[place : place + source.randint(1, 20)]
            case 3:
                text += source.choice(_SEEDS)
            case 4:
                text[place:place] = text[place : place + source.randint(1, 200)]
            case _:
                del text[place:]
        if not text:
            text += b"\r\n"
    return bytes(text)


def answer_to(port: int, text: bytes) -> bytes:
    """Send bytes; return what comes back at once, which is nothing if more is waited for."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(text)
            connection.settimeout(0.02)
            return connection.recv(65536)
        except (ConnectionError, TimeoutError):
            return b""


def test_spoiled_bytes_harm_nobody(busy_mirror: RoadsteadProcess, figures: Figures) -> None:
    """An answer that is none of ours, or the end of the connection; memory stays where it was."""
    source = random.Random(20261124)  # noqa: S311 - to be repeated, not to be secret
    for _ in range(_RAW // 5):
        answer_to(busy_mirror.port, mutated(source))
    before = memory_mb(busy_mirror)
    statuses: Counter[bytes] = Counter()
    for _ in range(_RAW):
        answer = answer_to(busy_mirror.port, mutated(source))
        statuses[answer[9:12]] += 1
        assert b" 500 " not in answer[:16], answer
    after = memory_mb(busy_mirror)

    assert complaints(busy_mirror) == []
    assert after - before < 15
    said = ", ".join(f"{status.decode()}: {count}" for status, count in statuses.most_common())
    figures.add(f"{_RAW} spoiled requests: {said}; memory {before:.0f} -> {after:.0f} MB")
