"""Every metric family that is exported, grouped by what it tells about.

The table in docs/operations.md lists the same names; a test compares the two.
"""

import platform
from collections.abc import Iterable

from roadstead.telemetry.events import EvictionReason, Kind, Outcome, Refusal
from roadstead.telemetry.series import Counter, Gauge, Histogram

HANDLERS = ("base", "blob", "blob_upload", "catalog", "manifest", "tags", "referrers")
"""Values of the label ``handler``; whatever else is routed is counted as ``other``."""

_DURATION_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)
_ACTION_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_FETCH_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_SIZE_BYTES = tuple(1024 * 2**power for power in range(22))


class _Group:
    """The families that are its attributes."""

    def families(self) -> Iterable[Counter | Histogram]:
        """Yield them."""
        return vars(self).values()


class HttpFamilies(_Group):
    """Requests, as distribution counts them."""

    def __init__(self) -> None:
        self.in_flight = Gauge(
            "registry_http_in_flight_requests", "Requests being answered now.", ("handler",)
        )
        self.in_flight.initialise(*((handler,) for handler in HANDLERS))
        self.requests = Counter(
            "registry_http_requests_total",
            "Requests answered.",
            ("handler", "code", "method"),
        )
        self.seconds = Histogram(
            "registry_http_request_duration_seconds",
            "Seconds from the routing of a request to the end of its answer.",
            bounds=_DURATION_SECONDS,
            labels=("handler", "method"),
        )
        self.request_bytes = Histogram(
            "registry_http_request_size_bytes",
            "Size of request bodies in bytes.",
            bounds=_SIZE_BYTES,
            labels=("handler",),
        )
        self.response_bytes = Histogram(
            "registry_http_response_size_bytes",
            "Size of response bodies in bytes.",
            bounds=_SIZE_BYTES,
            labels=("handler",),
        )


class ProxyFamilies(_Group):
    """The mirror's work; all ten series exist from the start, as in distribution 3.x."""

    def __init__(self) -> None:
        self.requests = _by_kind("requests", "Blobs and manifests served.")
        self.hits = _by_kind("hits", "Served from what was held: hit, revalidated or stale.")
        self.misses = _by_kind("misses", "Served from upstream: miss or joined.")
        self.pulled_bytes = _by_kind("pulled_bytes", "Bytes fetched from upstream.")
        self.pushed_bytes = _by_kind("pushed_bytes", "Bytes sent to clients.")


class PullFamilies(_Group):
    """What each upstream's clients got, and what that cost; all labels are of the configuration.

    Together they tell hit ratio and bytes saved, of an upstream and of a class of repositories.
    """

    def __init__(self) -> None:
        self.pulls = Counter(
            "roadstead_pulls_total",
            "Blobs and manifests served, by upstream, class of repository, and origin.",
            ("upstream", "class", "outcome"),
        )
        self.served_bytes = Counter(
            "roadstead_served_bytes_total",
            "Bytes of blobs and manifests sent to clients.",
            ("upstream", "class"),
        )
        self.fetched_bytes = Counter(
            "roadstead_fetched_bytes_total",
            "Bytes of blobs and manifests fetched.",
            ("upstream", "kind"),
        )


class RefusalFamilies(_Group):
    """What clients did not get, and why."""

    def __init__(self) -> None:
        self.refused = Counter(
            "roadstead_refused_total",
            "Connections and requests refused, by the limit that was met.",
            ("limit",),
        )
        self.refused.initialise(*((limit,) for limit in Refusal))
        self.failed = Counter(
            "roadstead_failed_requests_total",
            "Requests answered with an error or broken off, by cause.",
            ("error",),
        )
        # An alert looks for its increase, which a series that begins with 1 has not.
        self.failed.initialise(("unforeseen",))


class StorageFamilies(_Group):
    """The store and the descriptor map in front of it."""

    def __init__(self) -> None:
        self.action_seconds = Histogram(
            "registry_storage_action_seconds",
            "Seconds that a storage action took.",
            bounds=_ACTION_SECONDS,
            labels=("driver", "action"),
        )
        self.cache = Counter(
            "registry_storage_cache_total",
            "Look-ups in the descriptor map, as distribution 2.8 counts them.",
            ("type",),
        )
        self.cache.initialise(("Request",), ("Hit",), ("Miss",))
        self.cache_requests = _single(
            "registry_storage_cache_requests_total", "Look-ups in the descriptor map."
        )
        self.cache_hits = _single(
            "registry_storage_cache_hits_total", "Look-ups in the descriptor map that found."
        )
        self.cache_errors = _single(
            "registry_storage_cache_errors_total",
            "Look-ups in the descriptor map that failed; always 0, the map is in memory.",
        )
        self.upload_bytes = _single(
            "registry_storage_blob_upload_bytes_total", "Bytes committed to the cache."
        )


class OwnFamilies(_Group):
    """What distribution cannot say."""

    def __init__(self, version: str) -> None:
        self.build = Gauge(
            "roadstead_build_info",
            "The running program; always 1.",
            ("version", "python"),
            across=max,
        )
        self.build.values[version, platform.python_version()] = 1
        self.requests = Counter(
            "roadstead_requests_total",
            "Blobs and manifests served, by where the answer came from.",
            ("kind", "outcome"),
        )
        self.requests.initialise(*((kind, outcome) for kind in Kind for outcome in Outcome))
        self.flights = Gauge("roadstead_flights", "Upstream fetches of blobs that run now.")
        self.flights.initialise(())
        self.flight_readers = Gauge(
            "roadstead_flight_readers", "Requests that read what these fetches bring."
        )
        self.flight_readers.initialise(())
        self.flights_ended = Counter(
            "roadstead_flights_ended_total",
            "Upstream fetches of blobs that ended, by the error that ended them.",
            ("error",),
        )
        self.flights_ended.initialise(("none",))
        self.flight_resumed_bytes = _single(
            "roadstead_flight_resumed_bytes_total",
            "Bytes not fetched again, because an earlier attempt had left them.",
        )
        self.transfers_resumed = _single(
            "roadstead_transfers_resumed_total", "Cut transfers that went on where they stopped."
        )
        self.segments = _single(
            "roadstead_segments_total",
            "Parts of large blobs that were fetched over connections of their own.",
        )
        self.prefetched = Counter(
            "roadstead_prefetched_blobs_total",
            "Blobs that were fetched before anybody asked, and those that somebody then asked for.",
            ("state",),
        )
        self.prefetched_bytes = Counter(
            "roadstead_prefetched_bytes_total", "Sizes of those blobs.", ("state",)
        )
        for state in ("fetched", "used"):
            self.prefetched.initialise((state,))
            self.prefetched_bytes.initialise((state,))
        self.upstream_errors = Counter(
            "roadstead_upstream_errors_total",
            "Calls upstream that failed for good.",
            ("upstream", "error"),
        )
        self.storage_errors = Counter(
            "roadstead_storage_errors_total",
            "Operations of the store that the operating system refused.",
            ("operation", "error"),
        )
        self.storage_writable = Gauge(
            "roadstead_storage_writable",
            "0 from a failed write until a trial write succeeds.",
            across=min,
        )
        self.storage_writable.values[()] = 1
        self.passed_on = _single(
            "roadstead_passed_on_total",
            "Blobs that went straight from upstream to a client, not kept by the store.",
        )
        self.fetch_seconds = Histogram(
            "roadstead_fetch_seconds",
            "Seconds from the start of an upstream fetch to verified content.",
            bounds=_FETCH_SECONDS,
            labels=("kind",),
        )


class MetadataFamilies(_Group):
    """The metadata database."""

    def __init__(self) -> None:
        self.whole = Gauge(
            "roadstead_metadata_whole",
            "1 while the metadata database has a row for every link, else 0.",
            across=min,
        )
        self.whole.initialise(())
        self.failures = Counter(
            "roadstead_metadata_failures_total",
            "Attempts to open, read or write the metadata database that failed.",
            ("action",),
        )
        self.failures.initialise(*((action,) for action in ("open", "read", "write")))


class RetentionFamilies(_Group):
    """How full the store is, and what goes; ``upstream`` is empty for everything."""

    def __init__(self) -> None:
        self.used_bytes = Gauge(
            "roadstead_store_used_bytes",
            "Bytes that count against a size limit, arriving ones included.",
            ("upstream",),
            across=max,
        )
        self.limit_bytes = Gauge(
            "roadstead_store_limit_bytes", "The size limit in bytes.", ("upstream",), across=max
        )
        self.disk_free_bytes = Gauge(
            "roadstead_disk_free_bytes", "Bytes free on the file system of the store.", across=min
        )
        self.disk_total_bytes = Gauge(
            "roadstead_disk_size_bytes",
            "Size of the file system of the store in bytes.",
            across=max,
        )
        self.evicted_images = Counter(
            "roadstead_evicted_images_total", "Images removed, by reason.", ("reason",)
        )
        self.evicted_blobs = Counter(
            "roadstead_evicted_blobs_total", "Data removed, by reason.", ("reason",)
        )
        self.evicted_bytes = Counter(
            "roadstead_evicted_bytes_total", "Bytes freed by evictions, by reason.", ("reason",)
        )
        for counter in (self.evicted_images, self.evicted_blobs, self.evicted_bytes):
            counter.initialise(*((reason,) for reason in EvictionReason))
        self.not_kept = _single(
            "roadstead_not_kept_total",
            "Blobs and manifests passed through without being kept, for want of room.",
        )
        self.not_kept_bytes = _single(
            "roadstead_not_kept_bytes_total", "Bytes of these, as far as their size was known."
        )
        self.missing_bytes = Gauge(
            "roadstead_retention_missing_bytes",
            "Bytes that should have gone in the last run and are protected; 0 if limits hold.",
            across=max,
        )
        self.missing_bytes.initialise(())
        self.last_run = Gauge(
            "roadstead_retention_last_run_timestamp_seconds",
            "When retention last ran.",
            ("trigger",),
            across=max,
        )
        self.last_seconds = Gauge(
            "roadstead_retention_last_run_seconds",
            "How long its last run took.",
            ("trigger",),
            across=max,
        )


class UpstreamFamilies(_Group):
    """How upstreams stand; labels are names, endpoints and accounts of the configuration."""

    def __init__(self) -> None:
        self.asked = Counter(
            "roadstead_upstream_requests_total",
            "Times an endpoint was asked, by what for and by the error that it led to.",
            ("upstream", "kind", "error"),
        )
        self.asked_seconds = Histogram(
            "roadstead_upstream_request_seconds",
            "Seconds until it had answered; of a blob, until its first byte.",
            bounds=_DURATION_SECONDS,
            labels=("upstream", "kind"),
        )
        account = ("upstream", "account")
        self.pulls_remaining = Gauge(
            "roadstead_upstream_pulls_remaining",
            "Pulls left, as upstream last told.",
            account,
            across=min,
        )
        self.pulls_limit = Gauge(
            "roadstead_upstream_pulls_limit",
            "Pulls allowed per window of the quota.",
            account,
            across=max,
        )
        self.pulls_reset = Gauge(
            "roadstead_upstream_pulls_reset_timestamp_seconds",
            "When all pulls are back if none is spent until then.",
            account,
            across=max,
        )
        self.endpoint_healthy = Gauge(
            "roadstead_upstream_endpoint_healthy",
            "1 for an endpoint that is well, 0 for one that failed and is avoided for a while.",
            ("upstream", "endpoint"),
            across=min,
        )


class NotificationFamilies(_Group):
    """What becomes of events; without an endpoint there is no series, as in distribution."""

    def __init__(self) -> None:
        self.events = Counter(
            "registry_notifications_events_total",
            "Events by what became of them.",
            ("endpoint", "type"),
        )
        self.pending = Gauge(
            "registry_notifications_pending_total", "Events that wait.", ("endpoint",)
        )
        self.status = Counter(
            "registry_notifications_status_total", "Answers of endpoints.", ("endpoint", "code")
        )


class VerificationFamilies(_Group):
    """Whether what is held is still right."""

    def __init__(self) -> None:
        self.blobs = _single("roadstead_verified_blobs_total", "Data hashed and found right.")
        self.bytes = _single("roadstead_verified_bytes_total", "Bytes of it.")
        self.damaged = Counter(
            "roadstead_damaged_blobs_total",
            "Data that was found to be wrong, by a verification or by a request.",
            ("damage",),
        )
        self.damaged.initialise(("content",), ("empty",), ("unreadable",))
        self.healed = Counter(
            "roadstead_healed_blobs_total",
            "Damaged data that was fetched again, by the error that kept it from being so.",
            ("error",),
        )
        self.healed.initialise(("none",))
        self.complete = Gauge(
            "roadstead_verification_complete_timestamp_seconds",
            "When everything had last been looked at.",
            across=max,
        )


class WorkerFamilies(_Group):
    """The worker processes of ``http.workers``; one process that does all is one of them."""

    def __init__(self) -> None:
        self.running = Gauge("roadstead_workers", "Processes that serve clients.", across=max)
        self.running.values[()] = 1
        self.restarts = _single(
            "roadstead_worker_restarts_total", "Worker processes that ended and were restarted."
        )


def _by_kind(name: str, text: str) -> Counter:
    counter = Counter(f"registry_proxy_{name}_total", text, ("type",))
    counter.initialise(*((kind,) for kind in Kind))
    return counter


def _single(name: str, text: str) -> Counter:
    counter = Counter(name, text)
    counter.initialise(())
    return counter
