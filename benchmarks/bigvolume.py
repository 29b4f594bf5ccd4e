"""A very large volume in distribution's layout, made quickly: sparse data, links, tags."""

# ruff: noqa: PTH102, PTH103 - ten million Path objects take longer than the files they name

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

BLOB_BYTES = 1024 * 1024
"""Size that each sparse blob claims; no space is taken."""
TAGGED = "tagged/many"
"""The repository with many tags."""
_PER_TEAM = 100


def repository_name(number: int) -> str:
    """Return the name of a repository: a thousand teams with a hundred of them each."""
    return f"team{number // _PER_TEAM:04d}/app{number % _PER_TEAM:02d}"


def tag_name(number: int) -> str:
    """Return the name of a tag of the repository with many of them."""
    return f"v{number:05d}"


def make_volume(root: Path, *, repositories: int, blobs: int, tags: int) -> int:
    """Make so many repositories with one tagged image of ``blobs`` blobs; return data files.

    Half of them share one layer, as images of one base do. One repository more, ``TAGGED``, has
    one small image under ``tags`` tags.
    """
    base = f"{root}/docker/registry/v2"
    for prefix in range(256):
        os.makedirs(f"{base}/blobs/sha256/{prefix:02x}")
    shared = _data(base, hashlib.sha256(b"shared").hexdigest(), size=BLOB_BYTES)
    count = 1
    for number in range(repositories):
        own = blobs - number % 2
        digests = [hashlib.sha256(f"{number} {one}".encode()).hexdigest() for one in range(own)]
        for digest in digests:
            _data(base, digest, size=BLOB_BYTES)
        layers = digests if own == blobs else [*digests, shared]
        _image(base, repository_name(number), layers, ["latest"])
        count += own + 1
    _image(base, TAGGED, [shared], map(tag_name, range(tags)))
    return count + 1


def _image(base: str, repository: str, layers: list[str], tags: Iterable[str]) -> None:
    manifest = _manifest(layers)
    top = hashlib.sha256(manifest).hexdigest()
    _data(base, top, content=manifest)
    path = f"{base}/repositories/{repository}"
    os.makedirs(f"{path}/_layers/sha256")
    for digest in layers:
        _link(f"{path}/_layers/sha256/{digest}", digest)
    os.makedirs(f"{path}/_manifests/revisions/sha256")
    _link(f"{path}/_manifests/revisions/sha256/{top}", top)
    for tag in tags:
        os.makedirs(f"{path}/_manifests/tags/{tag}/index/sha256")
        _link(f"{path}/_manifests/tags/{tag}/current", top)
        _link(f"{path}/_manifests/tags/{tag}/index/sha256/{top}", top)


def _manifest(layers: list[str]) -> bytes:
    described = [
        {"mediaType": "application/octet-stream", "digest": f"sha256:{one}", "size": BLOB_BYTES}
        for one in layers
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": described[0],
        "layers": described[1:],
    }
    return json.dumps(document).encode()


def _data(base: str, digest: str, *, content: bytes = b"", size: int = 0) -> str:
    directory = f"{base}/blobs/sha256/{digest[:2]}/{digest}"
    os.mkdir(directory)
    descriptor = _create(f"{directory}/data")
    if content:
        os.write(descriptor, content)
    else:
        os.ftruncate(descriptor, size)
    os.close(descriptor)
    return digest


def _link(directory: str, digest: str) -> None:
    os.mkdir(directory)
    descriptor = _create(f"{directory}/link")
    os.write(descriptor, b"sha256:" + digest.encode())
    os.close(descriptor)


def _create(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
