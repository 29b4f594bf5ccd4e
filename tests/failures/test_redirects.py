"""Failures 5, 6 and 7: where redirects and token realms lead, and what goes there."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.secrecy import Secret
from roadstead.simulator import faults
from roadstead.simulator.client import PullingClient
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.simulator.tokens import TokenService
from roadstead.upstream.credentials import Credentials, StaticCredentials
from tests.failures.answers import get_blob
from tests.support.rig import APP, Rig, make_rig, serving
from tests.support.volumes import files_below

CONTENT = bytes(range(256)) * 1000
USER, PASSWORD = "alice", "hunter2-hunter2"


@pytest.fixture
async def stranger() -> AsyncIterator[ScriptedRegistry]:
    """Give another host."""
    async with ScriptedRegistry(address="127.0.0.2") as running:
        yield running


@pytest.fixture
async def private(tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a served mirror that has an account upstream."""
    credentials = StaticCredentials(Credentials(USER, Secret(PASSWORD)))
    async with make_rig(tmp_path, credentials=credentials) as made, serving(made):
        yield made


async def test_a_redirect_is_asked_for_each_time(
    rig: Rig, http: ClientSession, stranger: ScriptedRegistry
) -> None:
    """Failure 5: a signature that is good once serves a blob that is cut once, and clients none."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.RedirectToStorage(stranger, uses=1), kind=RequestKind.BLOB)
    stranger.inject(faults.Cut(100_000), kind=RequestKind.STORAGE, times=1)

    answer = await get_blob(http, rig, blob.digest)

    assert (answer.status, answer.body) == (200, CONTENT)
    assert rig.upstream.count(kind=RequestKind.BLOB) == 2
    assert stranger.count(kind=RequestKind.STORAGE) == 2


async def test_an_expired_signature_is_replaced(
    rig: Rig, http: ClientSession, stranger: ScriptedRegistry
) -> None:
    """Failure 5: 403 from storage leads to the registry for another address, not to the client."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    expired = faults.RedirectToStorage(stranger, uses=0)
    rig.upstream.inject(expired, kind=RequestKind.BLOB, times=1)
    good = faults.RedirectToStorage(stranger, uses=1)
    rig.upstream.inject(good, kind=RequestKind.BLOB, skip=1)

    answer = await get_blob(http, rig, blob.digest)

    assert (answer.status, answer.body) == (200, CONTENT)
    assert [record.status for record in stranger.requests] == [403, 200]


@pytest.mark.parametrize("address", ["127.0.0.2", "127.0.0.1"], ids=["host", "port"])
@pytest.mark.parametrize("kind", [RequestKind.MANIFEST, RequestKind.BLOB])
async def test_a_credential_stays_with_its_origin(
    private: Rig, address: str, kind: RequestKind
) -> None:
    """Failure 6: storage at another host or port, which refuses Authorization, gives the image."""
    private.upstream.require_basic(USER, PASSWORD)
    image = private.upstream.add_image(APP, tag="latest")
    async with ScriptedRegistry(address=address) as storage, PullingClient(private.url) as client:
        private.upstream.inject(faults.RedirectToStorage(storage), kind=kind, method="GET")

        pull = await client.pull(APP, "latest")

    assert (pull.failure, pull.digest) == ("", str(image.manifest_digest))
    assert storage.requests
    assert not any("authorization" in record.headers for record in storage.requests)


REALMS = {
    "another host": "{stranger}/token",
    "a name that is no host": "http://registry.invalid/token",
    "a cloud's metadata": "http://169.254.169.254/latest/meta-data",
    "an address in disguise": "http://0x7f.0.0.2/token",
    "another user's": "http://{host}@127.0.0.2/token",
}


@pytest.mark.parametrize("realm", REALMS.values(), ids=REALMS.keys())
async def test_a_hostile_realm_is_not_even_connected_to(
    private: Rig, http: ClientSession, stranger: ScriptedRegistry, realm: str
) -> None:
    """Failure 7: the client learns that it was refused, and why; no byte goes to the realm."""
    private.upstream.add_image(APP, tag="latest")
    named = realm.format(stranger=stranger.url, host=private.upstream.host)
    private.upstream.require_bearer(TokenService(realm=named), at=stranger)

    async with http.get(f"{private.url}/v2/{APP}/manifests/latest") as answer:
        text = await answer.text()

    assert answer.status == HTTPStatus.FORBIDDEN
    assert "was not asked" in text
    assert PASSWORD not in text
    assert stranger.requests == []


async def test_a_realm_that_redirects_is_followed_no_further_than_it_may(
    private: Rig, http: ClientSession, stranger: ScriptedRegistry
) -> None:
    """Failure 7: the registry's own token server cannot hand a password on."""
    private.upstream.add_image(APP, tag="latest")
    private.upstream.token_service(users={USER: PASSWORD})
    private.upstream.inject(faults.Redirect(stranger.realm), kind=RequestKind.TOKEN)

    async with http.get(f"{private.url}/v2/{APP}/manifests/latest") as answer:
        assert answer.status == HTTPStatus.FORBIDDEN

    assert stranger.requests == []


async def test_a_credential_is_in_nothing_that_is_kept_or_told(
    tmp_path: Path, http: ClientSession
) -> None:
    """Failure 6: neither files nor answers nor events hold the password or a token."""
    credentials = StaticCredentials(Credentials(USER, Secret(PASSWORD)))
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(make_rig(tmp_path, credentials=credentials))
        await stack.enter_async_context(serving(rig))
        rig.upstream.token_service(users={USER: PASSWORD}, anonymous=False)
        image = rig.upstream.add_image(APP, tag="latest")
        await rig.hold(image)
        async with http.get(f"{rig.url}/v2/{APP}/manifests/latest") as answer:
            told = f"{answer.headers} {await answer.text()} {rig.events} {rig.exchanges}"

    kept = b"".join(files_below(tmp_path).values())
    for secret in (PASSWORD, "s1mul4ted-token"):
        assert secret not in told
        assert secret.encode() not in kept
