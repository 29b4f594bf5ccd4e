"""Volumes of registry 2.8.2, collected by Roadstead and by registry 2.8.2 itself."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from roadstead.cli.registry import run
from roadstead.oci.digest import Digest
from roadstead.oci.mediatype import OCI_INDEX, OCI_MANIFEST
from tests.maintenance.volume import descriptor
from tests.support.dockerregistry import (
    BINARY,
    image_manifest,
    push_blob,
    push_manifest,
    request,
    start_docker_registry,
)
from tests.support.volumes import files_below

pytestmark = pytest.mark.servers

APP, PINNED = "library/app", "library/pinned"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What is on the volume: manifests by what should become of them."""

    kept: dict[str, list[tuple[bytes, str]]]
    left: list[Digest]


def _image(url: str, repository: str, name: str, *references: str) -> bytes:
    config = json.dumps({"architecture": "amd64", "os": "linux", "name": name}).encode()
    layers = [f"layer of {name}".encode() * 99, b"base layer" * 500]
    for blob in (config, *layers):
        push_blob(url, repository, blob)
    manifest = image_manifest(config, *layers)
    for reference in references or (str(Digest.of(manifest)),):
        push_manifest(url, repository, reference, manifest)
    return manifest


@pytest.fixture
def volume(tmp_path: Path) -> tuple[Path, Pushed]:
    """Give an old volume with tagged images, an index, what tags have left, and pins."""
    root = tmp_path / "volume"
    with start_docker_registry(root) as url:
        old = _image(url, APP, "old", "latest")
        new = _image(url, APP, "new", "latest", "1.0")
        child = _image(url, APP, "child")
        index = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [
                    {
                        **descriptor(Digest.of(child)),
                        "mediaType": OCI_MANIFEST,
                        "size": len(child),
                        "platform": {"architecture": "amd64", "os": "linux"},
                    }
                ],
            }
        ).encode()
        push_manifest(url, APP, "multi", index, OCI_INDEX)
        pinned = _image(url, PINNED, "pinned")
        push_blob(url, APP, b"a layer that no manifest needs")
    for path in root.rglob("*"):
        os.utime(path, (1e9, 1e9))
    kept = {
        APP: [(new, "latest"), (new, "1.0"), (index, "multi"), (child, str(Digest.of(child)))],
        PINNED: [(pinned, str(Digest.of(pinned)))],
    }
    return root, Pushed(kept, [Digest.of(old)])


def _config(root: Path) -> str:
    path = root.with_name(f"{root.name}.yml")
    path.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}\n"
    )
    return str(path)


def _stock(root: Path, *flags: str) -> "subprocess.CompletedProcess[str]":
    binary = shutil.which(BINARY)
    if binary is None:
        pytest.skip(f"{BINARY} is not installed")
    command = [binary, "garbage-collect", _config(root), *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _is_whole(url: str, repository: str, content: bytes, reference: str) -> bool:
    """Say whether a registry gives a manifest and all that it points at."""
    base = f"{url}/v2/{repository}"
    answer = request("GET", f"{base}/manifests/{reference}")
    if (answer.status, answer.body) != (200, content):
        return False
    document = json.loads(content)
    for blob in (*document.get("layers", ()), *filter(None, [document.get("config")])):
        found = request("GET", f"{base}/blobs/{blob['digest']}")
        if found.status != 200 or str(Digest.of(found.body)) != blob["digest"]:
            return False
    return True


def test_the_stock_registry_serves_what_we_have_collected(volume: tuple[Path, Pushed]) -> None:
    """After -m every image that the rule keeps is served whole, and the rest is gone."""
    root, pushed = volume
    before = sum(map(len, files_below(root).values()))
    assert run("registry", ["garbage-collect", "-mq", _config(root)]) == 0
    assert sum(map(len, files_below(root).values())) < before
    with start_docker_registry(root) as url:
        for repository, manifests in pushed.kept.items():
            for content, reference in manifests:
                assert _is_whole(url, repository, content, reference), reference
        for digest in pushed.left:
            assert request("GET", f"{url}/v2/{APP}/manifests/{digest}").status == 404
        orphan = Digest.of(b"a layer that no manifest needs")
        assert request("GET", f"{url}/v2/{APP}/blobs/{orphan}").status == 404
        # A volume that was collected by us can be pushed to as before.
        again = _image(url, APP, "again", "again")
        assert _is_whole(url, APP, again, "again")


def test_without_the_flag_both_keep_the_same(volume: tuple[Path, Pushed]) -> None:
    """The same data is left by both collectors; ours removes loose layer links as well."""
    root, _ = volume
    theirs = shutil.copytree(root, root.with_name("theirs"))
    done = _stock(theirs)
    assert done.returncode == 0, done.stderr
    assert run("registry", ["garbage-collect", "-q", _config(root)]) == 0

    def data(volume: Path) -> set[str]:
        return {name for name in files_below(volume / "docker") if name.endswith("/data")}

    def links(volume: Path) -> set[str]:
        return {name for name in files_below(volume / "docker") if name.endswith("/link")}

    assert data(root) == data(theirs)
    loose = Digest.of(b"a layer that no manifest needs")
    assert {name.split("/")[-2] for name in links(theirs) - links(root)} == {loose.encoded}
    assert not links(root) - links(theirs)


def test_the_lines_are_the_stock_collectors(
    volume: tuple[Path, Pushed], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads its output finds the same lines in ours, but for their order.

    2.8.2 marks a blob again for each repository and calls the child of an index a blob; 3.x says
    each once, as we do.
    """
    root, _ = volume
    stock = _stock(root, "--dry-run").stdout.splitlines()
    assert run("registry", ["garbage-collect", "--dry-run", _config(root)]) == 0
    ours = capfd.readouterr().out.splitlines()
    assert all(": marking blob " in line for line in set(stock) - set(ours))
    more = {line.partition(" eligible")[0].rpartition(" ")[2] for line in set(ours) - set(stock)}
    assert more == {"link", "leftover"}
    assert next(line for line in ours if "blobs marked" in line) in stock


def test_the_stock_collector_removes_too_much(volume: tuple[Path, Pushed]) -> None:
    """Why ours differs: 2.8.2 aborts on a pinned image, and else destroys the index's child."""
    root, pushed = volume
    aborted = _stock(root, "-m")
    assert aborted.returncode == 1
    assert "failed to retrieve tags" in aborted.stderr
    shutil.rmtree(root / f"docker/registry/v2/repositories/{PINNED}")
    assert _stock(root, "-m").returncode == 0
    child, reference = pushed.kept[APP][3]
    with start_docker_registry(root) as url:
        assert not _is_whole(url, APP, child, reference)
