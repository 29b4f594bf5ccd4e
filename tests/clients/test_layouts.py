"""Images travel in layouts: from a mirror, through other programs, to a mirror without network."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.clients.conftest import Line
from tests.clients.containerd import containerd
from tests.clients.containers import StorageTool, podman, skopeo
from tests.clients.drivers import NAME, Starts
from tests.support import sandbox
from tests.support.images import Image, write_image
from tests.support.roadstead_process import installed, start_roadstead

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

FULL_NAME = f"{NAME}:1.0"


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """Give an image of two platforms, as another program's layout."""
    return write_image(tmp_path / "layout", tag="1.0")


@pytest.fixture
def volume(tmp_path: Path, image: Image) -> Path:
    """Give a store that has imported the image."""
    roadstead(tmp_path / "volume", "import", str(image.layout), "--as", FULL_NAME)
    return tmp_path / "volume"


def configuration(volume: Path) -> Mapping[str, object]:
    """Configure a mirror that asks nobody."""
    return {
        "storage": {"filesystem": {"rootdirectory": str(volume)}},
        "mirror": {"offline": True},
    }


def roadstead(volume: Path, *arguments: str) -> str:
    """Run a command on a volume, as users do."""
    file = volume.with_name("config.yml")
    file.write_text(json.dumps({"version": 0.1, **configuration(volume)}))
    done = subprocess.run(
        [installed("roadstead"), *arguments, "--config", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def blobs_below(layout: Path) -> set[str]:
    """Return the digests of a layout's blobs."""
    return {path.name for path in (layout / "blobs/sha256").iterdir()}


@pytest.mark.parametrize("start", [containerd, podman, skopeo])
def test_a_machine_without_network_gets_what_another_has_pulled(
    line: Line, tmp_path: Path, make_home: Callable[[], Path], start: Starts
) -> None:
    """Pulled by skopeo here, exported beside the running mirror, imported and pulled there."""
    image, mirror = line.image, line.mirror
    with skopeo(mirror.host, make_home()) as client:
        client.pull(image.tag)
    out = tmp_path / "out.tar"
    roadstead(tmp_path / "data", "export", FULL_NAME, str(out))
    roadstead(tmp_path / "there", "import", str(out))

    with (
        start_roadstead(configuration(tmp_path / "there")) as offline,
        start(offline.host, make_home()) as client,
    ):
        assert client.pull(image.tag) == client.expected(image)


def test_a_running_mirror_serves_what_is_imported_beside_it(
    image: Image, tmp_path: Path, make_home: Callable[[], Path]
) -> None:
    """No restart is needed."""
    with start_roadstead(configuration(tmp_path / "volume")) as offline:
        roadstead(tmp_path / "volume", "import", str(image.layout), "--as", FULL_NAME)
        with skopeo(offline.host, make_home()) as client:
            assert client.pull("1.0") == client.expected(image)


@pytest.mark.parametrize("transport", ["oci", "oci-archive"])
def test_skopeo_copies_from_a_layout(
    image: Image, volume: Path, tmp_path: Path, make_home: Callable[[], Path], transport: str
) -> None:
    """Every platform, byte for byte."""
    sandbox.require("skopeo")
    out = tmp_path / ("out.tar" if transport == "oci-archive" else "out")
    roadstead(volume, "export", FULL_NAME, str(out))

    source, target = f"{transport}:{out}:{FULL_NAME}", f"oci:{tmp_path}/copy:1.0"
    sandbox.run(*("skopeo", "--insecure-policy", "copy", "--all", source, target), home=make_home())

    assert blobs_below(tmp_path / "copy") == blobs_below(image.layout)


def test_skopeo_copies_one_platform_of_a_layout_that_has_no_other(
    image: Image, volume: Path, tmp_path: Path, make_home: Callable[[], Path]
) -> None:
    """An index without some of its children is enough for those that are there."""
    sandbox.require("skopeo")
    roadstead(volume, "export", FULL_NAME, str(tmp_path / "out"), "--platform", "linux/arm64")

    source, target = f"oci:{tmp_path}/out:{FULL_NAME}", f"oci:{tmp_path}/copy:1.0"
    sandbox.run(
        *("skopeo", "--insecure-policy", "--override-arch", "arm64"),
        *("copy", source, target),
        home=make_home(),
    )

    (entry,) = json.loads((tmp_path / "copy/index.json").read_text())["manifests"]
    assert entry["digest"] == str(image.platforms["arm64"].manifest)


def test_umoci_unpacks_an_image_of_a_layout(
    image: Image, volume: Path, tmp_path: Path, make_home: Callable[[], Path]
) -> None:
    """Umoci wants one platform's image, which goes by its own digest."""
    sandbox.require("umoci")
    name = f"{NAME}@{image.native.manifest}"
    roadstead(volume, "export", name, str(tmp_path / "out"))
    home = make_home()

    listed = sandbox.run("umoci", "list", "--layout", tmp_path / "out", home=home)
    unpack = ("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/out:{name}")
    sandbox.run(*unpack, tmp_path / "bundle", home=home)

    assert listed.split() == [name]
    assert (tmp_path / "bundle/rootfs/etc/os-release").exists()


def test_podman_pulls_from_a_layout(
    image: Image, volume: Path, tmp_path: Path, make_home: Callable[[], Path]
) -> None:
    """What it then has is the image of this machine's platform."""
    sandbox.require("podman")
    roadstead(volume, "export", FULL_NAME, str(tmp_path / "out"))
    home = make_home()

    with podman("127.0.0.1:9", home) as client:
        assert isinstance(client, StorageTool)
        pulled = sandbox.run(
            *(*client.command, "pull", "--quiet"),
            f"oci:{tmp_path}/out:{FULL_NAME}",
            home=home,
        )

    assert pulled.split()[-1].removeprefix("sha256:") == image.native.config.encoded


def test_layouts_of_skopeo_come_in(
    image: Image, tmp_path: Path, make_home: Callable[[], Path]
) -> None:
    """Directories and archives, under the name that the user gives."""
    sandbox.require("skopeo")
    source = f"oci:{image.layout}:1.0"
    for target in (f"oci:{tmp_path}/copied:x", f"oci-archive:{tmp_path}/copied.tar:x"):
        sandbox.run(
            *("skopeo", "--insecure-policy", "copy", "--all", source, target), home=make_home()
        )

    for number, name in enumerate(("copied", "copied.tar")):
        here = tmp_path / f"volume{number}"
        roadstead(here, "import", str(tmp_path / name), "--as", FULL_NAME)
        out = tmp_path / f"out{number}"
        roadstead(here, "export", FULL_NAME, str(out))
        assert blobs_below(out) == blobs_below(image.layout)
        shutil.rmtree(out)
