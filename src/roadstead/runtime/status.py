"""The document behind ``roadstead status``: how upstreams and running fetches stand."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from roadstead import __version__
from roadstead.metadata.service import MetadataService
from roadstead.mirror.mirrors import Mirrors
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
    space: KeptSpace
    upstreams: dict[str, FailoverUpstream] = field(default_factory=dict)

    async def document(self, mirrors: Mirrors) -> Mapping[str, Any]:
        """Return what is known now, as JSON can write it; no secret is in it."""
        return {
            "version": __version__,
            "upstreams": [
                {"name": name, "members": [_member(one) for one in upstream.status()]}
                for name, upstream in self.upstreams.items()
            ],
            "flights": [asdict(report) for report in mirrors.running()],
            "metadata": asdict(self.metadata.status()),
            "retention": await self.space.document(),
            "served": {
                "blobs": self.metrics.proxy_totals(Kind.BLOB),
                "manifests": self.metrics.proxy_totals(Kind.MANIFEST),
            },
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
        "pulls_reset_at": budget.resets_at if budget else None,
    }
