"""Who may pull, from the configuration to the answer."""

import base64
import json
from pathlib import Path

import bcrypt
import pytest
from aiohttp import ClientSession

from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import started, url_of
from tests.support.rig import APP

ALICE = {"Authorization": f"Basic {base64.b64encode(b'alice:right').decode()}"}
KEY = "planted-shared-key-0123456789"


@pytest.fixture
def htpasswd(tmp_path: Path) -> Path:
    """Give a password file with alice."""
    path = tmp_path / "htpasswd"
    path.write_bytes(b"alice:" + bcrypt.hashpw(b"right", bcrypt.gensalt(4)) + b"\n")
    return path


def asking(htpasswd: Path, **access: object) -> dict[str, str]:
    """Configure passwords, and further keys of ``access``."""
    return {
        "REGISTRY_AUTH": json.dumps({"htpasswd": {"realm": "mirror", "path": str(htpasswd)}}),
        "REGISTRY_ACCESS": json.dumps(access),
    }


async def status(client: ClientSession, url: str, **headers: str) -> int:
    """Ask for APP's manifest."""
    async with client.get(f"{url}/v2/{APP}/manifests/latest", headers=headers) as response:
        return response.status


async def test_distribution_s_htpasswd(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession, htpasswd: Path
) -> None:
    """With ``auth.htpasswd`` alone every user of the file may pull everything, and nobody else."""
    upstream.add_image(APP, tag="latest")

    async with started(upstream, tmp_path / "data", **asking(htpasswd)) as mirror:
        assert await status(client, url_of(mirror)) == 401
        assert await status(client, url_of(mirror), **ALICE) == 200


async def test_a_header_stands_beside_passwords(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession, htpasswd: Path
) -> None:
    """Without rules whoever shows one of the configured proofs may pull."""
    upstream.add_image(APP, tag="latest")
    headers = [{"name": "X-Mirror-Key", "secret": KEY, "identity": "ci"}]

    async with started(upstream, tmp_path / "data", **asking(htpasswd, headers=headers)) as mirror:
        assert await status(client, url_of(mirror)) == 401
        assert await status(client, url_of(mirror), **{"X-Mirror-Key": KEY}) == 200
        assert await status(client, url_of(mirror), **ALICE) == 200


async def test_rules_of_the_configuration(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession, htpasswd: Path
) -> None:
    """Groups, repositories and networks are read as they are written."""
    upstream.add_image(APP, tag="latest")
    upstream.add_image("org/app", tag="latest")
    rules = [
        {"allow": "group:dev", "repositories": "library/*"},
        {"allow": "everybody", "networks": "127.0.0.0/8", "repositories": "org/*"},
    ]
    groups = {"dev": "user:alice"}

    async with started(
        upstream, tmp_path / "data", **asking(htpasswd, rules=rules, groups=groups)
    ) as mirror:
        assert await status(client, url_of(mirror)) == 401
        assert await status(client, url_of(mirror), **ALICE) == 200
        async with client.get(f"{url_of(mirror)}/v2/org/app/manifests/latest") as response:
            assert response.status == 200
