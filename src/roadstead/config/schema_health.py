"""``health`` (registry facts, 1.7 and 5.2): checks that run on timers of their own.

A threshold of t means: unhealthy after t failures in a row; 0 is the same as 1. An interval
of 0 is the default, as in distribution.
"""

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from roadstead.config.address import parse_address
from roadstead.config.fields import Count, Duration, Number, Required, Section, Texts
from roadstead.config.refusal import UnusableValueError

DEFAULT_INTERVAL = timedelta(seconds=10)
DEFAULT_TIMEOUT = timedelta(seconds=10)


def _interval(value: timedelta) -> timedelta:
    return value or DEFAULT_INTERVAL


def _timeout(value: timedelta) -> timedelta:
    return value or DEFAULT_TIMEOUT


def _http_url(value: str) -> str:
    if not value.lower().startswith(("http://", "https://")):
        message = "is not an HTTP URL"
        raise UnusableValueError(message, fix="begin it with http:// or https://")
    return value


def _peer(value: str) -> str:
    if parse_address(value).host is None:
        message = "has no host"
        raise UnusableValueError(message, fix="use host:port")
    return value


Interval = Annotated[Duration, AfterValidator(_interval)]
Timeout = Annotated[Duration, AfterValidator(_timeout)]


class StorageDriverCheck(Section):
    """``health.storagedriver``: can the store be reached."""

    enabled: bool = False
    interval: Interval = DEFAULT_INTERVAL
    threshold: Count = 0


class FileCheck(Section):
    """``health.file[]``: unhealthy while the file exists."""

    file: Required
    interval: Interval = DEFAULT_INTERVAL
    threshold: Count = 0


class HTTPCheck(Section):
    """``health.http[]``: a HEAD request must give exactly this status."""

    uri: Annotated[str, AfterValidator(_http_url)]
    headers: dict[str, Texts] = Field(default_factory=dict)
    statuscode: Annotated[Number, Field(ge=100, le=599)] = 200
    timeout: Timeout = DEFAULT_TIMEOUT
    interval: Interval = DEFAULT_INTERVAL
    threshold: Count = 0


class TCPCheck(Section):
    """``health.tcp[]``: a connection must succeed."""

    addr: Annotated[str, AfterValidator(_peer)]
    timeout: Timeout = DEFAULT_TIMEOUT
    interval: Interval = DEFAULT_INTERVAL
    threshold: Count = 0


class HealthSettings(Section):
    """``health``."""

    storagedriver: StorageDriverCheck = StorageDriverCheck()
    file: tuple[FileCheck, ...] = ()
    http: tuple[HTTPCheck, ...] = ()
    tcp: tuple[TCPCheck, ...] = ()
