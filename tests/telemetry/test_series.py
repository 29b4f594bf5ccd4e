"""Counters, gauges and histograms as prometheus_client would have counted."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import Histogram as ReferenceHistogram

from roadstead.telemetry.exposition import metric_of
from roadstead.telemetry.series import Counter, Gauge, Histogram

_BOUNDS = (0.5, 1, 1024, 1048576)


def test_counter_exports_initialised_series_as_zero() -> None:
    """A series that was never incremented is exported as 0 once initialised."""
    counter = Counter("roadstead_things_total", "Things.", ("kind",))
    counter.initialise(("blob",), ("manifest",))

    counter.values[("blob",)] += 2

    samples = {tuple(s.labels.items()): s.value for s in metric_of(counter).samples}
    assert samples == {(("kind", "blob"),): 2, (("kind", "manifest"),): 0}
    assert {s.name for s in metric_of(counter).samples} == {"roadstead_things_total"}


def test_gauge_goes_down() -> None:
    """A gauge exports the present value under its own name."""
    gauge = Gauge("roadstead_now", "Now.")
    gauge.values[()] += 2
    gauge.values[()] -= 1

    [sample] = metric_of(gauge).samples
    assert (sample.name, sample.value, metric_of(gauge).type) == ("roadstead_now", 1, "gauge")


def test_bucket_names_are_those_of_go() -> None:
    """Whole bounds have no fraction and large ones an exponent, as Go's client prints them."""
    histogram = Histogram("roadstead_seconds", "Seconds.", bounds=_BOUNDS)
    histogram.series(()).observe(1)

    bounds = [s.labels["le"] for s in metric_of(histogram).samples if "le" in s.labels]
    assert bounds == ["0.5", "1", "1024", "1.048576e+06", "+Inf"]


@given(st.lists(st.floats(min_value=0, max_value=1e9)))
def test_histogram_counts_as_the_library_does(values: list[float]) -> None:
    """For any observations, buckets, count and sum are those of prometheus_client."""
    registry = CollectorRegistry()
    reference = ReferenceHistogram("h", "H.", buckets=_BOUNDS, registry=registry)
    histogram = Histogram("h", "H.", bounds=_BOUNDS)
    series = histogram.series(())

    for value in values:
        reference.observe(value)
        series.observe(value)

    expected = [
        sample.value
        for family in registry.collect()
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
    assert [sample.value for sample in metric_of(histogram).samples] == expected
