"""Events for notification endpoints, as distribution writes them (facts/registry.md, section 7).

Pure: from an answered request to an event. Delivery is in ``roadstead.telemetry.delivery``.
"""

import json
import socket
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from roadstead.oci.mediatype import OCTET_STREAM
from roadstead.telemetry.answered import Exchange

PULL: Final = "pull"
DELETE: Final = "delete"

CONTENT_TYPES: Final = {
    "v1": "application/vnd.docker.distribution.events.v1+json",
    "v2": "application/vnd.docker.distribution.events.v2+json",
}
"""Content type of an envelope: that of registry:2, and that of registry:3. The bodies are alike."""

_PULLED = frozenset({200, 206})
_DELETED = 202


@dataclass(frozen=True, slots=True)
class Source:
    """Who sends the events: this process, on this machine."""

    address: str
    instance_id: str
    base_url: str
    """What stands in front of ``/v2/`` in the URLs of events; empty: as the client asked."""
    scheme: str = "http"
    """Scheme of URLs without ``base_url``."""

    @classmethod
    def here(cls, *, port: int | None, instance_id: str, base_url: str, scheme: str) -> "Source":
        """Name this machine and ``port``."""
        host = socket.gethostname()
        return cls(f"{host}:{port}" if port else host, instance_id, base_url.rstrip("/"), scheme)


@dataclass(frozen=True, slots=True)
class Ignored:
    """Which events an endpoint does not want, by media type and by action."""

    media_types: Collection[str] = field(default_factory=frozenset)
    actions: Collection[str] = field(default_factory=frozenset)

    def covers(self, event: dict[str, Any]) -> bool:
        """Say whether ``event`` is not to be sent."""
        media_type = event["target"].get("mediaType")
        return media_type in self.media_types or event["action"] in self.actions


def event_of(exchange: Exchange, *, source: Source, at: datetime) -> dict[str, Any] | None:
    """Make the event of an answered request; None if it is none.

    A GET or HEAD that was answered with content is a pull, as in distribution's proxy mode, but
    for 304; an accepted DELETE is a delete.
    """
    action = _action(exchange)
    if action is None:
        return None
    return {
        "id": str(uuid.uuid4()),
        "timestamp": at.isoformat().replace("+00:00", "Z"),
        "action": action,
        "target": _target(exchange, source),
        "request": {
            "id": exchange.request_id,
            "addr": exchange.client,
            "host": exchange.host,
            "method": exchange.method,
            "useragent": exchange.user_agent,
        },
        "actor": {"name": exchange.user} if exchange.user else {},
        "source": {"addr": source.address, "instanceID": source.instance_id},
    }


def envelope(events: Sequence[dict[str, Any]]) -> bytes:
    """Write the body of one delivery."""
    return json.dumps({"events": events}, indent=3).encode()


def _action(exchange: Exchange) -> str | None:
    if not exchange.repository or not (exchange.reference or exchange.digest):
        return None
    if exchange.method in ("GET", "HEAD") and exchange.status in _PULLED:
        return PULL if exchange.content_digest else None
    if exchange.method == "DELETE" and exchange.status == _DELETED:
        return DELETE
    return None


def _target(exchange: Exchange, source: Source) -> dict[str, Any]:
    is_blob = bool(exchange.digest)
    reference = exchange.content_digest or exchange.digest or exchange.reference
    kind = "blobs" if is_blob else "manifests"
    base = source.base_url or f"{source.scheme}://{exchange.host}"
    target: dict[str, Any] = {
        "mediaType": OCTET_STREAM if is_blob else exchange.content_type,
        "size": exchange.content_bytes,
        "digest": reference if ":" in reference else "",
        "length": exchange.content_bytes,
        "repository": exchange.repository,
        "url": f"{base}/v2/{exchange.repository}/{kind}/{reference}",
        "tag": "" if ":" in exchange.reference else exchange.reference,
    }
    # As Go's omitempty: what there is nothing to say of is left out.
    return {key: value for key, value in target.items() if value}
