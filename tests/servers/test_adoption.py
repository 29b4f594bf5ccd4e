"""A volume of registry 2 or 3 that was damaged in every known way: what is whole is served."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from roadstead.cli.main import app
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.storage.layout import Layout
from tests.servers.comparison import pull_everything
from tests.servers.samples import BLOBS, DIGESTS, MANIFESTS, OTHER, REPOSITORY, TAGS, fill
from tests.support.dockerregistry import BINARY, BINARY_3, request, start_docker_registry
from tests.support.roadstead_process import start_roadstead
from tests.support.volumes import put

pytestmark = pytest.mark.servers

APP = RepositoryName(REPOSITORY)
NOWHERE = "http://127.0.0.1:9"


def digest(name: str) -> Digest:
    """Return the digest of a sample."""
    return Digest.parse(DIGESTS[name])


@dataclass(frozen=True)
class Damage:
    """What is done to a volume, what can no longer be served, and what ``verify`` must name.

    ``lost`` are samples, ``lost_tags`` tags; ``found`` are the kinds and names that are told.
    """

    do: Callable[[Layout], object]
    lost: frozenset[str] = frozenset()
    lost_tags: frozenset[str] = frozenset()
    found: frozenset[tuple[str, str]] = field(default_factory=frozenset)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def _turn(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def _leave_everywhere(layout: Layout) -> None:
    """Leave what distribution 3.1 and crashes of it leave."""
    for path in (
        layout.blob(digest("layer")),
        layout.revision_link(APP, digest("oci")),
        layout.layer_link(APP, digest("layer")),
        layout.tag_current_link(APP, Tag("oci")),
    ):
        put(path.with_name(f"{path.name}.0c1f.tmp"), b"sha256:half")
    put(layout.root / "scheduler-state.json.0c1f.tmp", b"{")


def _foreign(layout: Layout) -> None:
    """Leave what people and file systems leave."""
    for folder in (layout.root, layout.repositories, layout.blobs, layout.blobs / "sha256"):
        (folder / "lost+found").mkdir()
        put(folder / "README.txt", b"do not delete")
        put(folder / ".DS_Store", b"\0")
    put(layout.blobs / "sha256/zz/nothing/data", b"x")
    put(layout.blobs / "md5/ab/abcd/data", b"x")
    put(layout.tags(APP) / "not a tag!/current/link", b"x")
    put(layout.repositories / "UPPER/_manifests/tags/x/current/link", b"x")


def _link_elsewhere(layout: Layout) -> None:
    elsewhere = layout.root.with_name("elsewhere")
    layout.root.rename(elsewhere)
    layout.root.symlink_to(elsewhere)


DAMAGES: Mapping[str, Damage] = {
    "nothing": Damage(lambda _layout: None),
    "an empty tag link": Damage(
        lambda layout: layout.tag_current_link(APP, Tag("oci")).write_bytes(b""),
        lost_tags=frozenset({"oci"}),
        found=frozenset({("link damaged", "oci")}),
    ),
    "a tag without a current link": Damage(
        lambda layout: layout.tag_current_link(APP, Tag("oci")).unlink(),
        lost_tags=frozenset({"oci"}),
        found=frozenset({("link damaged", "oci")}),
    ),
    "a dangling tag": Damage(
        lambda layout: put(
            layout.tag_current_link(APP, Tag("oci")), str(digest("absent")).encode()
        ),
        lost_tags=frozenset({"oci"}),
        found=frozenset({("manifest missing", "oci")}),
    ),
    "an empty revision link": Damage(
        lambda layout: layout.revision_link(APP, digest("docker")).write_bytes(b""),
        lost=frozenset({"docker"}),
        lost_tags=frozenset({"docker"}),
        found=frozenset({("link damaged", DIGESTS["docker"]), ("manifest missing", "docker")}),
    ),
    "a revision link without data": Damage(
        lambda layout: shutil.rmtree(layout.blob(digest("docker")).parent),
        lost=frozenset({"docker"}),
        lost_tags=frozenset({"docker"}),
        found=frozenset({("data missing", DIGESTS["docker"]), ("manifest missing", "docker")}),
    ),
    "an empty layer link": Damage(
        lambda layout: layout.layer_link(APP, digest("small")).write_bytes(b""),
        lost=frozenset({"small"}),
        found=frozenset({("link damaged", DIGESTS["small"])}),
    ),
    "a cut layer link": Damage(
        lambda layout: _cut(layout.layer_link(APP, digest("small"))),
        lost=frozenset({"small"}),
        found=frozenset({("link damaged", DIGESTS["small"])}),
    ),
    "empty data": Damage(
        lambda layout: layout.blob(digest("small")).write_bytes(b""),
        lost=frozenset({"small"}),
        found=frozenset({("empty", DIGESTS["small"]), ("data missing", DIGESTS["small"])}),
    ),
    "cut data": Damage(
        lambda layout: _cut(layout.blob(digest("small"))),
        lost=frozenset({"small"}),
        found=frozenset({("content", DIGESTS["small"]), ("data missing", DIGESTS["small"])}),
    ),
    "a turned bit": Damage(
        lambda layout: _turn(layout.blob(digest("ranged"))),
        lost=frozenset({"ranged"}),
        found=frozenset({("content", DIGESTS["ranged"]), ("data missing", DIGESTS["ranged"])}),
    ),
    "a damaged manifest": Damage(
        lambda layout: _turn(layout.blob(digest("docker"))),
        lost=frozenset({"docker"}),
        lost_tags=frozenset({"docker"}),
        found=frozenset(
            {
                ("content", DIGESTS["docker"]),
                ("data missing", DIGESTS["docker"]),
                ("manifest missing", "docker"),
            }
        ),
    ),
    "temporary files": Damage(_leave_everywhere),
    "uploads": Damage(
        lambda layout: [
            put(layout.repository(APP) / "_uploads/0c1f/data", b"half"),
            put(layout.repository(APP) / "_uploads/0c1f/startedat", b""),
        ]
    ),
    "an empty schedule": Damage(lambda layout: put(layout.root / "scheduler-state.json", b"")),
    "a torn schedule": Damage(lambda layout: put(layout.root / "scheduler-state.json", b'{"a":')),
    "foreign files": Damage(_foreign),
    "a symlinked root": Damage(_link_elsewhere),
}


@pytest.fixture(scope="module")
def of_version_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a volume that a mirror of 2.8.2 has filled."""
    return _filled_by(BINARY, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def of_version_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a volume that a mirror of 3.1 has filled."""
    return _filled_by(BINARY_3, tmp_path_factory.mktemp("three"))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_what_is_whole_is_served_and_what_is_not_is_named(
    of_version_2: Path, tmp_path: Path, damage: Damage
) -> None:
    """Every other byte, with upstream away; a request for what is lost is an error."""
    _check(shutil.copytree(of_version_2, tmp_path / "volume"), damage)


@pytest.mark.parametrize("name", ["nothing", "temporary files", "a revision link without data"])
def test_volumes_of_version_3_are_the_same(of_version_3: Path, tmp_path: Path, name: str) -> None:
    """Its layout is that of 2.8.2; it leaves other temporary files."""
    _check(shutil.copytree(of_version_3, tmp_path / "volume"), DAMAGES[name])


def _filled_by(binary: str, folder: Path) -> Path:
    with (
        start_docker_registry(folder / "origin", binary=binary) as origin,
        start_docker_registry(folder / "volume", binary=binary, proxy_remoteurl=origin) as mirror,
    ):
        fill(origin)
        pull_everything(mirror)
    return folder / "volume"


def _check(volume: Path, damage: Damage) -> None:
    damage.do(Layout(volume))

    named = _verify(volume)
    with start_roadstead(_configuration(volume)) as mirror:
        _assert_served(mirror.url, damage)
        log = mirror.log

    assert named == set(damage.found)
    assert "Traceback" not in log


def _configuration(volume: Path) -> Mapping[str, object]:
    return {
        "storage": {"filesystem": {"rootdirectory": str(volume)}},
        "proxy": {"remoteurl": NOWHERE},
        "mirror": {"offline": True},
    }


def _verify(volume: Path) -> set[tuple[str, str]]:
    """Verify a volume; return what was named, and check the status."""
    file = volume.with_name("config.yml")
    file.write_text(json.dumps({"version": 0.1, **_configuration(volume)}))
    done = CliRunner().invoke(app, ["verify", str(file), "--json"])
    assert done.stdout, done.output
    document: dict[str, Any] = json.loads(done.stdout)
    named = {(one["damage"], one["digest"]) for one in document["damaged"]}
    named |= {(one["breach"], one["name"]) for one in document["broken_links"]}
    assert done.exit_code == (1 if named else 0)
    return named


def _assert_served(url: str, damage: Damage) -> None:
    base = f"{url}/v2/{REPOSITORY}"
    for name, (media_type, content) in MANIFESTS.items():
        references = [(DIGESTS[name], name in damage.lost)]
        if name in TAGS:
            references.append((name, name in damage.lost_tags))
        for reference, is_lost in references:
            answer = request("GET", f"{base}/manifests/{reference}")
            if is_lost:
                assert answer.status in (404, 502, 503, 504), (reference, answer)
            else:
                assert (answer.status, answer.body) == (200, content), reference
                assert answer.headers["Content-Type"] == media_type
    for name, content in BLOBS.items():
        answer = request("GET", f"{base}/blobs/{DIGESTS[name]}")
        if name in damage.lost:
            assert answer.status in (404, 502, 503, 504), (name, answer)
        else:
            assert (answer.status, answer.body) == (200, content), name
    shared = request("GET", f"{url}/v2/{OTHER}/blobs/{DIGESTS['layer']}")
    assert (shared.status, shared.body) == (200, BLOBS["layer"])
    catalog = json.loads(request("GET", f"{url}/v2/_catalog").body)
    assert catalog == {"repositories": [REPOSITORY, OTHER]}
