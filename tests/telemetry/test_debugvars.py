"""The document of /debug/vars."""

import json

from roadstead.telemetry import events
from roadstead.telemetry.debugvars import vars_snapshot
from roadstead.telemetry.events import Kind, Notification, Outcome
from roadstead.telemetry.metrics import Metrics


def test_document_has_the_shape_of_distribution() -> None:
    """Proxy counters stand where dashboards of distribution look for them."""
    metrics = Metrics(version="1.2.3", storage_driver="filesystem")
    metrics(events.Served(Kind.BLOB, Outcome.HIT, 100, 60))
    metrics(events.Served(Kind.BLOB, Outcome.MISS, 100, 100))
    metrics(events.Fetched(Kind.BLOB, 100, 0.2))

    shown = vars_snapshot(metrics, ["registry", "serve", "config.yml"], endpoints={})
    document = json.loads(json.dumps(shown))

    assert document["cmdline"] == ["registry", "serve", "config.yml"]
    assert document["memstats"]["rss_bytes"] > 0
    assert document["memstats"]["peak_rss_bytes"] > 0
    zero = {"Requests": 0, "Hits": 0, "Misses": 0, "BytesPulled": 0, "BytesPushed": 0}
    blobs = {"Requests": 2, "Hits": 1, "Misses": 1, "BytesPulled": 100, "BytesPushed": 160}
    assert document["registry"] == {
        "notifications": {"endpoints": None},
        "proxy": {"blobs": blobs, "manifests": zero},
    }


def test_command_line_shows_no_credential() -> None:
    """A credential in an argument is masked."""
    metrics = Metrics(version="1.2.3", storage_driver="filesystem")

    document = vars_snapshot(
        metrics, ["roadstead", "https://user:hunter2@registry.example/"], endpoints={}
    )

    assert "hunter2" not in json.dumps(document)


def test_notification_endpoints_are_shown_with_their_counters() -> None:
    """And without the credential that may stand in a URL."""
    metrics = Metrics(version="1.2.3", storage_driver="filesystem")
    metrics(events.NotificationCounted("hook", Notification.EVENTS))
    metrics(events.NotificationAnswered("hook", "500 Internal Server Error"))

    document = vars_snapshot(metrics, [], endpoints={"hook": "https://u:hunter2@hook.corp/"})

    registry = json.loads(json.dumps(document))["registry"]
    (endpoint,) = registry["notifications"]["endpoints"]
    assert endpoint["name"] == "hook"
    assert "hunter2" not in endpoint["url"]
    assert endpoint["Metrics"] == {
        "Events": 1,
        "Successes": 0,
        "Failures": 0,
        "Errors": 0,
        "Dropped": 0,
        "Pending": 1,
        "Statuses": {"500 Internal Server Error": 1},
    }
