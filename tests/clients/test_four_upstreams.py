"""One mirror, four registries, every client; then the registries end one by one."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.clients.buildkitd import buildkitd
from tests.clients.containerd import containerd_with
from tests.clients.containers import podman_at, write_registries
from tests.clients.docker import DockerBuild, dockerd
from tests.clients.drivers import Fetcher
from tests.clients.four import COLD_TAG, LIMIT, TAG, House, Upstream, start_house
from tests.conftest import Figures
from tests.support.dockerregistry import request
from tests.support.programs import find_program

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

NAMES = ("tokens.test", "basic.test", "third.test", "docker.io")

# One for all registries: containerd sends ?ns=.
_DEFAULT_HOSTS = """\
[host."http://{mirror}"]
  capabilities = ["pull", "resolve"]
"""
# What k3s's rewrite "^(.*)$": "NAME/$1" asks for, by a containerd without its patch.
_REWRITTEN_HOSTS = """\
server = "https://{name}"

[host."http://{mirror}/v2/{name}"]
  capabilities = ["pull", "resolve"]
  override_path = true
"""
_PATH_HOSTS = """\
server = "https://{name}"

[host."http://{mirror}/{name}"]
  capabilities = ["pull", "resolve"]
"""
_PODMAN = """\
[[registry]]
prefix = "{name}"
location = "{name}"

[[registry.mirror]]
location = "{mirror}/{name}"
insecure = true
"""
_BUILDKIT = """\
[registry."{name}"]
  mirrors = ["{mirror}"]
"""


def full_name(_mirror: str, upstream: Upstream) -> str:
    """Name an image by its registry, as whoever has configured the mirror for it does."""
    return f"{upstream.name}/{upstream.repository}:{TAG}"


def docker_name(mirror: str, upstream: Upstream) -> str:
    """Name an image as docker must: only Docker Hub has mirrors there."""
    if upstream.name == "docker.io":
        return f"{upstream.repository}:{TAG}"
    return f"{mirror}/{upstream.name}/{upstream.repository}:{TAG}"


@contextmanager
def docker_pull(mirror: str, home: Path) -> Iterator[Fetcher]:
    """Start dockerd."""
    with dockerd(mirror, home) as docker:
        yield docker


@contextmanager
def docker_build(mirror: str, home: Path) -> Iterator[Fetcher]:
    """Start dockerd with its BuildKit."""
    with dockerd(mirror, home) as docker:
        yield DockerBuild(docker, buildkit=True)


@contextmanager
def podman(mirror: str, home: Path) -> Iterator[Fetcher]:
    """Name the mirror for each registry in registries.conf."""
    write_registries("".join(_PODMAN.format(mirror=mirror, name=name) for name in NAMES), home)
    yield podman_at(home)


def containerd_default(mirror: str, home: Path) -> AbstractContextManager[Fetcher]:
    """Start containerd with one hosts.toml for all registries."""
    return containerd_with({"_default": _DEFAULT_HOSTS.format(mirror=mirror)}, home)


def containerd_rewritten(mirror: str, home: Path) -> AbstractContextManager[Fetcher]:
    """Start containerd with what k3s's rewrite comes to."""
    hosts = {name: _REWRITTEN_HOSTS.format(mirror=mirror, name=name) for name in NAMES}
    return containerd_with(hosts, home)


def containerd_path(mirror: str, home: Path) -> AbstractContextManager[Fetcher]:
    """Start containerd with hosts that have a path."""
    hosts = {name: _PATH_HOSTS.format(mirror=mirror, name=name) for name in NAMES}
    return containerd_with(hosts, home)


def buildkit(mirror: str, home: Path) -> AbstractContextManager[Fetcher]:
    """Start buildkitd with the mirror for each registry."""
    registries = "".join(_BUILDKIT.format(mirror=mirror, name=name) for name in NAMES)
    return buildkitd(f'{registries}[registry."{mirror}"]\n  http = true\n', home)


@dataclass(frozen=True, slots=True)
class Kind:
    """How a client is started, and how it names images."""

    start: Callable[[str, Path], AbstractContextManager[Fetcher]]
    name: Callable[[str, Upstream], str] = full_name


KINDS = {
    "docker": Kind(docker_pull, docker_name),
    "docker build, BuildKit": Kind(docker_build, docker_name),
    "containerd, _default": Kind(containerd_default),
    "containerd, k3s rewrite": Kind(containerd_rewritten),
    "containerd, path": Kind(containerd_path),
    "podman": Kind(podman),
    "buildkitd": Kind(buildkit),
}


@dataclass(frozen=True, slots=True)
class Puller:
    """A running client of the mirror."""

    client: Fetcher
    kind: Kind
    mirror: str

    def pull(self, upstream: Upstream) -> float:
        """Pull, check and remove an upstream's image; return the seconds of the pull."""
        reference = self.kind.name(self.mirror, upstream)
        begun = time.perf_counter()
        held = self.client.fetch(reference)
        seconds = time.perf_counter() - begun
        assert held == self.client.expected(upstream.image), reference
        self.client.drop(reference)
        return seconds


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Start the four and their mirror for the tests that harm nobody."""
    with start_house(tmp_path_factory.mktemp("four")) as house:
        yield house


@pytest.mark.parametrize("name", KINDS)
def test_a_client_pulls_from_all_four(
    name: str, shared_house: House, make_home: Callable[[], Path], figures: Figures
) -> None:
    """By the names of the registries, where the client can; the Hub counts two pulls in all."""
    kind, mirror = KINDS[name], shared_house.mirror.host
    with kind.start(mirror, make_home()) as client:
        puller = Puller(client, kind, mirror)
        seconds = {one.name: puller.pull(one) for one in shared_house.upstreams}
    assert shared_house.pulls_spent() <= 2
    told = ", ".join(f"{upstream} {taken:.2f} s" for upstream, taken in seconds.items())
    figures.add(f"{name:24} {told}")


def test_rewritten_requests_name_the_registry_twice(shared_house: House) -> None:
    """k3s sends the rewritten path and ?ns= of the original name; both say the same."""
    for one in shared_house.upstreams:
        path = f"/v2/{one.name}/{one.repository}/manifests/{TAG}?ns={one.name}"
        answer = request("GET", shared_house.mirror.url + path)
        assert answer.status == 200
        assert answer.headers["Docker-Content-Digest"] == str(one.image.index)
        assert answer.headers["X-Roadstead-Upstream"] in {one.name, _host(one)}


def test_registries_that_end_one_by_one_during_pulls_stop_no_client(
    tmp_path: Path, make_home: Callable[[], Path], figures: Figures
) -> None:
    """All that is held is pulled on and on; what is not is refused, of the ended one only."""
    with start_house(tmp_path) as house, ExitStack() as stack:
        pullers = [
            Puller(
                stack.enter_context(kind.start(house.mirror.host, make_home())),
                kind,
                house.mirror.host,
            )
            for name, kind in KINDS.items()
            if name != "buildkitd" or find_program("buildkitd")
        ]
        outage = _Outage(house, pullers)
        figures.add(outage.row("all are there", outage.pull_all()))
        for upstream in house.upstreams:
            figures.add(outage.end(upstream))
        assert house.pulls_spent() <= LIMIT
        figures.add(f"Docker Hub counted {house.pulls_spent()} of {LIMIT} pulls")


@dataclass(frozen=True, slots=True)
class _Answer:
    """The mirror's answer about an image that is not held; times as of ``perf_counter``."""

    status: int
    begun: float
    ended: float


class _Outage:
    """Ends registries while clients pull."""

    def __init__(self, house: House, pullers: Sequence[Puller]) -> None:
        self._house = house
        self._pullers = pullers
        self._read = 0

    def pull_all(self) -> list[float]:
        """Let every client pull from all four, all at once; return the seconds of each pull."""
        with ThreadPoolExecutor(len(self._pullers)) as pool:
            upstreams = self._house.upstreams
            pulls = pool.map(lambda puller: [puller.pull(one) for one in upstreams], self._pullers)
            return [seconds for each in pulls for seconds in each]

    def end(self, upstream: Upstream) -> str:
        """End a registry in the middle of pulls from it; return a line of the table."""
        others = [one for one in self._house.upstreams if one is not upstream]
        reached = threading.Event()

        def pull_four(puller: Puller) -> list[float]:
            seconds = [puller.pull(one) for one in others]
            reached.set()
            return [*seconds, puller.pull(upstream)]

        upstream.freeze()
        with ThreadPoolExecutor(len(self._pullers) + 1) as pool:
            cold = pool.submit(self._ask_cold, upstream)
            warm = [pool.submit(pull_four, puller) for puller in self._pullers]
            assert reached.wait(60)
            ended = time.perf_counter()
            upstream.kill()
            first = cold.result()
            seconds = [second for one in warm for second in one.result()]
        later = self._ask_cold(upstream)
        assert {first.status, later.status} <= {502, 504}
        return (
            f"{self.row(f'{upstream.name} ends', seconds)}; not held: {first.status} "
            f"{first.ended - ended:+.2f} s from the end, later {later.status} "
            f"in {later.ended - later.begun:.3f} s"
        )

    def row(self, what: str, seconds: list[float]) -> str:
        """Describe the pulls since the last row: how many, how long, and from where."""
        return (
            f"{what}: {len(seconds)} pulls went on, {statistics.median(seconds):.2f} s each, "
            f"at most {max(seconds):.2f} s; {self._sources()}"
        )

    def _ask_cold(self, upstream: Upstream) -> _Answer:
        path = f"/v2/{upstream.repository}/manifests/{COLD_TAG}?ns={upstream.name}"
        begun = time.perf_counter()
        status = request("GET", self._house.mirror.url + path).status
        return _Answer(status, begun, time.perf_counter())

    def _sources(self) -> str:
        """Say where the answers to tags came from, for each registry."""
        records = self._house.log_from(self._read)
        self._read = len(self._house.mirror.log)
        told = []
        for upstream in self._house.upstreams:
            outcomes = Counter(
                str(record["mirror.outcome"])
                for record in records
                if str(record.get("vars.name", "")).endswith(upstream.repository)
                and record.get("vars.reference") == TAG
                and "mirror.outcome" in record
            )
            counted = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
            told.append(f"{upstream.name}: {counted}")
        return "; ".join(told)


def _host(upstream: Upstream) -> str:
    return str(upstream.settings["remoteurl"]).removeprefix("http://")
