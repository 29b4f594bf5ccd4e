"""What is held is served to those only whom upstream lets read it."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.simulator.faults import Status
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import started, url_of
from tests.support.rig import APP

PRIVATE = "corp/app"
MIRROR = "mirror-p4ss"
ALICE = "alice-p4ss"


def basic(user: str, password: str) -> dict[str, str]:
    """Write an Authorization header."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


async def status(
    client: ClientSession, url: str, path: str, headers: dict[str, str] | None = None
) -> int:
    """Ask, and return the status."""
    async with client.get(f"{url}/v2/{path}", headers=headers) as response:
        await response.read()
        return response.status


@pytest.fixture
async def private() -> AsyncIterator[ScriptedRegistry]:
    """Give a registry that shows nothing to strangers."""
    async with ScriptedRegistry() as registry:
        registry.add_image(PRIVATE, tag="latest")
        registry.token_service(users={"mirror": MIRROR, "alice": ALICE}, anonymous=False)
        yield registry


def checking(upstream: ScriptedRegistry, folder: Path) -> dict[str, str]:
    """Configure a mirror with an account of its own that checks each caller."""
    del folder
    return {
        "REGISTRY_PROXY_USERNAME": "mirror",
        "REGISTRY_PROXY_PASSWORD": MIRROR,
        "REGISTRY_ACCESS": json.dumps({"checkupstream": [upstream.host]}),
    }


async def test_a_held_image_is_for_those_who_may_read_it(
    tmp_path: Path, private: ScriptedRegistry, client: ClientSession
) -> None:
    """The caller's own account decides, not the mirror's, whether held or not."""
    path = f"{PRIVATE}/manifests/latest"
    async with started(private, tmp_path, **checking(private, tmp_path)) as mirror:
        url = url_of(mirror)
        for _ in range(2):
            assert await status(client, url, path) == 401
            assert await status(client, url, path, basic("alice", "wrong")) == 403
            assert await status(client, url, path, basic("mallory", ALICE)) == 403
            assert await status(client, url, path, {"Authorization": "Bearer x"}) == 401
            assert await status(client, url, path, basic("alice", ALICE)) == 200
        assert await status(client, url, "") == 401
        assert await status(client, url, "", basic("", "")) == 200
        async with client.get(f"{url}/v2/_catalog", headers=basic("alice", ALICE)) as response:
            assert await response.json() == {"repositories": []}


async def test_one_pull_asks_once(
    tmp_path: Path, private: ScriptedRegistry, client: ClientSession
) -> None:
    """What was let through stays so for the other requests of the pull."""
    image = private.add_image(PRIVATE, tag="two")
    async with started(private, tmp_path, **checking(private, tmp_path)) as mirror:
        url = url_of(mirror)
        assert await status(client, url, f"{PRIVATE}/manifests/two", basic("alice", ALICE)) == 200
        asked = [record for record in private.requests if "manifests/two" in record.path]
        for blob in image.blobs:
            path = f"{PRIVATE}/blobs/{blob.digest}"
            assert await status(client, url, path, basic("alice", ALICE)) == 200
            assert await status(client, url, path) == 401
        again = f"{PRIVATE}/manifests/two"
        assert await status(client, url, again, basic("alice", ALICE)) == 200
        assert len(asked) >= 2


async def test_without_upstream_nobody_new_is_let_in(
    tmp_path: Path, private: ScriptedRegistry, client: ClientSession
) -> None:
    """Who cannot be checked gets nothing of what is held."""
    path = f"{PRIVATE}/manifests/latest"
    async with started(private, tmp_path, **checking(private, tmp_path)) as mirror:
        url = url_of(mirror)
        assert await status(client, url, path, basic("alice", ALICE)) == 200
        private.inject(Status(503))
        assert await status(client, url, path, basic("alice", ALICE)) == 200
        assert await status(client, url, path, basic("mirror", MIRROR)) == 502
        assert await status(client, url, path) == 502


async def test_public_images_need_no_account(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """What upstream shows to everybody the mirror does too; other upstreams are not checked."""
    upstream.add_image(APP, tag="latest")
    async with started(upstream, tmp_path, **checking(upstream, tmp_path)) as mirror:
        assert await status(client, url_of(mirror), f"{APP}/manifests/latest") == 200
        assert await status(client, url_of(mirror), f"{APP}/manifests/gone") == 404
