"""The scripted authentication admits who it should, and nobody else."""

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from roadstead.simulator.registry import ScriptedRegistry


@pytest_asyncio.fixture
async def registry() -> AsyncIterator[ScriptedRegistry]:
    """Provide a registry that serves one image."""
    async with ScriptedRegistry() as running:
        running.add_image("library/app", tag="latest")
        running.add_image("library/other", tag="latest")
        yield running


@pytest_asyncio.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Provide a client."""
    async with aiohttp.ClientSession() as session:
        yield session


async def test_basic_wants_the_right_password(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """Without the password every path is 401 with a challenge."""
    registry.require_basic("alice", "secret")
    url = f"{registry.url}/v2/library/app/manifests/latest"

    async with http.get(url) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (
            401,
            'Basic realm="scripted"',
        )
    async with http.get(url, headers=_basic("wrong")) as answer:
        assert answer.status == 401
    async with http.get(url, headers=_basic("secret")) as answer:
        assert answer.status == 200


async def test_a_token_is_good_for_its_scope_and_its_life(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """A token opens the repository it was asked for, until it expires."""
    now = 0.0
    service = registry.token_service()
    service.clock = lambda: now
    base = f"{registry.url}/v2/library"
    async with http.get(f"{base}/app/manifests/latest") as answer:
        assert answer.headers["WWW-Authenticate"] == (
            f'Bearer realm="{registry.url}/token",service="scripted.registry",'
            'scope="repository:library/app:pull"'
        )
    query = {"service": service.service, "scope": "repository:library/app:pull"}
    async with http.get(registry.realm, params=query) as answer:
        document = await answer.json()
        assert document["expires_in"] == 300
    headers = {"Authorization": f"Bearer {document['token']}"}

    async with http.get(f"{base}/app/manifests/latest", headers=headers) as answer:
        assert answer.status == 200
    async with http.get(f"{base}/other/manifests/latest", headers=headers) as answer:
        assert answer.status == 401
    now = 300.0
    async with http.get(f"{base}/app/manifests/latest", headers=headers) as answer:
        assert answer.status == 401


async def test_the_token_server_checks_credentials(
    registry: ScriptedRegistry, http: aiohttp.ClientSession
) -> None:
    """GET with Basic, POST with a password and POST with an identity token are all checked."""
    service = registry.token_service(users={"alice": "secret"}, anonymous=False)
    service.identity_tokens = frozenset({"refresh"})
    query = {"service": service.service}

    async with http.get(registry.realm, params=query) as answer:
        assert answer.status == 401
    async with http.get(registry.realm, params=query, headers=_basic("secret")) as answer:
        assert answer.status == 200
    for form, status in (
        ({"grant_type": "password", "username": "alice", "password": "secret"}, 200),
        ({"grant_type": "password", "username": "alice", "password": "wrong"}, 401),
        ({"grant_type": "refresh_token", "refresh_token": "refresh"}, 200),
        ({"grant_type": "refresh_token", "refresh_token": "other"}, 401),
    ):
        async with http.post(registry.realm, data={**query, **form}) as answer:
            assert answer.status == status


def _basic(password: str) -> dict[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth("alice", password)}
