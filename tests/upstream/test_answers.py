"""Every status has one meaning, and messages carry upstream's words but no secret."""

import json

import pytest

from roadstead.errors import (
    UpstreamDeniedError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRateLimitedError,
    UpstreamTimeoutError,
    UpstreamUnauthorizedError,
    UpstreamUnavailableError,
)
from roadstead.secrecy import Secret
from roadstead.upstream.answers import (
    failure_of,
    parse_content_range,
    parse_length,
    parse_retry_after,
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, UpstreamUnauthorizedError),
        (403, UpstreamDeniedError),
        (408, UpstreamTimeoutError),
        (418, UpstreamProtocolError),
        (429, UpstreamRateLimitedError),
        (500, UpstreamUnavailableError),
        (503, UpstreamUnavailableError),
    ],
)
def test_each_status_is_one_error(status: int, kind: type[UpstreamError]) -> None:
    """The status decides the class and is kept."""
    error = failure_of(status, {}, b"<html>", upstream="host", now=0)

    assert type(error) is kind
    assert error.status == status
    assert str(error) == f"upstream host: answered {status}"


def test_upstreams_words_are_kept_short_and_clean() -> None:
    """Code and message of the API's error are shown, cut, without control characters."""
    message = "You have reached\n your \x1b[31mpull rate limit https://x.example/a?sig=secret"
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": message + "z" * 500}]})

    text = str(failure_of(429, {}, body.encode(), upstream="host", now=0))

    assert "TOOMANYREQUESTS: You have reached" in text
    assert "\n" not in text
    assert "\x1b" not in text
    assert "sig=secret" not in text
    assert len(text) < 300


def test_a_repeated_credential_is_masked() -> None:
    """An upstream that repeats our token does not put it into our message."""
    body = json.dumps({"errors": [{"code": "DENIED", "message": "bad token pl4nted, go away"}]})

    error = failure_of(
        403, {}, body.encode(), upstream="host", now=0, hide=[Secret("Bearer pl4nted")]
    )

    assert "pl4nted" not in str(error)
    assert "go away" in str(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0", 0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("99999999999999", 86_400),
        ("soon", None),
        ("-5", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    """Both forms give seconds from now, within a day."""
    assert parse_retry_after(value, now=10) == seconds


def test_numbers_are_read_strictly() -> None:
    """Only digits are a length, only the exact form is a range."""
    assert parse_length("12") == 12
    assert [parse_length(text) for text in (None, "", "-1", "+1", "1_0", "9" * 40)] == [None] * 6
    assert parse_content_range("bytes 1-2/3") == (1, 2, 3)
    assert parse_content_range("bytes 1-2/*") == (1, 2, None)
    assert parse_content_range("bytes */3") == (None, None, 3)
    assert parse_content_range("pages 1-2/3") == (None, None, None)
