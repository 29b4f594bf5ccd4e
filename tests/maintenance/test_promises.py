"""What is promised to content that arrives."""

from roadstead.maintenance.promises import Promise, Promises
from tests.maintenance.rows import data

HUB, GHCR = "docker.io", "ghcr.io"


def test_a_promise_counts_until_it_is_closed_and_then_as_arrived() -> None:
    """Once, however often it is closed; until upstreams are summed up again."""
    promises, promise = Promises(), Promise(data("layer"), HUB)
    promises.add(promise)
    promises.raise_to(promise, 100)
    assert promises.snapshot().promised_bytes() == 100
    promises.close(promise)
    promises.close(promise)
    assert promises.snapshot().promised_bytes() == 0
    assert (promises.closed_bytes(HUB), promises.closed_bytes(GHCR)) == (100, 0)
    promises.forget_closed(HUB)
    assert promises.closed_bytes(HUB) == 0


def test_what_arrives_while_the_store_is_measured_is_not_missed() -> None:
    """A snapshot from before still counts it, whatever the measurement saw of it."""
    promises, promise = Promises(), Promise(data("layer"), HUB, 100)
    promises.add(promise)
    before = promises.snapshot()
    promises.close(promise)
    assert before.promised_bytes() == 100


def test_partial_files_count_once() -> None:
    """Under their promise if there is one, else as idle; the rest of a promise is unwritten."""
    promises = Promises()
    promises.add(Promise(data("layer"), HUB, 100))
    promises.add(Promise(data("other"), GHCR, 50))
    arriving = promises.snapshot()
    partials = {data("layer"): 40, data("idle"): 7}
    assert arriving.promised_bytes(GHCR) == 50
    assert arriving.unwritten_bytes(partials) == 60 + 50
    assert arriving.idle_bytes(partials) == 7
