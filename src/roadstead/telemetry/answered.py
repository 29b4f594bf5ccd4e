"""One answered request in full, for those who log it, report it or trace it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

from roadstead.telemetry.events import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One answered request in full, as both request logs need it; told once, at its end.

    It is no Event: it holds what a client sent, which belongs into no metric. Header values are
    as received, empty where the client sent none; ``target`` is path and query.
    """

    peer: str
    """Host of the TCP peer."""
    forwarded_for: str = ""
    request_id: str
    method: str
    target: str
    protocol: str = "HTTP/1.1"
    host: str = ""
    referer: str = ""
    user_agent: str = ""
    status: int
    written_bytes: int
    content_type: str = ""
    seconds: float
    handler: str = ""
    """What kind of endpoint it was (base, blob, manifest...); empty for none."""
    upstream: str = ""
    """Configured name of the upstream that was meant."""
    repository: str = ""
    reference: str = ""
    digest: str = ""
    outcome: Outcome | None = None
    user: str = ""
    """Who the client has proved to be, such as ``user:alice``."""
    content_digest: str = ""
    """Digest of the content that was served, also of a tag's."""
    content_bytes: int = 0
    """Size of that content, whether or not all of it was sent."""
    error_code: str = ""
    """Spec code in lower case words, as distribution logs it: ``manifest unknown``."""
    error_message: str = ""
    error_detail: str = ""

    @property
    def client(self) -> str:
        """Client as distribution reports it: X-Forwarded-For, else the peer."""
        return self.forwarded_for or self.peer


LogAgain: TypeAlias = Callable[[str, str, float], None]
"""Logs an exchange that differs from an earlier one in peer, request id and seconds only."""


class ExchangeLog(Protocol):
    """Hears of every answered request."""

    def __call__(self, exchange: Exchange) -> None:
        """Take in one."""

    def again(self, exchange: Exchange) -> LogAgain:
        """Prepare for many that are like ``exchange``; it is not logged by this."""


class Whole:
    """An ExchangeLog for what wants each exchange as a whole."""

    def __init__(self, tell: Callable[[Exchange], object]) -> None:
        self._tell = tell

    def __call__(self, exchange: Exchange) -> None:
        """See ExchangeLog."""
        self._tell(exchange)

    def again(self, exchange: Exchange) -> LogAgain:
        """See ExchangeLog."""

        def log(peer: str, request_id: str, seconds: float) -> None:
            self._tell(replace(exchange, peer=peer, request_id=request_id, seconds=seconds))

        return log
