"""What else docker does with a mirror, and what a person then reads."""

import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import TAGS, Library, Line
from tests.clients.docker import Docker, dockerd
from tests.clients.drivers import REPOSITORY
from tests.support.origin import start_origin
from tests.support.roadstead_process import start_roadstead

pytestmark = pytest.mark.clients


@pytest.fixture
def docker(line: Line, make_home: Callable[[], Path]) -> Iterator[Docker]:
    """Start dockerd behind the mirror."""
    with dockerd(line.mirror.host, make_home()) as docker:
        yield docker


def test_a_pull_by_digest_asks_upstream_nothing_twice(line: Line, docker: Docker) -> None:
    """A digest that was pulled once is answered with no upstream request at all."""
    reference = f"app@{line.image.index}"
    docker("pull", reference)
    asked = line.origin.requests()
    assert docker("image", "inspect", "--format", "{{.Id}}", reference).strip() == str(
        line.image.native.config
    )
    docker("image", "rm", reference)

    docker("pull", reference)

    assert line.origin.requests() == asked
    digests = docker("image", "inspect", "--format", "{{join .RepoDigests `;`}}", reference)
    assert digests.strip() == reference


def test_all_tags_are_pulled_by_the_mirrors_own_address(line: Line, docker: Docker) -> None:
    """``docker pull --all-tags`` finds every tag of the upstream through ``tags/list``."""
    name = f"{line.mirror.host}/{REPOSITORY}"

    docker("pull", "--all-tags", name)

    listed = docker("image", "ls", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", name)
    assert sorted(listed.split("\n")[:-1]) == [f"{tag} {line.image.native.config}" for tag in TAGS]
    assert line.origin.blob_fetches() == dict.fromkeys(line.image.native.blobs, 1)


def test_a_push_is_refused_with_the_reason(line: Line, docker: Docker) -> None:
    """``docker push`` ends with the mirror's message, not with a parse error."""
    name = f"{line.mirror.host}/{REPOSITORY}:mine"
    (docker.home / "empty").write_bytes(b"")
    docker("import", str(docker.home / "empty"), name)

    pushed = docker.attempt("push", name)

    assert pushed.returncode == 1
    assert "unsupported: " in pushed.stdout
    assert "read-only" in pushed.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [(f"{REPOSITORY}:no-such-tag", "manifest unknown"), ("no/such", "unknown")],
)
def test_what_is_not_there_is_said_to_be_unknown(
    name: str, message: str, line: Line, docker: Docker
) -> None:
    """Docker prints the registry's own words for a tag or a repository that is missing."""
    pulled = docker.attempt("pull", f"{line.mirror.host}/{name}")

    assert pulled.returncode == 1
    assert message in pulled.stdout


def test_docker_says_why_another_platforms_image_is_not_pulled(
    library: Library, tmp_path: Path, make_home: Callable[[], Path]
) -> None:
    """By the mirror's own name a person reads which platforms are fetched; others are pulled."""
    fetched, other = ("arm64", "amd64") if platform.machine() == "aarch64" else ("amd64", "arm64")
    with start_origin(library.volume) as origin:
        configuration = {
            "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
            "proxy": {**origin.proxy_settings(), "platforms": [f"linux/{fetched}"]},
        }
        with start_roadstead(configuration) as mirror, dockerd(mirror.host, make_home()) as docker:
            reference = f"{mirror.host}/{REPOSITORY}:{TAGS[0]}"
            refused = docker.attempt("pull", "--platform", f"linux/{other}", reference)
            held = docker.fetch(reference)

    assert refused.returncode != 0
    assert f"for linux/{fetched} only" in refused.stdout
    assert f"is for linux/{other}" in refused.stdout
    assert held == docker.expected(library.image)
