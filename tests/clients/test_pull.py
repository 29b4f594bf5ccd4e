"""Every client pulls through a cold mirror, and again from the mirror alone."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.clients.conftest import Line, stopwatch
from tests.clients.containerd import containerd
from tests.clients.containers import buildah, podman, skopeo
from tests.clients.docker import buildkit, classic_builder, dockerd
from tests.clients.drivers import REPOSITORY, Client, Starts
from tests.conftest import Figures

pytestmark = [pytest.mark.clients, pytest.mark.timeout(120)]

_CLIENTS: dict[str, Starts] = {
    "docker": dockerd,
    "docker build, BuildKit": buildkit,
    "docker build, classic": classic_builder,
    "containerd": containerd,
    "podman": podman,
    "buildah": buildah,
    "skopeo": skopeo,
}


@pytest.mark.parametrize("name", _CLIENTS)
def test_a_client_pulls_cold_and_again_without_the_upstream(
    name: str, line: Line, make_home: Callable[[], Path], figures: Figures
) -> None:
    """The same image arrives cold and with a dead upstream, which sent each blob once."""
    image, origin, mirror = line.image, line.origin, line.mirror
    with _CLIENTS[name](mirror.host, make_home()) as client:
        expected = client.expected(image)
        with stopwatch() as cold:
            assert client.pull(image.tag) == expected
        client.forget(image.tag)
        origin.stop()
        with stopwatch() as warm:
            assert client.pull(image.tag) == expected
        assert origin.blob_fetches() == dict.fromkeys(client.fetched_blobs(image), 1)
    figures.add(
        f"{name:24} cold {cold():5.2f} s, upstream stopped {warm():5.2f} s, "
        f"{len(origin.requests())} upstream requests"
    )


def test_all_clients_at_once_cost_the_upstream_one_fetch_of_each_blob(
    line: Line, make_home: Callable[[], Path], figures: Figures
) -> None:
    """Clients of every kind share the fetches, with credentials that only the mirror has."""
    image, origin, mirror = line.image, line.origin, line.mirror
    with ExitStack() as stack:
        clients = [
            stack.enter_context(start(mirror.host, make_home())) for start in _CLIENTS.values()
        ]
        expected = [client.expected(image) for client in clients]
        with stopwatch() as cold:
            assert _pull_together(clients, image.tag) == expected
        for client in clients:
            client.forget(image.tag)
        origin.stop()
        with stopwatch() as warm:
            assert _pull_together(clients, image.tag) == expected
    assert origin.blob_fetches() == dict.fromkeys(image.blobs, 1)
    asked = {(request.user, request.scopes) for request in origin.token_server.requests}
    assert asked == {("mirror", (f"repository:{REPOSITORY}:pull",))}
    figures.add(
        f"{'all at once':24} cold {cold():5.2f} s, upstream stopped {warm():5.2f} s, "
        f"{len(origin.requests())} upstream requests"
    )


def _pull_together(clients: list[Client], tag: str) -> list[object]:
    with ThreadPoolExecutor(len(clients)) as pool:
        return list(pool.map(lambda client: client.pull(tag), clients))
