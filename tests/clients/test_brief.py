"""The commands that users know from guides to registry:2, typed as they stand there."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import Library
from tests.clients.drivers import REPOSITORY
from tests.support import sandbox
from tests.support.images import Image
from tests.support.origin import start_origin
from tests.support.roadstead_process import RoadsteadProcess, free_port, start_roadstead

pytestmark = pytest.mark.clients

_EXAMPLE = Path(__file__).parents[2] / "examples/brief/config.yml"


class Shell:
    """A shell whose curl finds the guide's host names at the mirror of the test."""

    def __init__(self, home: Path, *, mirror_port: int, debug_port: int) -> None:
        addresses = {
            "localhost:5000": mirror_port,
            "mirror-host:5000": mirror_port,
            "localhost:5001": debug_port,
        }
        lines = [f'connect-to = "{name}:127.0.0.1:{port}"' for name, port in addresses.items()]
        (home / ".curlrc").write_text("\n".join(lines))
        self._home = home

    def __call__(self, command: str) -> str:
        """Run a command line; it must succeed."""
        done = subprocess.run(
            ["sh", "-c", command],
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "CURL_HOME": str(self._home)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
        return done.stdout


@pytest.fixture
def mirror(library: Library, tmp_path: Path) -> Iterator[tuple[RoadsteadProcess, Shell]]:
    """Start the guide's configuration, adapted by variables as users adapt it."""
    for program in ("curl", "python3"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    debug_port = free_port()
    with start_origin(library.volume) as origin:
        settings = origin.proxy_settings()
        environment = {
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(tmp_path / "data"),
            "REGISTRY_PROXY_REMOTEURL": origin.url,
            "REGISTRY_PROXY_USERNAME": str(settings["username"]),
            "REGISTRY_PROXY_PASSWORD": str(settings["password"]),
            "REGISTRY_PROXY_TRUSTEDREALMS": json.dumps(settings["trustedrealms"]),
            "REGISTRY_HTTP_DEBUG_ADDR": f"127.0.0.1:{debug_port}",
            "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "true",
        }
        with start_roadstead(_EXAMPLE, environment=environment) as process:
            shell = Shell(tmp_path, mirror_port=process.port, debug_port=debug_port)
            yield process, shell


def test_the_commands_of_the_guide_work(
    library: Library, mirror: tuple[RoadsteadProcess, Shell], tmp_path: Path
) -> None:
    """Each command prints what the guide says it prints, before and after a pull."""
    process, shell = mirror
    assert shell("curl http://localhost:5000/v2/") == "{}"
    assert json.loads(shell("curl http://localhost:5000/v2/_catalog")) == {"repositories": []}

    _pull(process, library.image, tmp_path)

    held = {"repositories": [REPOSITORY]}
    assert json.loads(shell("curl http://mirror-host:5000/v2/_catalog")) == held
    pretty = shell("curl -s http://localhost:5000/v2/_catalog | python3 -m json.tool")
    assert json.loads(pretty) == held
    tags = shell("curl -s http://localhost:5000/v2/library/app/tags/list | python3 -m json.tool")
    assert json.loads(tags) == {"name": REPOSITORY, "tags": ["1.0", "latest"]}
    assert shell('curl -f http://localhost:5000/v2/ || echo "Mirror is down"') == "{}"
    assert "X-Content-Type-Options: nosniff" in shell("curl -sI http://localhost:5000/v2/")


def test_the_metrics_of_the_guide_count(
    library: Library, mirror: tuple[RoadsteadProcess, Shell], tmp_path: Path
) -> None:
    """The three metrics that the guide tells to watch are there, and right."""
    process, shell = mirror
    for _ in range(2):
        _pull(process, library.image, tmp_path)

    metrics = shell("curl http://localhost:5001/metrics | grep registry_proxy")

    blobs = len(library.image.blobs)
    assert f'registry_proxy_misses_total{{type="blob"}} {blobs}.0\n' in metrics
    assert f'registry_proxy_hits_total{{type="blob"}} {blobs}.0\n' in metrics
    stored = sum(_size(library.image, str(digest.encoded)) for digest in library.image.blobs)
    uploads = shell(
        "curl http://localhost:5001/metrics | grep ^registry_storage_blob_upload_bytes_total"
    )
    assert float(uploads.split()[-1]) >= stored


def _pull(process: RoadsteadProcess, image: Image, home: Path) -> None:
    sandbox.run(
        *("skopeo", "copy", "--all", "--quiet", "--insecure-policy", "--src-tls-verify=false"),
        f"docker://{process.host}/{REPOSITORY}:{image.tag}",
        f"dir:{home}/copy",
        home=home,
    )


def _size(image: Image, encoded: str) -> int:
    return (image.layout / "blobs/sha256" / encoded).stat().st_size
