"""Whether the mirror should get requests, for load balancers and orchestrators.

A mirror whose upstreams are away is ready: it serves what it holds. Whoever has another mirror to
send clients to can ask for upstreams by name, and gets "not ready" while one of them is away.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roadstead.runtime.status import StatusBoard
from roadstead.telemetry.health import HealthMonitor

ALL_UPSTREAMS = "all"


@dataclass(slots=True)
class Readiness:
    """The state behind ``/readyz``; ``draining`` is set when the process begins to stop."""

    health: HealthMonitor
    board: StatusBoard
    draining: bool = False

    def is_healthy(self) -> bool:
        """Say whether no vital health check is failing; asked once per request."""
        return self.health.is_healthy()

    def checks(self) -> tuple[bool, Mapping[str, str]]:
        """Say whether the mirror is healthy, and map each failing check to its error."""
        healthy, failing = self.health.is_healthy(), self.health.status()
        crew = self.board.crew
        if crew is None:
            return healthy, failing
        theirs, with_them = crew.failing()
        return healthy and theirs, {**failing, **with_them}

    def document(self, required: str) -> tuple[bool, Mapping[str, Any]]:
        """Say whether the mirror is ready, and why not.

        ``required`` names upstreams, separated by commas, that must be well too; ``all`` is all.
        """
        healthy, failing = self.checks()
        members = self.board.members()
        if self.board.crew is not None:
            members = self.board.crew.members(members)
        upstreams = {name: any(one["healthy"] for one in of) for name, of in members.items()}
        names = required.split(",") if required else []
        wanted = upstreams if ALL_UPSTREAMS in names else names
        ready = healthy and not self.draining and all(map(upstreams.get, wanted))
        return ready, {
            "ready": ready,
            "draining": self.draining,
            "failing": failing,
            "upstreams": {name: "well" if well else "away" for name, well in upstreams.items()},
        }
