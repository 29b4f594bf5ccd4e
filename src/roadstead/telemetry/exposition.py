"""Numbers in the text format of Prometheus.

Imported by the first scrape, not by the start: prometheus_client takes its time.
"""

import resource
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
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
        self.processes: Sequence[int] = ()
        self._registry.register(_ProcessSums(self))
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self, processes: Sequence[int] = ()) -> bytes:
        """Return the body of a scrape; ``processes`` are worker processes, by their ids."""
        self.processes = processes
        return generate_latest(self._registry)


class _ProcessSums:
    """Processor time, memory and descriptors of this process, and of all workers with it.

    The time of workers that ended is counted on: it is that of this process's children.
    """

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._own = ProcessCollector(registry=None)

    def collect(self) -> Iterator[Metric]:
        """Yield what prometheus_client tells of a process, summed up."""
        processes = self._exposition.processes
        if not processes:
            return iter(self._own.collect())
        others = [ProcessCollector(pid=partial(int, pid), registry=None) for pid in processes]
        return _summed([one.collect() for one in (self._own, *others)])


def _summed(collected: Sequence[Iterable[Metric]]) -> Iterator[Metric]:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    first, *rest = ({family.name: family for family in families} for families in collected)
    for name, family in first.items():
        value = family.samples[0].value
        if name == "process_cpu_seconds":
            value += ended.ru_utime + ended.ru_stime
        if name != "process_start_time_seconds":
            value += sum(other[name].samples[0].value for other in rest if name in other)
        kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
        yield kind(name, family.documentation, value=value)


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
