"""Who may pull, from the configuration to the answer."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest
from aiohttp import ClientSession

from roadstead.errors import ConfigError
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import started, url_of
from tests.support.rig import APP
from tests.support.tokenserver import SERVICE, Account, TokenServer, start_token_server

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


@pytest.fixture(scope="module")
def token_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenServer]:
    """Give a token server where alice may pull, and nobody else."""
    accounts = {"alice": Account("right", frozenset({"pull", "*"}))}
    with start_token_server(tmp_path_factory.mktemp("tokens"), accounts) as server:
        yield server


async def fetch_token(client: ClientSession, challenge: str, *, scope: str = "") -> dict[str, str]:
    """Do what a client does with a challenge; return the header for the next request."""
    parameters = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    query = {"service": parameters["service"], "scope": scope or parameters.get("scope", "")}
    async with client.get(parameters["realm"], params=query, headers=ALICE) as response:
        return {"Authorization": f"Bearer {(await response.json())['token']}"}


async def test_distribution_s_tokens(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    client: ClientSession,
    token_server: TokenServer,
) -> None:
    """From the challenge to the token to the image, and not to another image with it."""
    for repository in (APP, "org/app"):
        upstream.add_image(repository, tag="latest")
    auth = json.dumps(token_server.registry_auth)

    async with started(upstream, tmp_path, REGISTRY_AUTH=auth) as mirror:
        async with client.get(f"{url_of(mirror)}/v2/{APP}/manifests/latest") as response:
            assert response.status == 401
            challenge = response.headers["Www-Authenticate"]
        assert challenge == (
            f'Bearer realm="{token_server.realm}",service="{SERVICE}",scope="repository:{APP}:pull"'
        )
        token = await fetch_token(client, challenge)
        assert await status(client, url_of(mirror), **token) == 200
        async with client.get(
            f"{url_of(mirror)}/v2/org/app/manifests/latest", headers=token
        ) as response:
            assert response.status == 401
            assert 'error="insufficient_scope"' in response.headers["Www-Authenticate"]


async def test_a_token_opens_one_repository_of_one_upstream(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    client: ClientSession,
    token_server: TokenServer,
) -> None:
    """A name that ``?ns=``, a host or a listener gives another meaning needs another token."""
    upstream.add_image("org/app", tag="latest")
    settings = {
        "REGISTRY_AUTH": json.dumps(token_server.registry_auth),
        "REGISTRY_UPSTREAMS": json.dumps(
            {
                "other.example": {
                    "remoteurl": upstream.url,
                    "listen": "127.0.0.1:0",
                    "hosts": ["other.host"],
                }
            }
        ),
    }
    challenge = f'Bearer realm="{token_server.realm}",service="{SERVICE}"'
    own = await fetch_token(client, challenge, scope="repository:org/app:pull")
    other = await fetch_token(client, challenge, scope="repository:other.example/org/app:pull")

    async with started(upstream, tmp_path, **settings) as mirror:
        url = url_of(mirror)
        listener = f"http://127.0.0.1:{mirror.upstream_ports['other.example']}"
        path = "org/app/manifests/latest"
        found = {
            (name, spelling): await answer(client, address, **token, **headers)
            for name, token in (("own", own), ("other", other))
            for spelling, address, headers in (
                ("default", f"{url}/v2/{path}", {}),
                ("ns", f"{url}/v2/{path}?ns=other.example", {}),
                ("path", f"{url}/v2/other.example/{path}", {}),
                ("prefix", f"{url}/other.example/v2/{path}", {}),
                ("listener", f"{listener}/v2/{path}", {}),
                ("host", f"{url}/v2/{path}", {"Host": "other.host"}),
            )
        }

    elsewhere = ("ns", "path", "prefix", "listener", "host")
    assert found == {
        ("own", "default"): 200,
        ("other", "default"): 401,
        **{("own", spelling): 401 for spelling in elsewhere},
        **{("other", spelling): 200 for spelling in elsewhere},
    }


async def answer(client: ClientSession, url: str, **headers: str) -> int:
    """Ask, and return the status."""
    async with client.get(url, headers=headers) as response:
        return response.status


async def test_keys_that_cannot_be_used_end_the_start(
    tmp_path: Path, upstream: ScriptedRegistry, token_server: TokenServer
) -> None:
    """The error names the file."""
    auth = {"token": {**token_server.registry_auth["token"], "rootcertbundle": "/nowhere.pem"}}

    with pytest.raises(OSError, match=r"nowhere\.pem"):
        async with started(upstream, tmp_path, REGISTRY_AUTH=json.dumps(auth)):
            pass


async def test_a_slip_in_an_upstream_s_name_ends_the_start(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """A rule that was to refuse would not."""
    for access in (
        {"rules": [{"deny": "everybody", "upstreams": "ghcr"}]},
        {"checkupstream": ["docker"]},
    ):
        with pytest.raises(ConfigError, match="names no upstream"):
            async with started(upstream, tmp_path, REGISTRY_ACCESS=json.dumps(access)):
                pass
