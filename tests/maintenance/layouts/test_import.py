"""Into the store: what is taken, what is refused, and that nothing in a layout is believed."""

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from roadstead.errors import DigestMismatchError, ImageLayoutError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.simulator.content import (
    BytesContent,
    build_image,
    build_index,
    descriptor_document,
)
from roadstead.storage.base import HeldTag
from roadstead.storage.filesystem import FilesystemStore
from tests.maintenance.layouts.volumes import (
    APP,
    CONFIRMED_AT,
    GHCR_APP,
    contents_of,
    export,
    hold,
    take_in,
)
from tests.storage.blobs import hold_blob, read_blob
from tests.support.layouts import write_layout
from tests.support.volumes import files_below, put

IMAGE = build_image([BytesContent(b"a layer")], platform="linux/amd64")
INDEX = build_index([IMAGE, build_image([BytesContent(b"other")], platform="linux/arm64")])
REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"


@pytest.fixture
def source(tmp_path: Path) -> FilesystemStore:
    """Give the store to export from."""
    return FilesystemStore(tmp_path / "source", boot_id="boot")


@pytest.fixture
def store(tmp_path: Path) -> FilesystemStore:
    """Give the store to import into."""
    return FilesystemStore(tmp_path / "volume", boot_id="boot")


@pytest.mark.parametrize("target", ["out", "out.tar"])
async def test_what_left_arrives(
    source: FilesystemStore, store: FilesystemStore, tmp_path: Path, target: str
) -> None:
    """Every file of the volume, under the same names, with the time of the tag's confirmation."""
    await hold(source, APP, INDEX, tag="1.0")
    await hold(source, GHCR_APP, IMAGE, tag="latest")
    await export(source, tmp_path / target, "app:1.0", "ghcr.io/org/app")

    await take_in(store, tmp_path / target)

    assert contents_of(tmp_path / "volume") == contents_of(tmp_path / "source")
    assert await store.resolve_tag(APP, Tag("1.0")) == HeldTag(INDEX.manifest_digest, CONFIRMED_AT)


@pytest.mark.parametrize(
    ("annotations", "rename", "stored"),
    [
        ({REF_NAME: "ghcr.io/org/app:1"}, None, (GHCR_APP, "1")),
        ({REF_NAME: "1", FULL_NAME: "docker.io/library/app:1"}, None, (APP, "1")),
        ({REF_NAME: "1"}, "ghcr.io/org/app:2", (GHCR_APP, "2")),
        (None, "app", (APP, "latest")),
        ({REF_NAME: "harbor.corp:8443/team/x:1"}, None, ("corp/team/x", "1")),
    ],
)
async def test_names_come_from_the_layout_or_the_user(
    store: FilesystemStore,
    tmp_path: Path,
    annotations: dict[str, str] | None,
    rename: str | None,
    stored: tuple[RepositoryName, str],
) -> None:
    """A full name, wherever the writer put it; else --as; the time is that of the layout."""
    layout = write_layout(tmp_path / "in", IMAGE, annotations)
    os.utime(layout, (5000.0, 5000.0))

    await take_in(store, layout, rename=rename)

    repository, tag = stored
    held = await store.resolve_tag(repository, Tag(tag))
    assert held == HeldTag(IMAGE.manifest_digest, 5000.0)


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        (None, "has no name in the layout; give it one with --as"),
        ({REF_NAME: "1.0"}, "'1.0' does not say which registry it is of; say what it is with --as"),
        ({REF_NAME: "app:1.0"}, "does not say which registry"),
        ({REF_NAME: "evil.example/app:1"}, "no upstream for evil.example"),
        ({REF_NAME: "harbor.corp:8443/secret/app:1"}, "does not serve secret/app"),
        ({REF_NAME: "ghcr.io/../../etc:1"}, "invalid repository"),
        ({REF_NAME: f"ghcr.io/org/app@{Digest.of(b'x')}"}, "is called so in the layout, but is"),
    ],
)
async def test_names_that_mean_nothing_here_are_refused(
    store: FilesystemStore, tmp_path: Path, annotations: dict[str, str] | None, reason: str
) -> None:
    """The text says what is wrong, and nothing was written."""
    layout = write_layout(tmp_path / "in", IMAGE, annotations)

    with pytest.raises(ImageLayoutError, match=reason):
        await take_in(store, layout)

    assert not (tmp_path / "volume").exists()


async def test_every_problem_is_told_at_once(
    source: FilesystemStore, store: FilesystemStore, tmp_path: Path
) -> None:
    """A layout with one bad image is not imported in part."""
    await hold(source, APP, IMAGE, tag="latest")
    await hold(source, GHCR_APP, IMAGE, tag="latest")
    await export(source, tmp_path / "in", "app", "ghcr.io/org/app")
    index = tmp_path / "in/index.json"
    index.write_text(index.read_text().replace("docker.io/", "one.example/"))
    index.write_text(index.read_text().replace("ghcr.io/", "two.example/"))

    with pytest.raises(ImageLayoutError, match=r"one\.example(.|\n)*two\.example"):
        await take_in(store, tmp_path / "in")


async def test_one_name_is_for_one_image(
    source: FilesystemStore, store: FilesystemStore, tmp_path: Path
) -> None:
    """With --as a layout of several images would lose all but the last."""
    await hold(source, APP, IMAGE, tag="1")
    await hold(source, APP, IMAGE, tag="2")
    await export(source, tmp_path / "in", "app:1", "app:2")

    with pytest.raises(ImageLayoutError, match="has 2 images"):
        await take_in(store, tmp_path / "in", rename="app:3")


@pytest.mark.parametrize("wrong", [b"a laye?", b"a lay", b""])
async def test_a_damaged_blob_is_not_imported(
    store: FilesystemStore, tmp_path: Path, wrong: bytes
) -> None:
    """Neither it, nor the manifest that needs it, nor the tag, and nothing half done stays."""
    layout = write_layout(tmp_path / "in", IMAGE, {REF_NAME: "ghcr.io/org/app:1"})
    layer = IMAGE.layers[0].digest
    (layout / "blobs/sha256" / layer.encoded).write_bytes(wrong)

    with pytest.raises(DigestMismatchError, match=layer.encoded):
        await take_in(store, layout)

    assert store.open_blob(layer) is None
    assert await store.resolve_tag(GHCR_APP, Tag("1")) is None
    assert not await store.has_manifest(GHCR_APP, IMAGE.manifest_digest)
    assert not [name for name in files_below(tmp_path / "volume") if "partial" in name]


async def test_a_damaged_manifest_is_refused(store: FilesystemStore, tmp_path: Path) -> None:
    """Before anything is written."""
    layout = write_layout(tmp_path / "in", IMAGE, {REF_NAME: "ghcr.io/org/app:1"})
    (layout / "blobs/sha256" / IMAGE.manifest_digest.encoded).write_bytes(b"{}")

    with pytest.raises(ImageLayoutError, match=IMAGE.manifest_digest.encoded):
        await take_in(store, layout)

    assert not (tmp_path / "volume").exists()


async def test_a_missing_blob_may_be_in_the_store(store: FilesystemStore, tmp_path: Path) -> None:
    """What the layout lacks comes from the store (image-spec, "external blob store"), or not."""
    layout = write_layout(tmp_path / "in", IMAGE, {REF_NAME: "ghcr.io/org/app:1"})
    layer = IMAGE.layers[0]
    (layout / "blobs/sha256" / layer.digest.encoded).unlink()
    with pytest.raises(ImageLayoutError, match=f"its blob {layer.digest} is not in the layout"):
        await take_in(store, layout)

    hold_blob(store, layer.read(), APP)
    await take_in(store, layout)

    assert await store.stat_blob(GHCR_APP, layer.digest) == len(layer.read())


async def test_children_may_be_missing(
    source: FilesystemStore, store: FilesystemStore, tmp_path: Path
) -> None:
    """The index comes verbatim, and how many of its manifests are not there is counted."""
    await hold(source, APP, INDEX, tag="latest")
    await export(source, tmp_path / "in", "app", platforms=["linux/amd64"])

    (planned,) = await take_in(store, tmp_path / "in")

    assert planned.missing == 1
    assert await store.read_manifest(APP, INDEX.manifest_digest) == INDEX.content
    assert await store.read_manifest(APP, IMAGE.manifest_digest) == IMAGE.content


async def test_an_import_can_be_repeated_and_heals(
    source: FilesystemStore, store: FilesystemStore, tmp_path: Path
) -> None:
    """What is held is linked and not copied; what was cut short is replaced."""
    await hold(source, APP, IMAGE, tag="latest")
    await export(source, tmp_path / "in", "app")
    await take_in(store, tmp_path / "in")
    before = contents_of(tmp_path / "volume")
    (data,) = (tmp_path / "volume").glob(f"**/{IMAGE.layers[0].digest.encoded}/data")
    data.write_bytes(b"cut")

    await take_in(store, tmp_path / "in")

    assert contents_of(tmp_path / "volume") == before


class _EvictingStore(FilesystemStore):
    """A store that evicts while an image is being imported: before one of its steps."""

    evicted: tuple[RepositoryName, Digest] | None = None
    """What goes just before the next manifest is written."""
    evicts_manifest = False
    """Whether the manifest goes too, just after it was written."""

    async def write_manifest(
        self, repository: RepositoryName, digest: Digest, content: bytes
    ) -> None:
        """Evict, and write."""
        if self.evicted is not None:
            with self.removing() as removal:
                removal.remove_layer_link(*self.evicted)
                removal.remove_data(self.evicted[1])
        await super().write_manifest(repository, digest, content)
        if self.evicts_manifest:
            with self.removing() as removal:
                removal.remove_manifest(repository, digest)


@pytest.mark.parametrize("was_held", [False, True])
async def test_what_goes_before_its_manifest_is_there_is_brought_again(
    tmp_path: Path, *, was_held: bool
) -> None:
    """Retention takes a layer that no manifest needs for longer than its grace."""
    layer = IMAGE.layers[0]
    store = _EvictingStore(tmp_path / "volume", boot_id="boot")
    if was_held:
        hold_blob(store, layer.read(), APP)
    store.evicted = (GHCR_APP, layer.digest)

    await take_in(store, write_layout(tmp_path / "in", IMAGE, {REF_NAME: "ghcr.io/org/app:1"}))

    assert await store.stat_blob(GHCR_APP, layer.digest) == len(layer.read())
    assert await store.resolve_tag(GHCR_APP, Tag("1")) is not None


@pytest.mark.parametrize("reference", [":1", f"@{IMAGE.manifest_digest}"])
async def test_an_image_that_goes_meanwhile_is_not_said_to_be_imported(
    tmp_path: Path, reference: str
) -> None:
    """By tag or by digest: somebody evicted it as soon as it was there."""
    store = _EvictingStore(tmp_path / "volume", boot_id="boot")
    store.evicts_manifest = True
    layout = write_layout(tmp_path / "in", IMAGE, {REF_NAME: f"ghcr.io/org/app{reference}"})

    with pytest.raises(ImageLayoutError, match="was evicted while it was imported"):
        await take_in(store, layout)

    assert await store.resolve_tag(GHCR_APP, Tag("1")) is None


async def test_other_processes_are_told(
    source: FilesystemStore, store: FilesystemStore, tmp_path: Path
) -> None:
    """A running mirror forgets where the tag pointed before."""
    await hold(source, APP, IMAGE, tag="latest")
    await export(source, tmp_path / "in", "app")
    running = FilesystemStore(tmp_path / "volume", boot_id="boot")
    running.others_have_removed()
    assert not running.others_have_removed()

    await take_in(store, tmp_path / "in")

    assert running.others_have_removed()


async def test_an_unfinished_download_is_no_part_of_it(
    store: FilesystemStore, tmp_path: Path
) -> None:
    """What a transfer has left behind of the same blob is dropped."""
    layer = IMAGE.layers[0]
    partial = store.partial_blob(layer.digest)
    partial.write(b"a la")
    partial.close()

    await take_in(store, write_layout(tmp_path / "in", IMAGE, None), rename="app")

    assert read_blob(store, layer.digest) == layer.read()


async def test_signatures_are_listed_at_their_subject(
    source: FilesystemStore, store: FilesystemStore, tmp_path: Path
) -> None:
    """The referrers of an imported image can be asked for without upstream, once each."""
    fields = {
        "subject": descriptor_document(IMAGE.descriptor),
        "artifactType": "application/vnd.example.signature",
        "annotations": {"by": "somebody"},
    }
    signature = build_image([BytesContent(b"signed")], platform="a/b", fields=fields)
    await hold(source, APP, IMAGE, tag="latest")
    await hold(source, APP, signature)
    await export(source, tmp_path / "in", "app")

    await take_in(store, tmp_path / "in")
    await take_in(store, tmp_path / "in")

    document = await store.read_referrers(APP, IMAGE.manifest_digest)
    assert document is not None
    assert json.loads(document) == [
        {
            **descriptor_document(signature.descriptor),
            "artifactType": "application/vnd.example.signature",
            "annotations": {"by": "somebody"},
        }
    ]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no file oci-layout"),
        ({"index.json": b"{}"}, "no file oci-layout"),
        ({"oci-layout": b"{}"}, "index.json is not JSON"),
        ({"oci-layout": b"{}", "index.json": b"[]"}, "lists no manifests"),
        ({"oci-layout": b"{}", "index.json": b'{"manifests": []}'}, "has no images"),
        ({"oci-layout": b"{}", "index.json": b'{"manifests": [{}]}'}, "no usable digest"),
        ({"oci-layout": b"{}", "index.json": b"[" * 100_000}, "not JSON"),
    ],
)
@pytest.mark.parametrize("kind", ["directory", "archive"])
async def test_what_is_no_layout_is_refused(
    store: FilesystemStore, tmp_path: Path, files: dict[str, bytes], reason: str, kind: str
) -> None:
    """In words, whatever it is."""
    layout = tmp_path / "in"
    layout.mkdir()
    for name, content in files.items():
        put(layout / name, content)
    if kind == "archive":
        with tarfile.open(tmp_path / "in.tar", "w") as tar:
            tar.add(layout, ".")
        layout = tmp_path / "in.tar"

    with pytest.raises(ImageLayoutError, match=reason):
        await take_in(store, layout)


async def test_a_file_that_is_no_archive_is_refused(store: FilesystemStore, tmp_path: Path) -> None:
    """Compressed archives among them: their blobs could not be found quickly."""
    with pytest.raises(ImageLayoutError, match="no tar archive; unpack what is compressed"):
        await take_in(store, put(tmp_path / "in.tar.gz", b"\x1f\x8b nonsense"))


async def test_an_archive_cannot_reach_out(store: FilesystemStore, tmp_path: Path) -> None:
    """Links and odd names in an archive lead nowhere."""
    layer = IMAGE.layers[0].digest
    layout = write_layout(tmp_path / "in", IMAGE, {REF_NAME: "ghcr.io/org/app:1"})
    put(tmp_path / "outside", IMAGE.layers[0].read())
    with tarfile.open(tmp_path / "in.tar", "w") as tar:
        for name in ("oci-layout", "index.json"):
            tar.add(layout / name, f"./{name}")
        for path in (layout / "blobs/sha256").iterdir():
            if path.name != layer.encoded:
                tar.add(path, f"./blobs/sha256/{path.name}")
        link = tarfile.TarInfo(f"./blobs/sha256/{layer.encoded}")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("../../escaped"), io.BytesIO())

    with pytest.raises(ImageLayoutError, match=f"its blob {layer} is not in the layout"):
        await take_in(store, tmp_path / "in.tar")
