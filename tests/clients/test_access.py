"""Real clients against a mirror that asks who they are."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from tests.clients.conftest import Library
from tests.clients.containerd import containerd_with
from tests.clients.docker import dockerd
from tests.clients.drivers import NAME, REPOSITORY
from tests.support import sandbox
from tests.support.origin import start_origin
from tests.support.roadstead_process import RoadsteadProcess, start_roadstead
from tests.support.tokenserver import Account, start_token_server

pytestmark = [pytest.mark.clients, pytest.mark.timeout(180)]

KEY = "a-shared-key-of-the-test-0123456789"
ACCOUNTS = {"alice": Account("right", frozenset({"pull", "*"}))}


@contextmanager
def asking(
    library: Library, folder: Path, configuration: Mapping[str, object]
) -> Iterator[RoadsteadProcess]:
    """Start a mirror of the library with further sections."""
    with (
        start_origin(library.volume) as origin,
        start_roadstead(
            {
                "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                "proxy": origin.proxy_settings(),
                **configuration,
            }
        ) as mirror,
    ):
        yield mirror


@pytest.fixture(params=["htpasswd", "token"])
def mirror(
    request: pytest.FixtureRequest, library: Library, tmp_path: Path
) -> Iterator[RoadsteadProcess]:
    """Start a mirror that asks for alice's password, or for a token that it gets."""
    if request.param == "htpasswd":
        hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(5)).decode()
        (tmp_path / "htpasswd").write_text(f"alice:{hashed}\n")
        auth = {"htpasswd": {"realm": "mirror", "path": str(tmp_path / "htpasswd")}}
        with asking(library, tmp_path, {"auth": auth}) as started:
            yield started
        return
    with (
        start_token_server(tmp_path, ACCOUNTS) as server,
        asking(library, tmp_path, {"auth": server.registry_auth}) as started,
    ):
        yield started


def test_skopeo_with_a_password(
    mirror: RoadsteadProcess, make_home: Callable[[], Path], library: Library
) -> None:
    """The right one copies the image, a wrong one and none do not."""
    sandbox.require("skopeo")
    home = make_home()
    source = f"docker://{mirror.host}/{REPOSITORY}:{library.image.tag}"

    def copy(*options: str) -> int:
        return sandbox.attempt(
            *("skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"),
            *(*options, source, f"oci:{home}/copy"),
            home=home,
        ).returncode

    assert copy() != 0
    assert copy("--src-creds", "alice:wrong") != 0
    assert copy("--src-creds", "alice:right") == 0
    assert "right" not in mirror.log.replace("copyright", "")


def test_docker_logs_in_and_pulls(
    mirror: RoadsteadProcess, make_home: Callable[[], Path], library: Library
) -> None:
    """``docker login`` tells whether the password is right; the pull then works by name."""
    reference = f"{mirror.host}/{REPOSITORY}:{library.image.tag}"
    with dockerd("127.0.0.1:9", make_home()) as docker:
        assert docker.attempt("pull", reference).returncode != 0
        login = ("login", "--username", "alice", "--password")
        assert docker.attempt(*login, "wrong", mirror.host).returncode != 0
        docker(*login, "right", mirror.host)
        assert docker.fetch(reference) == str(library.image.native.config)


def test_containerd_shows_a_header(
    library: Library, tmp_path: Path, make_home: Callable[[], Path]
) -> None:
    """As hosts.toml says; without it the mirror gives nothing and asks for nothing."""
    headers = [{"name": "X-Mirror-Key", "secret": KEY, "identity": "kubernetes"}]
    rules = [
        {"allow": "header:kubernetes"},
        # For the test's own question whether the mirror is up.
        {"allow": "everybody", "repositories": "nothing"},
    ]
    with asking(library, tmp_path, {"access": {"headers": headers, "rules": rules}}) as mirror:
        host = f'[host."http://{mirror.host}"]\n  capabilities = ["pull", "resolve"]\n'
        shown = f'  [host."http://{mirror.host}".header]\n    X-Mirror-Key = ["{KEY}"]\n'
        with containerd_with({"docker.io": host + shown}, make_home()) as client:
            held = client.fetch(f"{NAME}:{library.image.tag}")
            assert held == client.expected(library.image)
        with (
            containerd_with({"docker.io": host}, make_home()) as client,
            pytest.raises(AssertionError),
        ):
            client.fetch(f"{NAME}:{library.image.tag}")
        assert KEY not in mirror.log
