"""Which requests are events, and what stands in them (facts/registry.md, section 7)."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from roadstead.oci.mediatype import OCI_INDEX, OCTET_STREAM
from roadstead.telemetry.answered import Exchange
from roadstead.telemetry.notifications import Ignored, Source, envelope, event_of

_AT = datetime(2026, 11, 24, 12, 30, 0, 5, UTC)
_DIGEST = f"sha256:{'a' * 64}"
_SOURCE = Source("mirror:5000", "instance", "", "http")
_MANIFEST = Exchange(
    peer="10.0.0.1",
    forwarded_for="10.0.0.9",
    request_id="7",
    method="GET",
    target="/v2/library/app/manifests/latest",
    host="mirror:5000",
    user_agent="containerd/2",
    status=200,
    written_bytes=10,
    content_type=OCI_INDEX,
    seconds=0.1,
    repository="library/app",
    reference="latest",
    content_digest=_DIGEST,
    content_bytes=10,
)
_BLOB = replace(
    _MANIFEST, reference="", digest=_DIGEST, content_type="text/plain", content_bytes=5000
)


def _event(exchange: Exchange, source: Source = _SOURCE) -> dict[str, Any]:
    event = event_of(exchange, source=source, at=_AT)
    assert event is not None
    return event


def test_a_pull_by_tag() -> None:
    """The tag and what it points at, who asked, and who says so."""
    event = _event(_MANIFEST)

    assert len(event.pop("id")) == 36
    assert event == {
        "timestamp": "2026-11-24T12:30:00.000005Z",
        "action": "pull",
        "target": {
            "mediaType": OCI_INDEX,
            "size": 10,
            "length": 10,
            "digest": _DIGEST,
            "repository": "library/app",
            "url": f"http://mirror:5000/v2/library/app/manifests/{_DIGEST}",
            "tag": "latest",
        },
        "request": {
            "id": "7",
            "addr": "10.0.0.9",
            "host": "mirror:5000",
            "method": "GET",
            "useragent": "containerd/2",
        },
        "actor": {},
        "source": {"addr": "mirror:5000", "instanceID": "instance"},
    }


def test_a_blob_is_an_octet_stream_of_its_full_size() -> None:
    """However much of it was sent."""
    target = _event(replace(_BLOB, method="HEAD", written_bytes=0))["target"]

    assert (target["mediaType"], target["size"]) == (OCTET_STREAM, 5000)
    assert target["url"].endswith(f"/blobs/{_DIGEST}")
    assert "tag" not in target


def test_urls_begin_with_the_configured_host() -> None:
    """``http.host`` stands for scheme and host; the user is the actor."""
    event = _event(
        replace(_MANIFEST, user="alice"), replace(_SOURCE, base_url="https://mirror.corp")
    )

    assert event["target"]["url"].startswith("https://mirror.corp/v2/library/app/")
    assert event["actor"] == {"name": "alice"}


def test_a_deletion_of_a_tag_and_of_a_digest() -> None:
    """An accepted DELETE; a tag has no digest."""
    accepted = replace(
        _MANIFEST, method="DELETE", status=202, content_digest="", content_bytes=0, content_type=""
    )

    by_tag = _event(accepted)
    by_digest = _event(replace(accepted, reference=_DIGEST))

    assert (by_tag["action"], by_tag["target"]["tag"]) == ("delete", "latest")
    assert "digest" not in by_tag["target"]
    assert (by_digest["action"], by_digest["target"]["digest"]) == ("delete", _DIGEST)


@pytest.mark.parametrize(
    "exchange",
    [
        replace(_MANIFEST, status=304),
        replace(_MANIFEST, status=404, content_digest=""),
        replace(_MANIFEST, method="POST", status=405),
        replace(_MANIFEST, method="DELETE", status=405),
        replace(_MANIFEST, repository="", reference=""),
        # A listing of tags has a repository, but no reference.
        replace(_MANIFEST, reference="", content_digest=""),
    ],
    ids=["not modified", "unknown", "write", "refused", "base", "tags"],
)
def test_what_is_no_event(exchange: Exchange) -> None:
    """Only content that was served, and what was removed."""
    assert event_of(exchange, source=_SOURCE, at=_AT) is None


def test_ignored_media_types_and_actions() -> None:
    """Each alone is enough; registry:2 looked at actions only beside media types."""
    event = _event(_BLOB)

    assert Ignored(media_types={OCTET_STREAM}).covers(event)
    assert Ignored(actions={"pull"}).covers(event)
    assert not Ignored(media_types={OCI_INDEX}, actions={"delete"}).covers(event)


def test_the_envelope() -> None:
    """Indented by three spaces, as there."""
    body = envelope([_event(_MANIFEST)])

    assert body.startswith(b'{\n   "events": [\n      {')
    assert json.loads(body)["events"][0]["action"] == "pull"
