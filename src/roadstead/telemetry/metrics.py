"""What happened, as Prometheus metrics: an observer of events on a registry of its own.

Names, labels and buckets are those of distribution 3.x (facts: registry, section 5.3), so that
its dashboards work, and with them ``registry_storage_cache_total`` of 2.8 and
``registry_storage_blob_upload_bytes_total``, which no version had but users look for. What
distribution cannot say has the prefix ``roadstead_``. Every label takes its values from a closed
set; nothing that a client sends becomes a label.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from roadstead.telemetry import events
from roadstead.telemetry.events import Event, Kind, Outcome
from roadstead.telemetry.families import (
    HANDLERS,
    HttpFamilies,
    MetadataFamilies,
    NotificationFamilies,
    OwnFamilies,
    ProxyFamilies,
    PullFamilies,
    RefusalFamilies,
    RetentionFamilies,
    StorageFamilies,
    UpstreamFamilies,
    VerificationFamilies,
    WorkerFamilies,
)
from roadstead.telemetry.series import Distribution, Gauge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from roadstead.telemetry.exposition import Exposition
    from roadstead.telemetry.series import Dump

# client_golang lower-cases the methods it knows and calls all others "unknown".
_METHODS = {
    name: name.lower()
    for name in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE")
}
_CODES = {status: str(status) for status in range(100, 600)}
OTHER = "other"
"""The class of repositories that no class matches."""
_HANDLERS = {handler: (handler,) for handler in HANDLERS}
_OTHER_HANDLER = (OTHER,)
# How an event changes the number of those that wait.
_PENDING = {
    events.Notification.EVENTS: 1,
    events.Notification.SUCCESSES: -1,
    events.Notification.DROPPED: -1,
}


class Metrics:
    """An observer that counts; a scrape and ``/debug/vars`` read from it."""

    def __init__(
        self,
        *,
        version: str,
        storage_driver: str,
        classify: Callable[[str], str] = lambda _repository: OTHER,
    ) -> None:
        """Label the build with ``version`` and storage timings with ``storage_driver``.

        ``classify`` gives the class of a repository by its stored name, of a closed set.
        """
        self._driver = storage_driver
        self._classify = classify
        self._pulls = PullFamilies()
        self._refusals = RefusalFamilies()
        self._tallies: dict[tuple[Kind, str, str, str], _Tally] = {}
        self._http = HttpFamilies()
        self._proxy = ProxyFamilies()
        self._storage = StorageFamilies()
        self._own = OwnFamilies(version)
        self._upstream = UpstreamFamilies()
        self._notifications = NotificationFamilies()
        self._metadata = MetadataFamilies()
        self._retention = RetentionFamilies()
        self._verification = VerificationFamilies()
        self._workers = WorkerFamilies()
        # By type, because a request costs three events and a chain of tests costs more.
        self._count: dict[type, Callable[[Any], None]] = {
            events.Served: self._count_served,
            events.UpstreamAsked: self._count_asked,
            events.Refused: self._count_refused,
            events.RequestFailed: self._count_failed,
            events.ReadersChanged: self._count_readers,
            events.Fetched: self._count_fetched,
            events.Stored: self._count_stored,
            events.FlightStarted: self._count_flight_started,
            events.FlightEnded: self._count_flight_ended,
            events.TransferResumed: self._count_transfer_resumed,
            events.SegmentStarted: self._count_segment,
            events.Prefetched: partial(self._count_prefetched, "fetched"),
            events.PrefetchUsed: partial(self._count_prefetched, "used"),
            events.UpstreamFailed: self._count_upstream_failed,
            events.BudgetSeen: self._note_budget,
            events.EndpointMarked: self._note_endpoint,
            events.StorageTimed: self._count_storage_timed,
            events.StorageFailed: self._count_storage_failed,
            events.StorageStands: self._note_storage,
            events.PassedOn: self._count_passed_on,
            events.MetadataFailed: self._count_metadata_failed,
            events.MetadataSettled: self._note_metadata_settled,
            events.SpaceMeasured: self._note_space,
            events.DiskMeasured: self._note_disk,
            events.ImageEvicted: self._count_image_evicted,
            events.DataEvicted: self._count_data_evicted,
            events.NotKept: self._count_not_kept,
            events.RetentionRan: self._note_retention,
            events.CacheAsked: self._count_cache_asked,
            events.NotificationCounted: self._count_notification,
            events.NotificationAnswered: self._count_notification_answer,
            events.Verified: self._count_verified,
            events.DamageFound: self._count_damage,
            events.Healed: self._count_healed,
            events.VerificationEnded: self._note_verification,
            events.RequestStarted: self._count_request_started,
            events.RequestEnded: self._count_request_ended,
            events.Repeated: self._count_repeated,
        }
        self._groups = (
            self._http,
            self._proxy,
            self._storage,
            self._own,
            self._pulls,
            self._refusals,
            self._upstream,
            self._notifications,
            self._metadata,
            self._retention,
            self._verification,
            self._workers,
        )
        self._exposition: Exposition | None = None

    def __call__(self, event: Event) -> None:
        """Count ``event``."""
        self._count[type(event)](event)

    def note_workers(self, *, running: int, restarts: int) -> None:
        """Note how many worker processes serve, and how often one had to be restarted."""
        self._workers.running.values[()] = running
        self._workers.restarts.values[()] = restarts

    def render(self, processes: "Sequence[int]" = ()) -> tuple[bytes, str]:
        """Return the body of a scrape and its Content-Type (text format 0.0.4).

        ``processes`` are the workers' process ids, whose processor time and memory count too.
        """
        from roadstead.telemetry import exposition  # noqa: PLC0415 - see there

        self._settle()
        if self._exposition is None:
            self._exposition = exposition.Exposition(self._groups)
        return self._exposition.render(processes), exposition.CONTENT_TYPE

    def dump(self) -> "Mapping[str, Dump]":
        """Write all series as JSON can say them, by family, for another process."""
        self._settle()
        return {one.name: one.dump() for group in self._groups for one in group.families()}

    def absorb(self, dump: "Mapping[str, Dump]", *, gauges: bool = True) -> None:
        """Add what another process has counted; ``gauges`` say how it stands, which may be over."""
        for group in self._groups:
            for family in group.families():
                if gauges or not isinstance(family, Gauge):
                    family.absorb(dump.get(family.name, ()))

    def clear(self) -> None:
        """Forget every series."""
        for group in self._groups:
            for family in group.families():
                family.clear()

    def proxy_totals(self, kind: Kind) -> dict[str, int]:
        """Return the proxy counters of ``kind`` under distribution's names in /debug/vars."""
        self._settle()
        label = (kind,)
        return {
            "Requests": int(self._proxy.requests.values[label]),
            "Hits": int(self._proxy.hits.values[label]),
            "Misses": int(self._proxy.misses.values[label]),
            "BytesPulled": int(self._proxy.pulled_bytes.values[label]),
            "BytesPushed": int(self._proxy.pushed_bytes.values[label]),
        }

    def notification_totals(self, endpoint: str) -> dict[str, Any]:
        """Return the counters of an endpoint under distribution's names in /debug/vars."""
        family = self._notifications
        totals: dict[str, Any] = {
            what: int(family.events.values.get((endpoint, what), 0)) for what in events.Notification
        }
        totals["Pending"] = int(family.pending.values.get((endpoint,), 0))
        totals["Statuses"] = {
            code: int(count)
            for (name, code), count in family.status.values.items()
            if name == endpoint
        }
        return totals

    def _count_served(self, event: events.Served) -> None:
        kind = (event.kind,)
        self._own.requests.values[event.kind, event.outcome] += 1
        self._proxy.requests.values[kind] += 1
        self._proxy.pushed_bytes.values[kind] += event.sent_bytes
        answers = self._proxy.hits if event.outcome.is_hit else self._proxy.misses
        answers.values[kind] += 1
        name = self._classify(event.repository)
        self._pulls.pulls.values[event.upstream, name, event.outcome] += 1
        self._pulls.served_bytes.values[event.upstream, name] += event.sent_bytes

    def _count_fetched(self, event: events.Fetched) -> None:
        kind = (event.kind,)
        self._proxy.pulled_bytes.values[kind] += event.size_bytes
        self._pulls.fetched_bytes.values[event.upstream, event.kind] += event.size_bytes
        self._own.fetch_seconds.series(kind).observe(event.seconds)

    def _count_stored(self, event: events.Stored) -> None:
        self._storage.upload_bytes.values[()] += event.size_bytes

    def _count_flight_started(self, event: events.FlightStarted) -> None:
        self._own.flights.values[()] += 1
        self._own.flight_resumed_bytes.values[()] += event.resumed_bytes

    def _count_flight_ended(self, event: events.FlightEnded) -> None:
        self._own.flights.values[()] -= 1
        self._own.flights_ended.values[(event.error or "none",)] += 1

    def _count_readers(self, event: events.ReadersChanged) -> None:
        self._own.flight_readers.values[()] += event.change

    def _count_asked(self, event: events.UpstreamAsked) -> None:
        self._upstream.asked.values[event.upstream, event.kind, event.error or "none"] += 1
        self._upstream.asked_seconds.series((event.upstream, event.kind)).observe(event.seconds)

    def _count_refused(self, event: events.Refused) -> None:
        self._refusals.refused.values[(event.limit,)] += 1

    def _count_failed(self, event: events.RequestFailed) -> None:
        self._refusals.failed.values[(event.error,)] += 1

    def _count_transfer_resumed(self, _event: events.TransferResumed) -> None:
        self._own.transfers_resumed.values[()] += 1

    def _count_segment(self, _event: events.SegmentStarted) -> None:
        self._own.segments.values[()] += 1

    def _count_prefetched(self, state: str, event: events.Prefetched | events.PrefetchUsed) -> None:
        self._own.prefetched.values[(state,)] += 1
        self._own.prefetched_bytes.values[(state,)] += event.size_bytes

    def _count_upstream_failed(self, event: events.UpstreamFailed) -> None:
        self._own.upstream_errors.values[event.upstream, event.error] += 1

    def _note_budget(self, event: events.BudgetSeen) -> None:
        labels = (event.upstream, event.account)
        self._upstream.pulls_limit.values[labels] = event.limit
        self._upstream.pulls_remaining.values[labels] = event.remaining
        self._upstream.pulls_reset.values[labels] = event.resets_at

    def _note_endpoint(self, event: events.EndpointMarked) -> None:
        self._upstream.endpoint_healthy.values[event.upstream, event.endpoint] = event.healthy

    def _count_storage_timed(self, event: events.StorageTimed) -> None:
        self._storage.action_seconds.series((self._driver, event.action)).observe(event.seconds)

    def _count_storage_failed(self, event: events.StorageFailed) -> None:
        self._own.storage_errors.values[event.operation, event.error] += 1

    def _note_storage(self, event: events.StorageStands) -> None:
        self._own.storage_writable.values[()] = event.writable

    def _count_passed_on(self, _event: events.PassedOn) -> None:
        self._own.passed_on.values[()] += 1

    def _count_metadata_failed(self, event: events.MetadataFailed) -> None:
        self._metadata.failures.values[(event.action,)] += 1

    def _note_metadata_settled(self, event: events.MetadataSettled) -> None:
        self._metadata.whole.values[()] = event.whole

    def _note_space(self, event: events.SpaceMeasured) -> None:
        self._retention.used_bytes.values[(event.upstream,)] = event.used_bytes
        if event.limit_bytes is not None:
            self._retention.limit_bytes.values[(event.upstream,)] = event.limit_bytes

    def _note_disk(self, event: events.DiskMeasured) -> None:
        self._retention.disk_free_bytes.values[()] = event.free_bytes
        self._retention.disk_total_bytes.values[()] = event.total_bytes

    def _count_image_evicted(self, event: events.ImageEvicted) -> None:
        self._retention.evicted_images.values[(event.reason,)] += 1

    def _count_data_evicted(self, event: events.DataEvicted) -> None:
        self._retention.evicted_blobs.values[(event.reason,)] += event.blobs
        self._retention.evicted_bytes.values[(event.reason,)] += event.size_bytes

    def _count_not_kept(self, event: events.NotKept) -> None:
        self._retention.not_kept.values[()] += 1
        self._retention.not_kept_bytes.values[()] += event.size_bytes

    def _note_retention(self, event: events.RetentionRan) -> None:
        self._retention.missing_bytes.values[()] = event.missing_bytes
        self._retention.last_run.values[(event.trigger,)] = event.at
        self._retention.last_seconds.values[(event.trigger,)] = event.seconds

    def _count_cache_asked(self, event: events.CacheAsked) -> None:
        self._storage.cache_requests.values[()] += 1
        self._storage.cache.values[("Request",)] += 1
        self._storage.cache.values[("Hit" if event.hit else "Miss",)] += 1
        if event.hit:
            self._storage.cache_hits.values[()] += 1

    def _count_notification(self, event: events.NotificationCounted) -> None:
        self._notifications.events.values[event.endpoint, event.what] += 1
        change = _PENDING.get(event.what)
        if change is not None:
            self._notifications.pending.values[(event.endpoint,)] += change

    def _count_notification_answer(self, event: events.NotificationAnswered) -> None:
        self._notifications.status.values[event.endpoint, event.status] += 1

    def _count_verified(self, event: events.Verified) -> None:
        self._verification.blobs.values[()] += 1
        self._verification.bytes.values[()] += event.size_bytes

    def _count_damage(self, event: events.DamageFound) -> None:
        self._verification.damaged.values[(event.damage,)] += 1

    def _count_healed(self, event: events.Healed) -> None:
        self._verification.healed.values[(event.error or "none",)] += 1

    def _note_verification(self, event: events.VerificationEnded) -> None:
        self._verification.complete.values[()] = event.at

    def _count_request_started(self, event: events.RequestStarted) -> None:
        self._http.in_flight.values[_HANDLERS.get(event.handler, _OTHER_HANDLER)] += 1

    def _count_request_ended(self, event: events.RequestEnded) -> None:
        http = self._http
        handler = _HANDLERS.get(event.handler, _OTHER_HANDLER)
        method = _METHODS.get(event.method, "unknown")
        code = _CODES.get(event.status, "unknown")
        http.in_flight.values[handler] -= 1
        http.requests.values[handler[0], code, method] += 1
        http.seconds.series((handler[0], method)).observe(event.seconds)
        http.request_bytes.series(handler).observe(event.request_bytes)
        http.response_bytes.series(handler).observe(event.response_bytes)

    def _count_repeated(self, event: events.Repeated) -> None:
        """Count what every such request needs counted at once; a scrape adds the rest."""
        key = (event.kind, event.method, event.upstream, self._classify(event.repository))
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = self._new_tally(event.kind, _METHODS[event.method])
        tally.requests += 1
        tally.sent_bytes += event.sent_bytes
        tally.seconds.observe(event.seconds)
        tally.response_bytes.observe(event.sent_bytes)

    def _new_tally(self, kind: Kind, method: str) -> "_Tally":
        http = self._http
        return _Tally(http.seconds.series((kind, method)), http.response_bytes.series((kind,)))

    def _settle(self) -> None:
        """Add to the families what was tallied of repeated requests."""
        for (kind, method, upstream, name), tally in self._tallies.items():
            count, sent = tally.requests, tally.sent_bytes
            tally.requests = tally.sent_bytes = 0
            self._storage.cache_requests.values[()] += count
            self._storage.cache_hits.values[()] += count
            self._storage.cache.values[("Request",)] += count
            self._storage.cache.values[("Hit",)] += count
            self._own.requests.values[kind, Outcome.HIT] += count
            self._proxy.requests.values[(kind,)] += count
            self._proxy.hits.values[(kind,)] += count
            self._proxy.pushed_bytes.values[(kind,)] += sent
            self._pulls.pulls.values[upstream, name, Outcome.HIT] += count
            self._pulls.served_bytes.values[upstream, name] += sent
            self._http.requests.values[kind, "200", _METHODS[method]] += count
            self._http.request_bytes.series((kind,)).observe(0, count)


class _Tally:
    """Repeated requests that are alike, since the last scrape; and the series of their times."""

    __slots__ = ("requests", "response_bytes", "seconds", "sent_bytes")

    def __init__(self, seconds: Distribution, response_bytes: Distribution) -> None:
        self.seconds = seconds
        self.response_bytes = response_bytes
        self.requests = 0
        self.sent_bytes = 0
