"""One volume, two programs: registry 2.8.2 and the filesystem store."""

import json
from pathlib import Path

import pytest

from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.filesystem import FilesystemStore
from tests.storage.blobs import ALPINE, LATEST, NGINX, hold_blob, read_blob
from tests.support.dockerregistry import (
    image_manifest,
    push_blob,
    push_manifest,
    request,
    start_docker_registry,
)
from tests.support.volumes import files_below

pytestmark = pytest.mark.servers

CONFIG = b'{"architecture": "amd64", "os": "linux"}'
LAYER = bytes(range(256)) * 300
MANIFEST = image_manifest(CONFIG, LAYER)
DIGEST = Digest.of(MANIFEST)
SHA512 = Digest.of(LAYER, "sha512")


async def test_a_volume_of_the_stock_registry_is_read(tmp_path: Path) -> None:
    """Whatever registry 2.8.2 was pushed is held here, blob by blob and tag by tag."""
    with start_docker_registry(tmp_path) as url:
        for repository in (ALPINE, NGINX):
            push_blob(url, repository, CONFIG)
            push_blob(url, repository, LAYER)
            push_manifest(url, repository, LATEST, MANIFEST)
        push_manifest(url, ALPINE, "3.20", MANIFEST)
        push_blob(url, "by/sha512", LAYER, algorithm="sha512")

    store = FilesystemStore(tmp_path)
    for repository in (ALPINE, NGINX):
        held = await store.resolve_tag(repository, LATEST)
        assert held is not None
        assert held.digest == DIGEST
        assert await store.read_manifest(repository, DIGEST) == MANIFEST
        for content in (CONFIG, LAYER):
            assert await store.stat_blob(repository, Digest.of(content)) == len(content)
            assert read_blob(store, Digest.of(content)) == content
    assert await store.list_tags(ALPINE) == ["3.20", "latest"]
    assert await store.list_repositories(after=None, limit=9) == ["by/sha512", ALPINE, NGINX]
    assert await store.stat_blob(RepositoryName("by/sha512"), SHA512) == len(LAYER)
    assert read_blob(store, SHA512) == LAYER


async def test_the_stock_registry_serves_our_volume(tmp_path: Path) -> None:
    """Registry 2.8.2 gives back what we stored, by tag, digest, catalog and list."""
    store = FilesystemStore(tmp_path)
    for repository in (ALPINE, NGINX):
        hold_blob(store, CONFIG, repository)
        hold_blob(store, LAYER, repository)
        await store.write_manifest(repository, DIGEST, MANIFEST)
        await store.write_tag(repository, LATEST, DIGEST, 1000.0)
    await store.write_tag(ALPINE, Tag("3.20"), DIGEST, 1000.0)
    await store.write_referrers(ALPINE, DIGEST, b"{}")
    hold_blob(store, LAYER, ALPINE, algorithm="sha512")
    store.partial_blob(Digest.of(b"not yet")).close()

    with start_docker_registry(tmp_path) as url:
        for repository in (ALPINE, NGINX):
            for reference in (LATEST, str(DIGEST)):
                manifest = request("GET", f"{url}/v2/{repository}/manifests/{reference}")
                assert (manifest.status, manifest.body) == (200, MANIFEST)
                assert manifest.headers["Docker-Content-Digest"] == str(DIGEST)
            for content in (CONFIG, LAYER):
                blob = request("GET", f"{url}/v2/{repository}/blobs/{Digest.of(content)}")
                assert (blob.status, blob.body) == (200, content)
        by_sha512 = request("GET", f"{url}/v2/{ALPINE}/blobs/{SHA512}")
        assert (by_sha512.status, by_sha512.body) == (200, LAYER)
        tags = json.loads(request("GET", f"{url}/v2/{ALPINE}/tags/list").body)["tags"]
        assert sorted(tags) == ["3.20", "latest"]  # 2.8 lists in the order of the directory
        catalog = request("GET", f"{url}/v2/_catalog")
        assert json.loads(catalog.body) == {"repositories": [ALPINE, NGINX]}


async def test_both_programs_write_the_same_files(tmp_path: Path) -> None:
    """For the same image our part of a volume equals the stock registry's, byte for byte."""
    stock, ours = tmp_path / "stock", tmp_path / "ours"
    with start_docker_registry(stock) as url:
        push_blob(url, ALPINE, CONFIG)
        push_blob(url, ALPINE, LAYER)
        push_manifest(url, ALPINE, LATEST, MANIFEST)
    store = FilesystemStore(ours)
    hold_blob(store, CONFIG, ALPINE)
    hold_blob(store, LAYER, ALPINE)
    await store.write_manifest(ALPINE, DIGEST, MANIFEST)
    await store.write_tag(ALPINE, LATEST, DIGEST, 1000.0)

    assert files_below(ours / "docker") == files_below(stock / "docker")


async def test_the_catalog_has_the_stock_order(tmp_path: Path) -> None:
    """Names with separators that sort around the slash come in the same order and pages."""
    names = ["b", "a-b", "a/b", "a.b", "a/b/c", "a__b", "a/b-c", "a0", "a"]
    store = FilesystemStore(tmp_path)
    hold_blob(store, b"")
    for name in names:
        await store.link_blob(RepositoryName(name), Digest.of(b""))

    with start_docker_registry(tmp_path) as url:
        listed = json.loads(request("GET", f"{url}/v2/_catalog?n=50").body)["repositories"]
        page = json.loads(request("GET", f"{url}/v2/_catalog?n=3&last=a/b").body)["repositories"]

    assert len(listed) == len(names)
    assert await store.list_repositories(after=None, limit=50) == listed
    assert await store.list_repositories(after="a/b", limit=3) == page
