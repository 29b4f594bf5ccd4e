"""Traces, as the core sees them: pieces of work with a beginning and an end, one in the other.

Nothing is imported for them while they are off (``UNTRACED``); ``otel`` makes them OpenTelemetry's.
A span that is entered is the current one of its task, so what is begun meanwhile, in that task or
in tasks and threads that are given its context, is a part of it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

from roadstead.telemetry.answered import Exchange, ExchangeLog

Attribute: TypeAlias = str | int | float | bool


class SpanKind(StrEnum):
    """On which side of a connection the work is done."""

    SERVER = "server"
    CLIENT = "client"
    INTERNAL = "internal"


class Span(Protocol):
    """A piece of work; a context manager that makes it the current one, and ends it."""

    def __enter__(self) -> Self:
        """Make it the current one."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it; an exception makes it a failed one."""

    def set(self, name: str, value: Attribute) -> None:
        """Say something about it, under the name of a semantic convention or ``roadstead.*``."""

    def fail(self, error: str) -> None:
        """Make it a failed one; ``error`` is a class name or a code, and no text from outside."""

    def describe(self, exchange: Exchange) -> None:
        """Say of the span of a request what is known of it at its end."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers that make what is asked for with them a part of it (W3C)."""


class Tracer(Protocol):
    """Begins spans; from any thread."""

    @property
    def repeats(self) -> ExchangeLog | None:
        """Who hears of requests that are answered without a span of their own, if anybody."""

    def start(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Attribute] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Span:
        """Begin a part of the current span, or of what the ``headers`` of a request tell of."""

    def wait_for(self, other: Span) -> None:
        """Note that the current span lives on what ``other`` brings, without being a part of it."""

    def close(self) -> None:
        """Send what is still to be sent; blocks for a short while."""


class Untraced:
    """A Tracer, and its one Span, that do nothing."""

    repeats: ExchangeLog | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def set(self, name: str, value: Attribute) -> None:
        """See Span."""

    def fail(self, error: str) -> None:
        """See Span."""

    def describe(self, exchange: Exchange) -> None:
        """See Span."""

    def headers(self) -> Mapping[str, str]:
        """See Span."""
        return _NO_HEADERS

    def start(
        self,
        name: str,  # noqa: ARG002 - the protocol's
        kind: SpanKind = SpanKind.INTERNAL,  # noqa: ARG002 - the protocol's
        attributes: Mapping[str, Attribute] | None = None,  # noqa: ARG002 - the protocol's
        *,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 - the protocol's
    ) -> Span:
        """See Tracer."""
        return self

    def wait_for(self, other: Span) -> None:
        """See Tracer."""

    def close(self) -> None:
        """See Tracer."""


_NO_HEADERS: Final[Mapping[str, str]] = {}
UNTRACED: Final = Untraced()
"""For who is not traced."""
