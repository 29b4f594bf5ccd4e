"""Counters, gauges and histograms as plain Python numbers, read only when scraped.

prometheus_client's own metrics take a lock and walk a list of buckets at every observation.
Everything here happens on the event loop, so an increment of a dict entry is enough;
``exposition`` makes families of prometheus_client when somebody asks for them.
"""

import operator
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, ItemsView, Iterable, Sequence
from typing import Any, TypeAlias

Labels = tuple[str, ...]

Dump: TypeAlias = Iterable[Sequence[Any]]
"""The series of a family as JSON can say them, for another process."""


class Counter:
    """Numbers that only grow, one per tuple of label values."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        """Use the exported ``name`` (it ends in ``_total``) with ``text`` as its help."""
        self.name = name
        self.text = text
        self.labels = labels
        self.values: defaultdict[Labels, float] = defaultdict(float)

    def initialise(self, *series: Labels) -> None:
        """Export ``series`` as 0 from the start, so that a rate over them is defined."""
        for labels in series:
            self.values[labels] = 0

    def clear(self) -> None:
        """Forget all series."""
        self.values.clear()

    def dump(self) -> Dump:
        """Write all series."""
        return [[labels, value] for labels, value in self.values.items()]

    def absorb(self, dump: Dump) -> None:
        """Add the series of another process."""
        for labels, value in dump:
            self.values[tuple(labels)] += value


class Gauge(Counter):
    """Numbers that grow and shrink, one per tuple of label values."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        *,
        across: Callable[[float, float], float] = operator.add,
    ) -> None:
        """``across`` makes one number of those of two worker processes; by default their sum."""
        super().__init__(name, text, labels)
        self._across = across

    def absorb(self, dump: Dump) -> None:
        """Take the series of another process into account."""
        for one, value in dump:
            labels = tuple(one)
            known = self.values.get(labels)
            self.values[labels] = value if known is None else self._across(known, value)


class Distribution:
    """One histogram series: how many observations fell into each bucket, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Have one bucket per upper bound (inclusive), and one for what is beyond the last."""
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count ``value``, once or several times."""
        self.counts[bisect_left(self._bounds, value)] += times
        self.total += value * times


class Histogram:
    """Distributions that share their buckets, one per tuple of label values."""

    def __init__(
        self, name: str, text: str, *, bounds: Sequence[float], labels: Sequence[str] = ()
    ) -> None:
        """Count into buckets with the inclusive upper ``bounds``, in ascending order."""
        self.name = name
        self.text = text
        self.labels = labels
        self.bounds = bounds
        self._series: dict[Labels, Distribution] = {}

    def series(self, labels: Labels) -> Distribution:
        """Return the distribution of ``labels``, created on first use."""
        found = self._series.get(labels)
        if found is None:
            found = self._series[labels] = Distribution(self.bounds)
        return found

    def items(self) -> ItemsView[Labels, Distribution]:
        """Return all distributions with their labels."""
        return self._series.items()

    def clear(self) -> None:
        """Forget all series."""
        self._series.clear()

    def dump(self) -> Dump:
        """Write all series."""
        return [[labels, one.counts, one.total] for labels, one in self._series.items()]

    def absorb(self, dump: Dump) -> None:
        """Add the series of another process, which has the same bounds."""
        for labels, counts, total in dump:
            one = self.series(tuple(labels))
            one.counts = list(map(operator.add, one.counts, counts))
            one.total += total
