"""Events reach an endpoint in order, whatever it does meanwhile."""

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from roadstead.telemetry import events
from roadstead.telemetry.delivery import Courier, Endpoint
from roadstead.telemetry.events import Event, Notification
from roadstead.telemetry.notifications import Ignored

_WAIT_SECONDS = 10


class Listener:
    """An endpoint that answers as told, in turn, and then with 200; it keeps what it got."""

    def __init__(self, *statuses: int) -> None:
        self.received: queue.Queue[tuple[dict[str, str], dict[str, Any]]] = queue.Queue()
        self.gate = threading.Event()
        self.gate.set()
        answers = iter(statuses)
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                listener.received.put((dict(self.headers.items()), body))
                listener.gate.wait(_WAIT_SECONDS)
                with contextlib.suppress(OSError):
                    self.send_response(next(answers, 200))
                    self.send_header("Location", "http://127.0.0.1:9/")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = Endpoint(
            name="hook",
            url=f"http://127.0.0.1:{self.server.server_port}/events",
            headers={"Authorization": ["Bearer hunter2"]},
            timeout=_WAIT_SECONDS,
            threshold=2,
            backoff=0.001,
        )

    def next_id(self) -> str:
        """Return the id of the next event that arrives."""
        _, body = self.received.get(timeout=_WAIT_SECONDS)
        (event,) = body["events"]
        return str(event["id"])


@contextlib.contextmanager
def listening(*statuses: int) -> Iterator[Listener]:
    """Run a listener."""
    listener = Listener(*statuses)
    thread = threading.Thread(target=listener.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield listener
    finally:
        listener.gate.set()
        listener.server.shutdown()
        thread.join()
        listener.server.server_close()


class Told:
    """An observer that can be waited for."""

    def __init__(self) -> None:
        self._queue: queue.Queue[Event] = queue.Queue()
        self.seen: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Keep an event."""
        self._queue.put(event)

    def until(self, wanted: Notification) -> list[Notification]:
        """Wait for something to be counted; return all that was counted so far."""
        counted = events.NotificationCounted("hook", wanted)
        while not self.seen or self.seen[-1] != counted:
            self.seen.append(self._queue.get(timeout=_WAIT_SECONDS))
        return [one.what for one in self.seen if isinstance(one, events.NotificationCounted)]


def event(number: int, media_type: str = "text/plain") -> dict[str, Any]:
    """Make an event."""
    return {"id": str(number), "action": "pull", "target": {"mediaType": media_type}}


@contextlib.contextmanager
def courier(endpoint: Endpoint, told: Told, queue_events: int = 100) -> Iterator[Courier]:
    """Run a courier."""
    made = Courier(endpoint, observe=told, queue_events=queue_events)
    try:
        yield made
    finally:
        made.close(_WAIT_SECONDS)


def test_events_arrive_one_by_one_in_order() -> None:
    """Each is a POST of its own, with the configured headers and the content type."""
    told = Told()
    with listening() as listener, courier(listener.endpoint, told) as made:
        for number in range(3):
            made.accept(event(number))
        headers, body = listener.received.get(timeout=_WAIT_SECONDS)
        rest = [listener.next_id(), listener.next_id()]

    assert body == {"events": [event(0)]}
    assert rest == ["1", "2"]
    assert headers["Authorization"] == "Bearer hunter2"
    assert headers["Content-Type"] == "application/vnd.docker.distribution.events.v1+json"


def test_the_envelope_of_registry_3() -> None:
    """It has a content type of its own."""
    with listening() as listener:
        endpoint = replace(listener.endpoint, envelope="v2")
        with courier(endpoint, Told()) as made:
            made.accept(event(1))
            headers, _ = listener.received.get(timeout=_WAIT_SECONDS)

    assert headers["Content-Type"] == "application/vnd.docker.distribution.events.v2+json"


def test_an_event_is_tried_until_it_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    """Also beyond the threshold, which is logged once and without a credential."""
    told = Told()
    with listening(500, 503, 400, 302) as listener, courier(listener.endpoint, told) as made:
        made.accept(event(1))
        made.accept(event(2))
        arrived = [listener.next_id() for _ in range(5)]
        counted = told.until(Notification.SUCCESSES)

    # 302 is a success, as in distribution, and is not followed.
    assert arrived == ["1", "1", "1", "1", "2"]
    assert counted.count(Notification.FAILURES) == 3
    assert caplog.text.count("notifications fail") == 1
    assert "hunter2" not in caplog.text


def test_an_endpoint_that_is_not_there_counts_as_errors() -> None:
    """And the event waits; a stop does not wait for it."""
    told = Told()
    endpoint = Endpoint(name="hook", url="http://127.0.0.1:9/", backoff=0.001)
    with courier(endpoint, told) as made:
        made.accept(event(1))
        counted = told.until(Notification.ERRORS)
        assert made.pending == 1

    assert Notification.SUCCESSES not in counted


def test_a_full_queue_drops_the_oldest() -> None:
    """So that an endpoint that is gone costs no memory; it is counted."""
    told = Told()
    with listening() as listener, courier(listener.endpoint, told, queue_events=2) as made:
        listener.gate.clear()
        made.accept(event(0))
        assert listener.next_id() == "0"
        for number in range(1, 5):
            made.accept(event(number))
        assert made.pending == 2
        listener.gate.set()
        assert [listener.next_id(), listener.next_id()] == ["3", "4"]
        counted = told.until(Notification.SUCCESSES)

    assert counted.count(Notification.DROPPED) == 3


def test_what_is_ignored_is_not_queued() -> None:
    """The endpoint never hears of it."""
    told = Told()
    with listening() as listener:
        endpoint = replace(listener.endpoint, ignored=Ignored(media_types={"text/plain"}))
        with courier(endpoint, told) as made:
            made.accept(event(1))
            made.accept(event(2, "text/html"))
            assert listener.next_id() == "2"


def test_what_waits_at_a_stop_is_delivered() -> None:
    """If the endpoint takes it in time."""
    with listening() as listener:
        with courier(listener.endpoint, Told()) as made:
            for number in range(20):
                made.accept(event(number))
        assert [listener.next_id() for _ in range(20)] == [str(number) for number in range(20)]
