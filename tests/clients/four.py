"""Four registries, each with its own authentication, and one mirror in front of all of them."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from roadstead.simulator.registry import ScriptedRegistry
from tests.support import sandbox
from tests.support.dockerregistry import BINARY_3, RunningRegistry, run_docker_registry, wait_for
from tests.support.images import Image, write_image
from tests.support.programs import find_program
from tests.support.roadstead_process import RoadsteadProcess, free_port, start_roadstead
from tests.support.staged import shelve, start_stage
from tests.support.tokenserver import Account, start_token_server

LIMIT = 5
TAG, COLD_TAG = "1.0", "2.0"
_USER, _PASSWORD = "mirror", "may-pull"
# htpasswd -Bbn mirror may-pull
_HTPASSWD = "mirror:$2y$05$6FmTvDsC2Wo7FyJGXbj4/O0jSMWKlissMzn2SYU3unfYgLdzNTSji\n"
_EVERYTHING = frozenset({"pull", "push"})


@dataclass(frozen=True, slots=True)
class Upstream:
    """A registry, and how a mirror is told of it.

    ``name`` is what clients call it. It holds ``image``, which is pulled, and ``cold``, which is
    not. ``freeze`` makes it fall silent, ``kill`` ends it.
    """

    name: str
    repository: str
    software: str
    settings: Mapping[str, object]
    image: Image
    cold: Image
    freeze: Callable[[], None]
    kill: Callable[[], None]


@dataclass(frozen=True, slots=True)
class House:
    """The four, and their mirror; ``pulls_spent`` tells what the Docker Hub has counted."""

    upstreams: tuple[Upstream, ...]
    mirror: RoadsteadProcess
    pulls_spent: Callable[[], int]

    def log_from(self, offset: int) -> list[Mapping[str, object]]:
        """Read the mirror's log behind so many characters."""
        lines = self.mirror.log[offset:].splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def start_house(root: Path) -> Iterator[House]:
    """Start everything; the mirror asks for each tag each time."""
    sandbox.require("skopeo")
    with ExitStack() as stack:
        hub, spent = stack.enter_context(_docker_hub(root / "hub"))
        upstreams = (
            stack.enter_context(_with_tokens(root / "tokens")),
            stack.enter_context(_with_passwords(root / "basic")),
            stack.enter_context(_third(root / "third")),
            hub,
        )
        configuration = {
            "log": {"formatter": "json", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(root / "data")}},
            "proxy": {**hub.settings, "tagttl": "0s"},
            "upstreams": {one.name: {**one.settings, "tagttl": "0s"} for one in upstreams[:3]},
        }
        mirror = stack.enter_context(start_roadstead(configuration))
        yield House(upstreams, mirror, spent)


def third_software() -> str | None:
    """Say which third registry this machine has: zot, or else version 3 of the stock one."""
    return next((name for name in ("zot", BINARY_3) if find_program(name)), None)


@contextmanager
def _docker_hub(root: Path) -> Iterator[tuple[Upstream, Callable[[], int]]]:
    image, cold = _write_images(root, seed=100)
    with start_stage("docker-hub", limit=LIMIT) as running:
        registry, limit = running.stage.registry, running.stage.pull_limit
        assert limit is not None
        for one in (image, cold):
            shelve(registry, "library/app", one)
        yield (
            Upstream(
                name="docker.io",
                repository="library/app",
                software=f"simulator as Docker Hub, {LIMIT} pulls",
                settings={
                    "remoteurl": registry.url,
                    "trustedrealms": sorted(running.stage.trusted_realms),
                },
                image=image,
                cold=cold,
                freeze=lambda: running.run(_pause(registry)),
                kill=lambda: running.run(running.stage.stop()),
            ),
            lambda: limit.used,
        )


@contextmanager
def _with_tokens(root: Path) -> Iterator[Upstream]:
    images = _write_images(root, seed=200)
    accounts = {_USER: Account(_PASSWORD, _EVERYTHING)}
    with (
        start_token_server(root, accounts) as tokens,
        run_docker_registry(root / "volume", auth=tokens.registry_auth) as running,
    ):
        settings = {**_account(), "trustedrealms": [tokens.realm.split("/")[2]]}
        yield _filled(
            running, root, "tokens.test", "docker-registry 2.8.2, tokens", settings, images
        )


@contextmanager
def _with_passwords(root: Path) -> Iterator[Upstream]:
    images = _write_images(root, seed=300)
    passwords = root / "htpasswd"
    passwords.write_text(_HTPASSWD)
    auth = {"htpasswd": {"realm": "basic", "path": str(passwords)}}
    with run_docker_registry(root / "volume", auth=auth) as running:
        yield _filled(
            running, root, "basic.test", "docker-registry 2.8.2, Basic", _account(), images
        )


@contextmanager
def _third(root: Path) -> Iterator[Upstream]:
    software = third_software()
    if software is None:
        pytest.skip("neither zot nor registry3 is installed: scripts/build-from-go")
    images = _write_images(root, seed=400)
    start = _zot if software == "zot" else _registry_3
    with start(root) as running:
        yield _filled(running, root, "third.test", software, {}, images)


@contextmanager
def _registry_3(root: Path) -> Iterator[RunningRegistry]:
    with run_docker_registry(root / "volume", binary=BINARY_3) as running:
        yield running


@contextmanager
def _zot(root: Path) -> Iterator[RunningRegistry]:
    port = free_port()
    configuration = {
        "distSpecVersion": "1.1.0",
        "storage": {"rootDirectory": str(root / "volume")},
        "http": {"address": "127.0.0.1", "port": str(port)},
        "log": {"level": "error"},
    }
    file = root / "zot.json"
    file.write_text(json.dumps(configuration))
    program = find_program("zot")
    assert program is not None
    log_file = root / "zot.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen([program, "serve", str(file)], stdout=log, stderr=log)
    try:
        wait_for(port, process, log_file)
        yield RunningRegistry(f"http://127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()


def _filled(
    running: RunningRegistry,
    root: Path,
    name: str,
    software: str,
    settings: Mapping[str, object],
    images: tuple[Image, Image],
) -> Upstream:
    """Push both images with skopeo, and describe the registry."""
    repository = f"{name.partition('.')[0]}/app"
    host = running.url.removeprefix("http://")
    for image in images:
        sandbox.run(
            *("skopeo", "copy", "--all", "--quiet", "--insecure-policy"),
            *("--dest-tls-verify=false", f"--dest-creds={_USER}:{_PASSWORD}"),
            f"oci:{image.layout}:{image.tag}",
            f"docker://{host}/{repository}:{image.tag}",
            home=root,
        )
        # It is in the registry now, and there are many of them.
        shutil.rmtree(image.layout)
    return Upstream(
        name=name,
        repository=repository,
        software=software,
        settings={"remoteurl": running.url, **settings},
        image=images[0],
        cold=images[1],
        freeze=running.freeze,
        kill=running.kill,
    )


async def _pause(registry: ScriptedRegistry) -> None:
    registry.pause()


def _write_images(root: Path, *, seed: int) -> tuple[Image, Image]:
    root.mkdir(parents=True)
    return (
        write_image(root / "image", tag=TAG, seed=seed),
        write_image(root / "cold", tag=COLD_TAG, seed=seed + 50),
    )


def _account() -> dict[str, object]:
    return {"username": _USER, "password": _PASSWORD}
