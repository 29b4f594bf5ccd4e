"""Delivers events to one endpoint, in order, in a thread of its own.

As distribution does: one POST per event, retried for ever; after ``threshold`` failures in a row
each further try waits for ``backoff`` first. Unlike there the queue is bounded, so that an endpoint
that is gone costs no memory: the oldest events are dropped, and counted.
"""

import http.client
import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from roadstead.telemetry import events
from roadstead.telemetry.notifications import CONTENT_TYPES, Ignored, envelope
from roadstead.telemetry.redaction import redact

_log = logging.getLogger("roadstead.notifications")

QUEUE_EVENTS: Final = 10_000
_FIRST_FAILING_STATUS: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint of the configuration; times in seconds."""

    name: str
    url: str
    headers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    timeout: float = 1.0
    threshold: int = 10
    backoff: float = 1.0
    ignored: Ignored = field(default_factory=Ignored)
    envelope: str = "v1"


class Courier:
    """The queue of one endpoint, and the thread that empties it."""

    def __init__(
        self, endpoint: Endpoint, *, observe: events.Observer, queue_events: int = QUEUE_EVENTS
    ) -> None:
        """Start the thread; ``observe`` is called from it and from whoever calls ``accept``."""
        self.endpoint = endpoint
        self._observe = observe
        self._queue: deque[dict[str, Any]] = deque()
        self._limit = queue_events
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._opener = _opener()
        self._thread = threading.Thread(
            target=self._run, name=f"notify-{endpoint.name}", daemon=True
        )
        self._thread.start()

    @property
    def pending(self) -> int:
        """How many events wait."""
        return len(self._queue)

    def accept(self, event: dict[str, Any]) -> None:
        """Queue an event, unless this endpoint does not want its like. Never blocks for long."""
        if self.endpoint.ignored.covers(event):
            return
        with self._changed:
            dropped = len(self._queue) >= self._limit
            if dropped:
                self._queue.popleft()
            self._queue.append(event)
            self._changed.notify()
        self._count(events.Notification.EVENTS)
        if dropped:
            self._count(events.Notification.DROPPED)

    def close(self, timeout: float) -> None:
        """Stop; what waits is tried once more, for up to ``timeout`` seconds in all."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        self._thread.join(timeout)
        if self._queue:
            fields = {"endpoint": self.endpoint.name, "events": len(self._queue)}
            _log.warning("notifications were not delivered", extra={"fields": fields})

    def _run(self) -> None:
        failures = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing.is_set())
                if not self._queue:
                    return
                event = self._queue[0]
            if self._deliver(event):
                failures = 0
                with self._changed:
                    # A full queue may have dropped it meanwhile.
                    if self._queue and self._queue[0] is event:
                        self._queue.popleft()
                self._count(events.Notification.SUCCESSES)
                continue
            failures += 1
            if self._closing.is_set():
                return
            if failures >= self.endpoint.threshold:
                if failures == self.endpoint.threshold:
                    self._tell_of_failure()
                self._closing.wait(self.endpoint.backoff)

    def _deliver(self, event: dict[str, Any]) -> bool:
        """Try once; any answer below 400 is a success, as there."""
        request = Request(  # noqa: S310 - the configuration admits http and https only
            self.endpoint.url,
            data=envelope([event]),
            headers={"Content-Type": CONTENT_TYPES[self.endpoint.envelope]},
            method="POST",
        )
        for name, values in self.endpoint.headers.items():
            request.add_header(name, ", ".join(values))
        try:
            with self._opener.open(request, timeout=self.endpoint.timeout) as answer:
                status, reason = answer.status, answer.reason
        except HTTPError as error:
            status, reason = error.code, error.reason
            error.close()
        except (OSError, http.client.HTTPException, ValueError):
            self._count(events.Notification.ERRORS)
            return False
        self._observe(events.NotificationAnswered(self.endpoint.name, f"{status} {reason}"))
        if status >= _FIRST_FAILING_STATUS:
            self._count(events.Notification.FAILURES)
            return False
        return True

    def _tell_of_failure(self) -> None:
        fields = {
            "endpoint": self.endpoint.name,
            "url": redact(self.endpoint.url),
            "failures": self.endpoint.threshold,
        }
        _log.warning("notifications fail; trying on, more slowly", extra={"fields": fields})

    def _count(self, what: events.Notification) -> None:
        self._observe(events.NotificationCounted(self.endpoint.name, what))


class _NoRedirects(HTTPRedirectHandler):
    """Follows none, so that configured headers, which may hold a credential, go nowhere else."""

    def redirect_request(self, *_arguments: object, **_keywords: object) -> None:
        """Refuse."""


def _opener() -> OpenerDirector:
    return build_opener(_NoRedirects)
