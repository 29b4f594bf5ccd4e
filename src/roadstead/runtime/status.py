"""The document behind ``roadstead status``: how upstreams and running fetches stand."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from roadstead import __version__
from roadstead.metadata.service import MetadataService
from roadstead.mirror.mirrors import Mirrors
from roadstead.runtime.crew import Crew
from roadstead.runtime.retention import KeptSpace
from roadstead.telemetry.events import Kind
from roadstead.telemetry.metrics import Metrics
from roadstead.upstream.endpoints import MemberStatus
from roadstead.upstream.failover import FailoverUpstream


@dataclass(slots=True)
class StatusBoard:
    """Collects what there is to say; ``upstreams`` is filled as they are opened."""

    metrics: Metrics
    metadata: MetadataService
    space: KeptSpace | None
    upstreams: dict[str, FailoverUpstream] = field(default_factory=dict)
    crew: Crew | None = None

    async def document(self, mirrors: Mirrors) -> Mapping[str, Any]:
        """Return what is known now, as JSON can write it; no secret is in it."""
        metrics = self.totals()
        upstreams = self.members()
        flights = [asdict(report) for report in mirrors.running()]
        if self.crew is not None:
            upstreams = self.crew.members(upstreams)
            flights = self.crew.flights(flights)
        return {
            "version": __version__,
            "workers": 1 if self.crew is None else self.crew.running,
            "upstreams": [{"name": name, "members": of} for name, of in upstreams.items()],
            "flights": flights,
            "metadata": asdict(self.metadata.status()),
            "retention": None if self.space is None else await self.space.document(),
            "served": {
                "blobs": metrics.proxy_totals(Kind.BLOB),
                "manifests": metrics.proxy_totals(Kind.MANIFEST),
            },
        }

    def totals(self) -> Metrics:
        """Return what was counted, by all processes."""
        return self.metrics if self.crew is None else self.crew.total(self.metrics)

    def members(self) -> dict[str, list[dict[str, Any]]]:
        """Say how the members of each upstream stand, as this process sees them."""
        return {
            name: [_member(one) for one in upstream.status()]
            for name, upstream in self.upstreams.items()
        }


def _member(status: MemberStatus) -> dict[str, Any]:
    budget = status.budget
    return {
        "endpoint": status.endpoint,
        "account": status.account,
        "healthy": status.healthy,
        "next_probe_seconds": status.next_probe_seconds,
        "pulls_limit": budget.limit if budget else None,
        "pulls_remaining": budget.remaining if budget else None,
        "pulls_seen_at": budget.seen_at if budget else None,
        "pulls_reset_at": budget.resets_at if budget else None,
    }
