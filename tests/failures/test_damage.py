"""Held data that is damaged, missing or not a file: never served wrong, and healed by a request."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.oci.digest import Digest
from roadstead.oci.reference import Tag
from roadstead.simulator.client import PullingClient
from roadstead.simulator.content import GeneratedContent, SimulatedImage
from roadstead.storage.base import Damage
from roadstead.storage.layout import Layout
from roadstead.telemetry.events import DamageFound
from tests.failures.answers import get_blob
from tests.support.rig import APP, Rig, make_rig, serving

Harm = Callable[[Path], None]

# Larger than what is hashed at the first request.
LARGE = GeneratedContent(300_000)


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").write_bytes(b"odd")


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _turn(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 0xFF
    path.write_bytes(content)


HARMS: dict[str, Harm] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),  # type: ignore[dict-item] # its result is not used
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "grown": lambda path: os.truncate(path, path.stat().st_size + 1),
    "a directory": _directory,
    "a dangling link": _dangling,
    "a pipe": _pipe,
}
PARTS = ["large layer", "small layer", "config", "manifest"]


async def hold(rig: Rig) -> SimulatedImage:
    """Pull an image of a small and a large layer."""
    image = rig.upstream.add_image(APP, tag="latest", layers=[b"small", LARGE])
    await rig.hold(image)
    return image


def data_of(rig: Rig, image: SimulatedImage, part: str) -> Path:
    """Return the file of a part."""
    small, large = image.layers
    digest = {
        "large layer": large.digest,
        "small layer": small.digest,
        "config": image.config.digest,
        "manifest": image.manifest_digest,
    }[part]
    return Layout(rig.root).blob(digest)


def whole(rig: Rig, image: SimulatedImage) -> bool:
    """Say whether every byte of an image is on the disk, and right."""
    parts = {blob.digest: blob.read() for blob in image.blobs}
    parts[image.manifest_digest] = image.content
    layout = Layout(rig.root)
    return all(
        layout.blob(digest).is_file() and layout.blob(digest).read_bytes() == content
        for digest, content in parts.items()
    )


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
async def test_the_next_pull_heals_it(tmp_path: Path, harm: Harm, part: str) -> None:
    """Whatever has become of the file: the pull is whole, and the file is again as it was."""
    async with make_rig(tmp_path) as before:
        image = await hold(before)
        upstream = before.upstream
        harm(data_of(before, image, part))
        async with (
            make_rig(tmp_path, upstream=upstream) as rig,
            serving(rig),
            PullingClient(rig.url) as client,
        ):
            pull = await client.pull(APP, "latest")
            await rig.landed()

            assert (pull.failure, pull.digest) == ("", str(image.manifest_digest))
            assert whole(rig, image)
            upstream.requests.clear()
            assert (await client.pull(APP, "latest")).failure == ""
            assert upstream.requests == []


@pytest.mark.parametrize("part", ["large layer", "small layer", "config"])
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
async def test_damage_under_a_running_mirror_heals(
    tmp_path: Path, http: ClientSession, harm: Harm, part: str
) -> None:
    """What the process remembers of the blob is compared with what it finds, each time."""
    async with make_rig(tmp_path) as rig, serving(rig):
        image = await hold(rig)
        digest = Digest("sha256", data_of(rig, image, part).parent.name)
        assert (await get_blob(http, rig, digest)).is_whole
        harm(data_of(rig, image, part))

        answer = await get_blob(http, rig, digest)
        await rig.landed()

        assert (answer.status, answer.is_whole, Digest.of(answer.body)) == (200, True, digest)
        assert whole(rig, image)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS.keys())
async def test_without_upstream_it_is_an_honest_error_and_heals_later(
    tmp_path: Path, http: ClientSession, harm: Harm, part: str
) -> None:
    """No wrong byte, no clean end of half a blob; with upstream back it is as if nothing was."""
    async with make_rig(tmp_path) as before:
        image = await hold(before)
        upstream = before.upstream
        harm(data_of(before, image, part))
        await upstream.stop()
        async with (
            make_rig(tmp_path, upstream=upstream, clock=before.clock) as rig,
            serving(rig),
            PullingClient(rig.url) as client,
        ):
            failed = await client.pull(APP, "latest")
            digest = data_of(rig, image, part).parent.name
            if part != "manifest":
                answer = await get_blob(http, rig, Digest("sha256", digest))
                assert answer.status in (502, 503, 504)
                assert not answer.is_whole or Digest.of(answer.body).encoded != digest
            await rig.landed()
            await upstream.start()
            rig.clock.advance(60)
            healed = await client.pull(APP, "latest")
            await rig.landed()

            assert failed.failure
            assert (healed.failure, healed.digest) == ("", str(image.manifest_digest))
            assert whole(rig, image)


@pytest.mark.parametrize("part", ["small layer", "config"])
async def test_wrong_bytes_in_a_small_file_are_found_at_the_first_request(
    tmp_path: Path, part: str
) -> None:
    """Of the right length too: a process hashes it before it serves it."""
    async with make_rig(tmp_path) as before:
        image = await hold(before)
        _turn(data_of(before, image, part))
        async with (
            make_rig(tmp_path, upstream=before.upstream) as rig,
            serving(rig),
            PullingClient(rig.url) as client,
        ):
            pull = await client.pull(APP, "latest")
            await rig.landed()

            assert pull.failure == ""
            assert whole(rig, image)
            assert DamageFound(Damage.CONTENT) in rig.events
            (kept,) = rig.store.quarantined()
            assert kept.damage is Damage.CONTENT


async def test_a_manifest_that_tells_wrong_sizes_costs_one_look(tmp_path: Path) -> None:
    """The digest decides: the blob is hashed once, and not fetched each time."""
    async with make_rig(tmp_path) as before:
        layers = [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": str(before.upstream.add_blob(APP, LARGE).digest),
                "size": LARGE.size_bytes + 1,
            }
        ]
        image = before.upstream.add_image(APP, tag="latest", layers=[], fields={"layers": layers})
        digest = Digest.parse(str(layers[0]["digest"]))
        await before.mirror.manifest(APP, Tag("latest"))
        (await before.mirror.blob(APP, digest)).close()
        await before.landed()
        async with make_rig(tmp_path, upstream=before.upstream) as rig:
            await rig.mirror.manifest(APP, image.manifest_digest)
            rig.upstream.requests.clear()

            for _ in range(3):
                (await rig.mirror.blob(APP, digest)).close()

            assert rig.upstream.requests == []
            assert rig.store.quarantined() == []


@pytest.mark.parametrize("link", ["layer", "revision", "tag"])
@pytest.mark.parametrize("harm", [b"", b"sha256:beef", None], ids=["empty", "cut", "missing"])
async def test_damaged_links_heal(tmp_path: Path, link: str, harm: bytes | None) -> None:
    """The pull is whole, and the link is again as it was."""
    async with make_rig(tmp_path) as before:
        image = await hold(before)
        layout = Layout(tmp_path)
        path = {
            "layer": layout.layer_link(APP, image.layers[0].digest),
            "revision": layout.revision_link(APP, image.manifest_digest),
            "tag": layout.tag_current_link(APP, Tag("latest")),
        }[link]
        content = path.read_bytes()
        if harm is None:
            path.unlink()
        else:
            path.write_bytes(harm)
        async with (
            make_rig(tmp_path, upstream=before.upstream) as rig,
            serving(rig),
            PullingClient(rig.url) as client,
        ):
            pull = await client.pull(APP, "latest")
            await rig.landed()

            assert (pull.failure, pull.digest) == ("", str(image.manifest_digest))
            assert path.read_bytes() == content
