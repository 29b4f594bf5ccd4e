"""How all worker processes stand together, from what each of them reports."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from roadstead.telemetry.metrics import Metrics
from roadstead.telemetry.sums import Retired, total

Member = dict[str, Any]


class Reports(Protocol):
    """Where the reports come from."""

    @property
    def reports(self) -> Sequence[Mapping[str, Any]]:
        """What each worker that runs said last."""

    @property
    def running(self) -> int:
        """How many workers serve clients."""

    @property
    def processes(self) -> Sequence[int]:
        """Their process ids."""

    @property
    def retired(self) -> Retired:
        """What those that ended had counted."""

    @property
    def restarts(self) -> int:
        """How many were restarted."""

    async def refresh(self) -> None:
        """Have all workers report."""


class Crew:
    """All workers as one mirror."""

    def __init__(self, source: Reports) -> None:
        self._source = source

    @property
    def running(self) -> int:
        """How many workers serve clients."""
        return self._source.running

    @property
    def processes(self) -> Sequence[int]:
        """Their process ids."""
        return self._source.processes

    async def refresh(self) -> None:
        """Have all workers report, before something is shown."""
        await self._source.refresh()

    def total(self, own: Metrics) -> Metrics:
        """Add up what all processes have counted, also those that ended."""
        source = self._source
        workers = [report["metrics"] for report in source.reports]
        own.note_workers(running=source.running, restarts=source.restarts)
        return total([own.dump(), source.retired.dump(), *workers], "filesystem")

    def failing(self) -> tuple[bool, Mapping[str, str]]:
        """Say whether all workers are well enough to serve, and what is wrong with any."""
        failing: dict[str, str] = {}
        healthy = self._source.running > 0
        if not healthy:
            failing["workers"] = "no worker process serves"
        for report in self._source.reports:
            failing.update(report["failing"])
            healthy = healthy and report["healthy"]
        return healthy, failing

    def members(self, own: Mapping[str, list[Member]]) -> dict[str, list[Member]]:
        """Say how upstreams stand: failing if they fail for any worker, with the latest quota.

        ``own`` is how the keeper sees them, which hardly asks them.
        """
        views = [own, *(report["upstreams"] for report in self._source.reports)]
        return {
            name: [
                _merged([view[name][index] for view in views if index < len(view.get(name, ()))])
                for index in range(len(members))
            ]
            for name, members in own.items()
        }

    def flights(self, own: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """List running fetches; one that several workers follow is one."""
        merged: dict[str, dict[str, Any]] = {}
        for flight in (
            *own,
            *(one for report in self._source.reports for one in report["flights"]),
        ):
            known = merged.setdefault(
                flight["digest"], {**flight, "readers": 0, "repositories": []}
            )
            known["readers"] += flight["readers"]
            known["repositories"] = sorted({*known["repositories"], *flight["repositories"]})
            known["size_bytes"] = known["size_bytes"] or flight["size_bytes"]
            known["available_bytes"] = max(known["available_bytes"], flight["available_bytes"])
        return list(merged.values())


def _merged(views: Sequence[Member]) -> Member:
    worst = min(views, key=lambda one: one["healthy"])
    told = max(views, key=lambda one: one["pulls_seen_at"] or 0)
    quota = {name: told[name] for name in told if name.startswith("pulls_")}
    return {**worst, **quota}
