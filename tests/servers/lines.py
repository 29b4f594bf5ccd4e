"""Registries and mirrors in a row, and the check that everything comes out at the end."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.servers.samples import BLOBS, DIGESTS, MANIFESTS, OTHER, REPOSITORY, TAGS, fill
from tests.support.dockerregistry import Answer, request, start_docker_registry
from tests.support.roadstead_process import RoadsteadProcess, start_roadstead


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
