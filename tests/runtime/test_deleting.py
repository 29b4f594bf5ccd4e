"""DELETE over HTTP, in the whole program."""

from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.simulator.content import SimulatedImage
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.storage.filesystem import FilesystemStore
from tests.runtime.started import started, url_of
from tests.support.rig import APP

_KEY = "0123456789abcdef0123456789abcdef"
_ADMIN = {"X-Key": _KEY}
_DELETABLE = {
    "REGISTRY_STORAGE_DELETE_ENABLED": "true",
    "REGISTRY_ACCESS_ADMINS": "[header:ops]",
    "REGISTRY_ACCESS_HEADERS": f"[{{name: X-Key, secret: {_KEY}, identity: ops}}]",
    "REGISTRY_ACCESS_RULES": "[{allow: [everybody]}]",
}


async def _pull(client: ClientSession, base: str, image: SimulatedImage) -> None:
    paths = ["manifests/latest", f"manifests/{image.manifest_digest}"]
    for path in (*paths, *(f"blobs/{blob.digest}" for blob in image.blobs)):
        async with client.get(f"{base}/{path}") as response:
            assert response.status == 200
            await response.read()


async def _status(client: ClientSession, method: str, url: str, **headers: str) -> int:
    async with client.request(method, url, headers=headers) as response:
        await response.read()
        return response.status


async def test_admins_delete_from_the_mirror_alone(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """A deleted manifest, tag or blob is gone from volume and memory, and comes from upstream."""
    image = upstream.add_image(APP, tag="latest")
    async with started(upstream, tmp_path, **_DELETABLE) as made:
        base = f"{url_of(made)}/v2/{APP}"
        await _pull(client, base, image)
        store = FilesystemStore(tmp_path)
        blob = image.blobs[0].digest

        assert await _status(client, "DELETE", f"{base}/blobs/{blob}", **_ADMIN) == 202
        assert await store.stat_blob(APP, blob) is None
        assert await _status(client, "DELETE", f"{base}/manifests/latest", **_ADMIN) == 202
        assert await store.list_tags(APP) == []
        assert await store.has_manifest(APP, image.manifest_digest)
        await _pull(client, base, image)
        by_digest = f"{base}/manifests/{image.manifest_digest}"
        assert await _status(client, "DELETE", by_digest, **_ADMIN) == 202
        assert await store.list_tags(APP) == []
        assert not await store.has_manifest(APP, image.manifest_digest)

        for path in ("manifests/latest", f"manifests/{image.manifest_digest}"):
            assert await _status(client, "DELETE", f"{base}/{path}", **_ADMIN) == 404
        async with client.head(by_digest) as response:
            assert response.headers["X-Roadstead-Outcome"] == "miss"
    assert {record.method for record in upstream.requests} == {"GET", "HEAD"}


async def test_only_admins_delete(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """Who may read may not delete; lists and uploads are nobody's to delete."""
    image = upstream.add_image(APP, tag="latest")
    async with started(upstream, tmp_path, **_DELETABLE) as made:
        base = f"{url_of(made)}/v2/{APP}"
        await _pull(client, base, image)
        url = f"{base}/manifests/latest"
        assert await _status(client, "DELETE", url) == 403
        assert await _status(client, "DELETE", f"{base}/tags/list", **_ADMIN) == 405
        assert await _status(client, "PUT", url, **_ADMIN) == 405
        async with client.options(url) as response:
            assert response.headers["Allow"] == "GET, HEAD, DELETE"
        async with client.options(f"{base}/tags/list") as response:
            assert response.headers["Allow"] == "GET, HEAD"
        assert await FilesystemStore(tmp_path).list_tags(APP) == ["latest"]


@pytest.mark.parametrize(
    "changed",
    [
        {"REGISTRY_STORAGE_DELETE_ENABLED": "false"},
        {"REGISTRY_STORAGE_MAINTENANCE_READONLY": "{enabled: true}"},
    ],
)
async def test_deleting_is_switched_on(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path, changed: dict[str, str]
) -> None:
    """Without storage.delete.enabled, or read-only, DELETE is refused like any write."""
    image = upstream.add_image(APP, tag="latest")
    async with started(upstream, tmp_path, **{**_DELETABLE, **changed}) as made:
        base = f"{url_of(made)}/v2/{APP}"
        await _pull(client, base, image)
        for path in ("manifests/latest", f"blobs/{image.blobs[0].digest}"):
            async with client.delete(f"{base}/{path}", headers=_ADMIN) as response:
                assert response.status == 405
                assert response.headers["Allow"] == "GET, HEAD"


async def test_without_admins_nobody_deletes(
    upstream: ScriptedRegistry, client: ClientSession, tmp_path: Path
) -> None:
    """The brief's configuration switches deletion on and names no admin: nothing is open."""
    image = upstream.add_image(APP, tag="latest")
    async with started(upstream, tmp_path, REGISTRY_STORAGE_DELETE_ENABLED="true") as made:
        base = f"{url_of(made)}/v2/{APP}"
        await _pull(client, base, image)
        assert await _status(client, "DELETE", f"{base}/manifests/latest") == 403
