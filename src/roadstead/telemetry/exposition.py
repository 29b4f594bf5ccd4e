"""Numbers in the text format of Prometheus.

Imported by the first scrape, not by the start: prometheus_client takes its time.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.utils import floatToGoString

from roadstead.telemetry.series import Counter, Gauge, Histogram

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Content-Type of a scrape (text format 0.0.4)."""


class Group(Protocol):
    """Families that belong together."""

    def families(self) -> Iterable[Counter | Histogram]:
        """Yield them."""


class Exposition:
    """A registry of groups, and of what prometheus_client knows about the process."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._registry = CollectorRegistry()
        for group in groups:
            self._registry.register(_Collector(group))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self) -> bytes:
        """Return the body of a scrape."""
        return generate_latest(self._registry)


class _Collector:
    def __init__(self, group: Group) -> None:
        self._group = group

    def collect(self) -> Iterator[Metric]:
        """Yield what a scrape exports now."""
        return map(metric_of, self._group.families())


def metric_of(family: Counter | Histogram) -> Metric:
    """Return what a scrape exports of one family now."""
    if isinstance(family, Histogram):
        return _histogram(family)
    kind = GaugeMetricFamily if isinstance(family, Gauge) else CounterMetricFamily
    metric = kind(family.name, family.text, labels=family.labels)
    for labels, value in family.values.items():
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Histogram) -> Metric:
    names = [*(_bound_name(bound) for bound in family.bounds), "+Inf"]
    metric = HistogramMetricFamily(family.name, family.text, labels=family.labels)
    for labels, series in family.items():
        buckets = list(zip(names, accumulate(series.counts), strict=True))
        metric.add_metric(labels, buckets, series.total)
    return metric


def _bound_name(bound: float) -> str:
    # Go's client prints whole numbers without a fraction; older servers compare ``le`` as text.
    text: str = floatToGoString(float(bound))  # type: ignore[no-untyped-call] # it has none
    return text.removesuffix(".0")
