"""How many small requests a server answers, and what each costs it."""

from typing import Final

from benchmarks.client import ACCEPT, small_requests
from benchmarks.process import Server
from benchmarks.scenarios.base import Column

RATE_COLUMNS: Final = (
    Column("rate", "req/s", compared=True),
    Column("p50", "p50 ms", 2),
    Column("p99", "p99 ms", 2),
    Column("cpu", "CPU us/req", 1),
)


def measure_rate(
    server: Server,
    path: str,
    *,
    connections: int,
    seconds: int,
    headers: tuple[str, ...] = (),
    cpu: int | None = None,
) -> dict[str, float]:
    """Ask for a manifest again and again with wrk, on processor ``cpu`` if given.

    Raises:
        LoadFailedError: an answer was wrong, or there was none.
    """
    used = server.cpu_seconds()
    rate = small_requests(
        f"{server.url}{path}",
        connections=connections,
        seconds=seconds,
        headers=(f"Accept: {ACCEPT}", *headers),
        cpu=cpu,
    )
    used = server.cpu_seconds() - used
    return {
        "rate": rate.per_second,
        "p50": rate.p50_seconds * 1e3,
        "p99": rate.p99_seconds * 1e3,
        "cpu": used / (rate.per_second * seconds) * 1e6,
    }
