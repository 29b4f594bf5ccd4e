"""One total over all worker processes, those that ended included."""

from collections.abc import Iterable, Mapping
from typing import Any

from roadstead import __version__
from roadstead.telemetry.metrics import Metrics
from roadstead.telemetry.series import Dump


def total(dumps: Iterable[Mapping[str, Dump]], driver: str) -> Metrics:
    """Add up what processes have counted, and make one number of each gauge."""
    metrics = Metrics(version=__version__, storage_driver=driver)
    metrics.clear()
    for dump in dumps:
        metrics.absorb(dump)
    return metrics


class Retired:
    """What ended processes had counted, so that no counter ever goes backwards."""

    def __init__(self, driver: str = "filesystem") -> None:
        self._metrics = Metrics(version=__version__, storage_driver=driver)
        self._metrics.clear()

    def add(self, dump: Mapping[str, Any]) -> None:
        """Keep the counters of a process that has ended."""
        self._metrics.absorb(dump, gauges=False)

    def dump(self) -> Mapping[str, Dump]:
        """Write them."""
        return self._metrics.dump()
