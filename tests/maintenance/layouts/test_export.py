"""Out of the store: what is in a layout, and what is not."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from roadstead.errors import DigestMismatchError, ImageLayoutError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Tag
from roadstead.simulator.content import BytesContent, build_image, build_index, descriptor_document
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from tests.maintenance.layouts.volumes import APP, GHCR_APP, export, hold, hold_manifest
from tests.support.volumes import files_below

AMD64 = build_image([BytesContent(b"amd64 layer")], platform="linux/amd64")
ARM64 = build_image([BytesContent(b"arm64 layer")], platform="linux/arm64")
INDEX = build_index([AMD64, ARM64])


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    """Give an empty store."""
    return FilesystemStore(tmp_path / "volume", boot_id="boot")


def index_of(layout: Path) -> list[dict[str, Any]]:
    """Return the entries of a directory's index."""
    entries: list[dict[str, Any]] = json.loads((layout / "index.json").read_text())["manifests"]
    return entries


def names_in(directory: Path) -> list[str]:
    """Return what is there."""
    return sorted(path.name for path in directory.iterdir())


async def test_a_layout_is_what_the_specification_says(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """Two documents and the blobs, under their digests, byte for byte; nothing else."""
    await hold(store, APP, INDEX, tag="1.0")

    await export(store, tmp_path / "out", "app:1.0")

    contents = [INDEX.content, AMD64.content, ARM64.content]
    contents += [blob.read() for image in (AMD64, ARM64) for blob in image.blobs]
    files = files_below(tmp_path / "out")
    assert json.loads(files.pop("oci-layout")) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(files.pop("index.json"))["manifests"]
    assert files == {f"blobs/sha256/{Digest.of(each).encoded}": each for each in contents}
    assert entry["digest"] == str(INDEX.manifest_digest)
    assert entry["size"] == len(INDEX.content)
    assert entry["mediaType"] == INDEX.media_type
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "docker.io/library/app:1.0"
    assert names_in(tmp_path) == ["out", "volume"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("app", "docker.io/library/app:latest"),
        ("docker.io/library/app:latest", "docker.io/library/app:latest"),
        ("ghcr.io/org/app", "ghcr.io/org/app:latest"),
        ("corp/team/app:2", "harbor.corp:8443/team/app:2"),
        ("harbor.corp:8443/team/app:2", "harbor.corp:8443/team/app:2"),
    ],
)
async def test_names_in_a_layout_mean_the_same_everywhere(
    store: FilesystemStore, tmp_path: Path, text: str, name: str
) -> None:
    """However the user writes it; what only this mirror's configuration calls so is spelled out."""
    for repository, tag in ((APP, "latest"), (GHCR_APP, "latest"), ("corp/team/app", "2")):
        await hold(store, repository, AMD64, tag=tag)  # type: ignore[arg-type] # a literal

    exported = await export(store, tmp_path / "out", text)

    assert [image.name for image in exported.images] == [name]


async def test_several_images_share_their_blobs(store: FilesystemStore, tmp_path: Path) -> None:
    """One layout with an entry for each; by digest too."""
    await hold(store, APP, INDEX, tag="latest")
    await hold(store, GHCR_APP, AMD64, tag="2")

    await export(
        store, tmp_path / "out", "app", "ghcr.io/org/app:2", f"app@{ARM64.manifest_digest}"
    )

    names = [
        entry["annotations"]["org.opencontainers.image.ref.name"]
        for entry in index_of(tmp_path / "out")
    ]
    assert names == [
        "docker.io/library/app:latest",
        "ghcr.io/org/app:2",
        f"docker.io/library/app@{ARM64.manifest_digest}",
    ]
    assert len(files_below(tmp_path / "out")) == 2 + 3 + 4


async def test_an_archive_holds_the_same(store: FilesystemStore, tmp_path: Path) -> None:
    """A name that ends in .tar makes an archive of the same files."""
    await hold(store, APP, INDEX, tag="latest")

    await export(store, tmp_path / "out", "app")
    await export(store, tmp_path / "out.tar", "app")

    with tarfile.open(tmp_path / "out.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert files_below(tmp_path / "unpacked") == files_below(tmp_path / "out")


async def test_hard_links_share_the_file(store: FilesystemStore, tmp_path: Path) -> None:
    """No byte is copied where the store and the layout are on one file system."""
    await hold(store, APP, AMD64, tag="latest")

    await export(store, tmp_path / "out", "app", hard_links=True)

    layer = AMD64.layers[0].digest
    data = Layout(tmp_path / "volume").blob(layer)
    assert (tmp_path / "out/blobs/sha256" / layer.encoded).samefile(data)


async def test_platforms_choose_children_and_leave_the_index_alone(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """The index is verbatim, and what was not asked for is not said to be missing."""
    await hold(store, APP, INDEX, tag="latest")

    exported = await export(store, tmp_path / "out", "app", platforms=["linux/arm64"])

    files = files_below(tmp_path / "out/blobs")
    assert set(exported.manifests) == {INDEX.manifest_digest, ARM64.manifest_digest}
    assert files[f"sha256/{INDEX.manifest_digest.encoded}"] == INDEX.content
    assert f"sha256/{AMD64.layers[0].digest.encoded}" not in files
    assert exported.images[0].left_out == ()


async def test_what_is_not_held_whole_is_left_out_and_named(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """A child leaves with all its blobs or not at all."""
    await hold(store, APP, AMD64)
    await hold_manifest(store, APP, INDEX, tag="latest")
    absent = await export(store, tmp_path / "one", "app")
    await hold_manifest(store, APP, ARM64)
    partly = await export(store, tmp_path / "two", "app")

    assert [str(one) for one in absent.images[0].left_out] == [
        "linux/arm64 is left out: its manifest is not held"
    ]
    assert [str(one) for one in partly.images[0].left_out] == [
        "linux/arm64 is left out: 2 of its 2 blobs are not held"
    ]
    for exported in (absent, partly):
        assert set(exported.manifests) == {INDEX.manifest_digest, AMD64.manifest_digest}


@pytest.mark.parametrize(
    ("names", "platforms", "reason"),
    [
        (["app:nowhere"], [], "docker.io/library/app:nowhere is not held"),
        ([f"app@{Digest.of(b'x')}"], [], "its manifest is not held"),
        (["app:bare"], [], "2 of its 2 blobs are not held"),
        (["app:empty"], [], "for no platform is everything held"),
        (["app:half"], ["linux/arm64"], "nothing for linux/arm64 is held whole"),
    ],
)
async def test_what_cannot_leave_is_refused_and_leaves_nothing(
    store: FilesystemStore, tmp_path: Path, names: list[str], platforms: list[str], reason: str
) -> None:
    """The reason is said; no layout is there afterwards, whole or not."""
    other = build_image([BytesContent(b"another")], platform="linux/s390x")
    await hold(store, APP, AMD64, tag="whole")
    await hold_manifest(store, APP, other, tag="bare")
    await hold_manifest(store, APP, build_index([other]), tag="empty")
    await hold_manifest(store, APP, INDEX, tag="half")

    with pytest.raises(ImageLayoutError, match=reason):
        await export(store, tmp_path / "out", "app:whole", *names, platforms=platforms)

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["out", "out.tar"])
@pytest.mark.parametrize("damage", ["turned", "cut"])
async def test_damage_is_found_before_it_travels(
    store: FilesystemStore, tmp_path: Path, target: str, damage: str
) -> None:
    """A blob that is not what its digest says ends the export, and no trace is left."""
    await hold(store, APP, AMD64, tag="latest")
    layer = AMD64.layers[0]
    content = layer.read()
    wrong = content[:-1] if damage == "cut" else content[:-1] + b"\x00"
    Layout(tmp_path / "volume").blob(layer.digest).write_bytes(wrong)

    with pytest.raises(DigestMismatchError, match=layer.digest.encoded):
        await export(store, tmp_path / target, "app")

    assert names_in(tmp_path) == ["volume"]


async def test_nothing_is_overwritten(store: FilesystemStore, tmp_path: Path) -> None:
    """An empty directory may be filled; anything else that is there stays as it is."""
    await hold(store, APP, AMD64, tag="latest")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"precious")
    (tmp_path / "out.tar").write_bytes(b"precious")

    await export(store, tmp_path / "empty", "app")
    for target in ("empty", "file", "out.tar"):
        with pytest.raises(ImageLayoutError, match="is there already"):
            await export(store, tmp_path / target, "app")

    assert (tmp_path / "file").read_bytes() == b"precious"
    assert (tmp_path / "out.tar").read_bytes() == b"precious"


async def test_signatures_travel_with_what_they_sign(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """Referrers by subject, cosign's tags, and no stranger."""
    await hold(store, APP, AMD64, tag="latest")
    subject = {"subject": descriptor_document(AMD64.descriptor)}
    signature = build_image([BytesContent(b"signed")], platform="a/b", fields=subject)
    cosign = build_image([BytesContent(b"cosigned")], platform="a/c")
    stranger = build_image([BytesContent(b"another")], platform="a/d")
    await hold(store, APP, signature)
    await hold(store, APP, cosign, tag=f"sha256-{AMD64.manifest_digest.encoded}.sig")
    await hold(store, APP, stranger, tag=Tag("other"))

    exported = await export(store, tmp_path / "out", "app")

    assert exported.images[0].companions == (
        f"docker.io/library/app@{signature.manifest_digest}",
        f"docker.io/library/app:sha256-{AMD64.manifest_digest.encoded}.sig",
    )
    assert stranger.manifest_digest not in exported.manifests


async def test_layers_that_live_elsewhere_may_be_missing(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """Windows' base layers come from their URLs, not from a registry."""
    foreign = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": str(Digest.of(b"elsewhere")),
        "size": 9,
        "urls": ["https://example.org/layer"],
    }
    image = build_image([], platform="windows/amd64", fields={"layers": [foreign]})
    await hold(store, APP, image, tag="latest")

    exported = await export(store, tmp_path / "out", "app")

    assert set(exported.blobs) == {image.config.digest}
