"""One volume, two mirrors: what one of them has pulled is served by the other."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.servers.comparison import pull_everything
from tests.servers.samples import BLOBS, DIGESTS, MANIFESTS, OTHER, REPOSITORY, TAGS, fill
from tests.support.dockerregistry import Answer, request, start_docker_registry
from tests.support.roadstead_process import RoadsteadProcess, start_roadstead
from tests.support.volumes import files_below

pytestmark = pytest.mark.servers


@contextmanager
def start_origin(root: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run the filled origin; give its URL and how to stop it early."""
    with ExitStack() as stack:
        url = stack.enter_context(start_docker_registry(root))
        fill(url)
        yield url, stack.close


@contextmanager
def start_mirror(volume: Path, upstream: str) -> Iterator[RoadsteadProcess]:
    """Run Roadstead on a volume."""
    storage = {"filesystem": {"rootdirectory": str(volume)}}
    # Without a time to live each request for a tag asks upstream, if it is there.
    proxy = {"remoteurl": upstream, "tagttl": "0s"}
    document: Mapping[str, object] = {"storage": storage, "proxy": proxy}
    with start_roadstead(document) as mirror:
        yield mirror


def get(base_url: str, path: str, repository: str = REPOSITORY) -> Answer:
    """Ask for something of a repository; it must be there."""
    answer = request("GET", f"{base_url}/v2/{repository}/{path}")
    assert answer.status == 200, (path, answer)
    return answer


def assert_all_is_served(base_url: str) -> None:
    """Check manifests by tag and digest, blobs, catalog and tags, with every byte."""
    for name, (media_type, content) in MANIFESTS.items():
        for reference in (DIGESTS[name], *([name] if name in TAGS else [])):
            manifest = get(base_url, f"manifests/{reference}")
            assert manifest.body == content
            assert manifest.headers["Content-Type"] == media_type
            assert manifest.headers["Docker-Content-Digest"] == DIGESTS[name]
    for name, content in BLOBS.items():
        assert get(base_url, f"blobs/{DIGESTS[name]}").body == content
    assert get(base_url, f"blobs/{DIGESTS['layer']}", OTHER).body == BLOBS["layer"]
    absent = request("GET", f"{base_url}/v2/{OTHER}/blobs/{DIGESTS['small']}")
    assert absent.status != 200, "another repository's content"
    tags = json.loads(get(base_url, "tags/list").body)["tags"]
    assert sorted(tags) == sorted(TAGS), "the tags that are held"
    catalog = request("GET", f"{base_url}/v2/_catalog")
    assert json.loads(catalog.body) == {"repositories": [REPOSITORY, OTHER]}


def test_a_volume_of_the_stock_mirror_is_served_at_once(tmp_path: Path) -> None:
    """What registry 2.8.2 pulled as a mirror is here, with neither it nor upstream running."""
    volume = tmp_path / "volume"
    with start_origin(tmp_path / "origin") as (url, stop):
        with start_docker_registry(volume, proxy_remoteurl=url) as stock:
            pull_everything(stock)
        before = files_below(volume)
        stop()

        with start_mirror(volume, url) as mirror:
            assert_all_is_served(mirror.url)
            assert "stale" in get(mirror.url, "manifests/oci").headers["Warning"]

    # Only our own directory was added, so the volume can go back as it is.
    after = files_below(volume)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("roadstead/") for name in after.keys() - before.keys())


def test_a_volume_of_ours_is_served_by_the_stock_mirror(tmp_path: Path) -> None:
    """In proxy mode, with upstream gone after the start that 2.8.2 needs it for."""
    volume = tmp_path / "volume"
    with start_origin(tmp_path / "origin") as (url, stop):
        with start_mirror(volume, url) as mirror:
            pull_everything(mirror.url)
        with start_docker_registry(volume, proxy_remoteurl=url) as stock:
            stop()
            assert_all_is_served(stock)


def test_a_volume_of_ours_is_served_by_a_plain_registry(tmp_path: Path) -> None:
    """Without proxy mode the volume is that of an ordinary registry."""
    volume = tmp_path / "volume"
    with start_origin(tmp_path / "origin") as (url, stop):
        with start_mirror(volume, url) as mirror:
            pull_everything(mirror.url)
        stop()
    with start_docker_registry(volume) as stock:
        assert_all_is_served(stock)


def test_a_volume_goes_there_and_back(tmp_path: Path) -> None:
    """Each adds to what the other began: blobs of an image whose manifest the other has."""
    volume = tmp_path / "volume"
    with start_origin(tmp_path / "origin") as (url, stop):
        with start_docker_registry(volume, proxy_remoteurl=url) as stock:
            get(stock, "manifests/oci")
        with start_mirror(volume, url) as mirror:
            get(mirror.url, f"blobs/{DIGESTS['config']}")
            get(mirror.url, "manifests/docker")
        with start_docker_registry(volume, proxy_remoteurl=url) as stock:
            pull_everything(stock)
        stop()
        with start_mirror(volume, url) as mirror:
            assert_all_is_served(mirror.url)
