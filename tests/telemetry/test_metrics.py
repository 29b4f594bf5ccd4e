"""Events as metrics: names, labels and meaning."""

import re
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from roadstead.telemetry import events
from roadstead.telemetry.events import Event, Kind, Outcome
from roadstead.telemetry.metrics import Metrics

_OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"

# One event of each type, so that every family has a series.
_ALL_EVENTS: tuple[Event, ...] = (
    events.Served(Kind.BLOB, Outcome.HIT, 100, 60),
    events.Fetched(Kind.BLOB, 100, 0.2),
    events.Stored(Kind.BLOB, 100),
    events.FlightStarted(40),
    events.FlightEnded("UpstreamTimeoutError"),
    events.ReadersChanged(1),
    events.TransferResumed(50),
    events.UpstreamAsked("docker.io", events.CallKind.MANIFEST, 0.2, "UpstreamTimeoutError"),
    events.Refused(events.Refusal.CLIENT_RATE),
    events.RequestFailed("ManifestUnknownError"),
    events.UpstreamFailed("registry.example", "UpstreamTimeoutError"),
    events.BudgetSeen("docker.io", "anonymous", 100, 80, 1_700_000_000.0),
    events.EndpointMarked("docker.io", "registry.example", healthy=True),
    events.StorageTimed("Stat", 0.001),
    events.SegmentStarted(),
    events.Prefetched(1),
    events.PrefetchUsed(1),
    events.StorageFailed("write", "ENOSPC"),
    events.StorageStands(writable=False),
    events.PassedOn(),
    events.MetadataFailed("write"),
    events.MetadataSettled(whole=True),
    events.SpaceMeasured("ghcr.io", 50, 100),
    events.DiskMeasured(1000, 500),
    events.ImageEvicted(events.EvictionReason.MAXSIZE),
    events.DataEvicted(events.EvictionReason.ORPHAN, 2, 100),
    events.NotKept(100),
    events.RetentionRan("schedule", 1_700_000_000.0, 0.5, 10),
    events.CacheAsked(hit=True),
    events.NotificationCounted("hook", events.Notification.EVENTS),
    events.NotificationAnswered("hook", "200 OK"),
    events.Verified(100),
    events.DamageFound("content"),
    events.Healed(),
    events.VerificationEnded(1_700_000_000.0),
    events.RequestStarted("blob"),
    events.RequestEnded("blob", "GET", 200, 0.003, 0, 100),
    events.Repeated(Kind.BLOB, "GET", 100, 100, 0.003),
)


@pytest.fixture
def metrics() -> Metrics:
    """Return metrics that have counted nothing yet."""
    return Metrics(version="1.2.3", storage_driver="filesystem")


def samples(metrics: Metrics) -> dict[str, float]:
    """Return what a scrape shows, as it stands in the text."""
    text = metrics.render()[0].decode()
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def test_every_event_is_counted(metrics: Metrics) -> None:
    """Each type of event changes what is exported, and none is unknown."""
    assert {type(event) for event in _ALL_EVENTS} == set(get_args(Event))

    for event in _ALL_EVENTS:
        before = samples(metrics)
        metrics(event)
        after = samples(metrics)
        ours = {name for name in after if name.startswith(("registry_", "roadstead_"))}
        assert any(after[name] != before.get(name) for name in ours), event


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize(("method", "sent"), [("GET", 100), ("HEAD", 0)])
def test_a_repeated_request_counts_as_any_other(kind: Kind, method: str, sent: int) -> None:
    """One event for a repeated request changes what its four would have changed."""
    whole, folded = (
        Metrics(version="1.2.3", storage_driver="filesystem", classify=lambda name: name[:4])
        for _ in range(2)
    )
    for event in (
        events.CacheAsked(hit=True),
        events.RequestStarted(kind),
        events.Served(kind, Outcome.HIT, 100, sent, "ghcr.io", "ghcr.io/org/app"),
        events.RequestEnded(kind, method, 200, 0.003, 0, sent),
    ):
        whole(event)
    folded(events.Repeated(kind, method, 100, sent, 0.003, "ghcr.io", "ghcr.io/org/app"))

    def counted(metrics: Metrics) -> dict[str, float]:
        ours = ("registry_", "roadstead_")
        return {name: value for name, value in samples(metrics).items() if name.startswith(ours)}

    assert counted(folded) == counted(whole)
    assert counted(folded) == counted(whole)
    assert folded.proxy_totals(kind) == whole.proxy_totals(kind)


def test_scrape_is_prometheus_text(metrics: Metrics) -> None:
    """The body parses as the text format that the content type names."""
    body, content_type = metrics.render()

    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert {"registry_proxy_hits", "process_cpu_seconds", "python_info"} <= names


def test_proxy_series_exist_from_the_start(metrics: Metrics) -> None:
    """All ten proxy series are 0 before anything was asked, as in distribution 3.x."""
    proxy = {k: v for k, v in samples(metrics).items() if k.startswith("registry_proxy_")}

    assert len(proxy) == 10
    assert set(proxy.values()) == {0}


@pytest.mark.parametrize(
    ("outcome", "is_hit"),
    [
        (Outcome.HIT, True),
        (Outcome.REVALIDATED, True),
        (Outcome.STALE, True),
        (Outcome.MISS, False),
        (Outcome.JOINED, False),
    ],
)
def test_outcome_is_hit_or_miss(metrics: Metrics, outcome: Outcome, *, is_hit: bool) -> None:
    """What came from the store is a hit, what came from upstream a miss; bytes sent count."""
    metrics(events.Served(Kind.MANIFEST, outcome, 100, 60))

    found = samples(metrics)
    assert found['registry_proxy_requests_total{type="manifest"}'] == 1
    assert found['registry_proxy_hits_total{type="manifest"}'] == is_hit
    assert found['registry_proxy_misses_total{type="manifest"}'] == (not is_hit)
    assert found['registry_proxy_pushed_bytes_total{type="manifest"}'] == 60
    assert found['registry_proxy_requests_total{type="blob"}'] == 0
    assert found[f'roadstead_requests_total{{kind="manifest",outcome="{outcome}"}}'] == 1


def test_hit_ratio_and_saved_bytes_of_an_upstream(metrics: Metrics) -> None:
    """What was served and what that cost stand under the upstream, the former by class too."""
    hit = events.Served(Kind.BLOB, Outcome.HIT, 100, 60, "ghcr.io", "ghcr.io/org/app")
    for event in (hit, hit, events.Fetched(Kind.BLOB, 100, 0.2, "ghcr.io")):
        metrics(event)

    found = samples(metrics)
    labels = 'class="other",outcome="hit",upstream="ghcr.io"'
    assert found[f"roadstead_pulls_total{{{labels}}}"] == 2
    assert found['roadstead_served_bytes_total{class="other",upstream="ghcr.io"}'] == 120
    assert found['roadstead_fetched_bytes_total{kind="blob",upstream="ghcr.io"}'] == 100


def test_fetched_and_stored_bytes(metrics: Metrics) -> None:
    """Bytes from upstream and bytes committed to the cache are counted apart."""
    metrics(events.Fetched(Kind.BLOB, 1000, 0.2))
    metrics(events.Stored(Kind.BLOB, 900))
    metrics(events.Stored(Kind.MANIFEST, 90))

    found = samples(metrics)
    assert found['registry_proxy_pulled_bytes_total{type="blob"}'] == 1000
    assert found["registry_storage_blob_upload_bytes_total"] == 990
    assert found['roadstead_fetch_seconds_bucket{kind="blob",le="0.1"}'] == 0
    assert found['roadstead_fetch_seconds_bucket{kind="blob",le="0.25"}'] == 1


def test_flights_rise_and_fall(metrics: Metrics) -> None:
    """A flight is counted while it runs, and by how it ended afterwards."""
    metrics(events.FlightStarted(40))
    metrics(events.FlightStarted(0))
    assert samples(metrics)["roadstead_flights"] == 2

    metrics(events.FlightEnded(None))
    metrics(events.FlightEnded("UpstreamTimeoutError"))

    found = samples(metrics)
    assert found["roadstead_flights"] == 0
    assert found['roadstead_flights_ended_total{error="none"}'] == 1
    assert found['roadstead_flights_ended_total{error="UpstreamTimeoutError"}'] == 1
    assert found["roadstead_flight_resumed_bytes_total"] == 40


def test_request_series(metrics: Metrics) -> None:
    """A request is in flight between its events, then counted by handler, code and method."""
    metrics(events.RequestStarted("manifest"))
    assert samples(metrics)['registry_http_in_flight_requests{handler="manifest"}'] == 1

    metrics(events.RequestEnded("manifest", "HEAD", 404, 0.003, 5, 2000))

    found = samples(metrics)
    prefix = "registry_http"
    assert found[f'{prefix}_in_flight_requests{{handler="manifest"}}'] == 0
    assert found[f'{prefix}_requests_total{{code="404",handler="manifest",method="head"}}'] == 1
    labels = 'handler="manifest",le="0.005",method="head"'
    assert found[f"{prefix}_request_duration_seconds_bucket{{{labels}}}"] == 1
    assert found[f'{prefix}_request_size_bytes_sum{{handler="manifest"}}'] == 5
    size = f"{prefix}_response_size_bytes_bucket"
    assert found[f'{size}{{handler="manifest",le="1024"}}'] == 0
    assert found[f'{size}{{handler="manifest",le="2048"}}'] == 1
    assert found[f'{size}{{handler="manifest",le="2.147483648e+09"}}'] == 1


def test_clients_cannot_add_series(metrics: Metrics) -> None:
    """Methods, codes and handlers outside the known sets share one series each."""
    for number in range(100):
        metrics(events.RequestStarted(f"made-up-{number}"))
        metrics(events.RequestEnded(f"made-up-{number}", f"X{number}", 600 + number, 0, 0, 0))

    found = samples(metrics)
    assert found['registry_http_requests_total{code="unknown",handler="other",method="unknown"}']
    assert not [name for name in found if "made-up" in name or "X1" in name]


def test_storage_and_cache_series(metrics: Metrics) -> None:
    """Storage actions carry the driver; look-ups appear in the families of 2.8 and 3.x."""
    metrics(events.StorageTimed("GetContent", 0.02))
    metrics(events.CacheAsked(hit=True))
    metrics(events.CacheAsked(hit=False))

    found = samples(metrics)
    timed = 'registry_storage_action_seconds_count{action="GetContent",driver="filesystem"}'
    assert found[timed] == 1
    assert found["registry_storage_cache_requests_total"] == 2
    assert found["registry_storage_cache_hits_total"] == 1
    assert found["registry_storage_cache_errors_total"] == 0
    assert found['registry_storage_cache_total{type="Request"}'] == 2
    assert found['registry_storage_cache_total{type="Hit"}'] == 1
    assert found['registry_storage_cache_total{type="Miss"}'] == 1


def test_documentation_lists_what_is_exported(metrics: Metrics) -> None:
    """The table in docs/operations.md has every exported family with its type and labels."""
    for event in _ALL_EVENTS:
        metrics(event)
    exported = {
        (
            f"{family.name}_total" if family.type == "counter" else family.name,
            family.type,
            frozenset(name for s in family.samples for name in s.labels if name != "le"),
        )
        for family in text_string_to_metric_families(metrics.render()[0].decode())
        if family.name.startswith(("registry_", "roadstead_"))
    }

    rows = re.findall(
        r"^\| `((?:registry|roadstead)_\w+)` \| (\w+) \|([^|]*)\|",
        _OPERATIONS.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    documented = {
        (name, type_, frozenset(re.findall(r"`(\w+)`", labels))) for name, type_, labels in rows
    }
    assert documented == exported
