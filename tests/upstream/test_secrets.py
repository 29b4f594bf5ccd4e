"""A planted credential goes to its own host and nowhere else: no log, no error, no other origin.

Failures 5, 6 and 7; DESIGN section 9, rule 2.
"""

import asyncio
import base64
import logging
import traceback
from collections.abc import Awaitable, Callable, Iterator

import pytest

from roadstead.errors import RoadsteadError, UpstreamProtocolError, UpstreamUnauthorizedError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.secrecy import Secret
from roadstead.simulator.content import SimulatedImage
from roadstead.simulator.faults import (
    Cut,
    Fault,
    Redirect,
    RedirectToStorage,
    RequestKind,
    Status,
    Substitute,
)
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.simulator.tokens import TokenService
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.credentials import Credentials, StaticCredentials
from tests.upstream.conftest import connect

APP = RepositoryName("library/app")
LATEST = Tag("latest")
PASSWORD = "pl4nted-p4ssw0rd"
ALICE = StaticCredentials(Credentials("alice", Secret(PASSWORD)))
USERS = {"alice": PASSWORD}
SECRETS = (
    PASSWORD,
    base64.b64encode(f"alice:{PASSWORD}".encode()).decode(),
    # What the simulator's tokens and signatures begin with.
    "s1mul4ted-token",
    "s1gn4ture",
)
CONTENT = (RequestKind.MANIFEST, RequestKind.BLOB, RequestKind.TAGS, RequestKind.REFERRERS)


@pytest.fixture
def image(registry: ScriptedRegistry) -> SimulatedImage:
    """Provide a private image."""
    return registry.add_image(APP, tag=LATEST, layers=[b"layer" * 1000])


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Look at every log record of every library after each test."""
    caplog.set_level(logging.DEBUG)
    yield
    # By phase: ``caplog.text`` is empty again by now. The handler sits at the root, so that the
    # records of aiohttp, asyncio and urllib3 are among them.
    written = "\n".join(caplog.handler.format(item) for item in caplog.get_records("call"))
    for secret in SECRETS:
        assert secret not in written


def told(error: BaseException) -> str:
    """Write an error with its whole chain, as a log line with a traceback would."""
    return "".join(traceback.format_exception(error)) + repr(error)


async def everything(upstream: RegistryUpstream, digest: Digest) -> list[RoadsteadError]:
    """Make every kind of call; return what went wrong."""

    async def transfer() -> None:
        def run() -> None:
            opened = upstream.open_blob(APP, digest, 1)
            try:
                while opened.read():
                    pass
            finally:
                opened.close()

        await asyncio.to_thread(run)

    async def stream() -> None:
        async with upstream.stream_range(APP, digest, 1, 9) as pieces:
            if pieces is not None:
                async for _ in pieces:
                    pass

    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: upstream.head_manifest(APP, LATEST),
        lambda: upstream.get_manifest(APP, LATEST),
        lambda: upstream.stat_blob(APP, digest),
        lambda: upstream.list_tags(APP, limit=None, after=None),
        lambda: upstream.list_referrers(APP, digest),
        stream,
        transfer,
    ]
    errors = []
    for call in calls:
        try:
            await call()
        except RoadsteadError as error:
            errors.append(error)
    return errors


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
async def test_authorization_never_follows_a_redirect(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, image: SimulatedImage, scheme: str
) -> None:
    """Storage on another port sees no Authorization, from small calls and transfers alike."""
    if scheme == "basic":
        registry.require_basic("alice", PASSWORD)
    else:
        registry.token_service(users=USERS, anonymous=False)
    for kind in CONTENT:
        registry.inject(RedirectToStorage(elsewhere), kind=kind, method="GET")

    async with connect(registry.url, credentials=ALICE) as upstream:
        errors = await everything(upstream, image.layers[0].digest)

    assert elsewhere.count(kind=RequestKind.STORAGE, method="GET") >= 4
    assert all("authorization" not in record.headers for record in elsewhere.requests)
    assert all(secret not in told(error) for error in errors for secret in SECRETS)


async def test_authorization_does_not_come_back(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, image: SimulatedImage
) -> None:
    """A chain that leaves the origin and returns to it stays without credentials."""
    registry.require_basic("alice", PASSWORD)
    registry.inject(Redirect(f"{elsewhere.url}/hop"), kind=RequestKind.BLOB)
    elsewhere.inject(Redirect(f"{registry.url}/token"))

    async with connect(registry.url, credentials=ALICE) as upstream:
        await everything(upstream, image.layers[0].digest)

    returned = [record for record in registry.requests if record.kind is RequestKind.TOKEN]
    assert returned
    assert all("authorization" not in record.headers for record in returned)


@pytest.mark.parametrize("anonymous", [True, False])
async def test_a_foreign_realm_is_not_even_asked(
    registry: ScriptedRegistry,
    elsewhere: ScriptedRegistry,
    image: SimulatedImage,
    *,
    anonymous: bool,
) -> None:
    """CVE-2026-33540: another host as the realm gets no request, with or without credentials."""
    registry.require_bearer(TokenService(realm=elsewhere.realm, users=USERS), at=elsewhere)
    source = None if anonymous else ALICE

    async with connect(registry.url, credentials=source) as upstream:
        with pytest.raises(UpstreamUnauthorizedError, match="not listed as trusted") as caught:
            await upstream.get_manifest(APP, LATEST)
        errors = await everything(upstream, image.layers[0].digest)

    assert elsewhere.host in str(caught.value)
    assert len(errors) == 7
    assert elsewhere.requests == []


async def test_a_listed_realm_is_asked(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, image: SimulatedImage
) -> None:
    """What the operator listed gets the credentials, and the registry only the token."""
    service = TokenService(realm=elsewhere.realm, users=USERS, anonymous=False)
    registry.require_bearer(service, at=elsewhere)
    trusted = frozenset({elsewhere.host})

    async with connect(registry.url, credentials=ALICE, trusted_realms=trusted) as upstream:
        assert await everything(upstream, image.layers[0].digest) == []

    assert elsewhere.count(kind=RequestKind.TOKEN) == 1
    assert all(
        not record.headers.get("authorization", "").startswith("Basic")
        for record in registry.requests
    )


@pytest.mark.parametrize("methods", [{"GET"}, {"POST"}])
@pytest.mark.parametrize("status", [302, 307, 308])
async def test_a_redirecting_realm_is_checked_again(
    registry: ScriptedRegistry,
    elsewhere: ScriptedRegistry,
    image: SimulatedImage,
    methods: set[str],
    *,
    status: int,
) -> None:
    """The token server may not hand our password on to a host that could not be the realm."""
    service = registry.token_service(users=USERS, anonymous=False)
    service.methods = frozenset(methods)
    for method in methods:
        registry.inject(
            Redirect(f"{elsewhere.realm}?x=1", status), kind=RequestKind.TOKEN, method=method
        )

    async with connect(registry.url, credentials=ALICE) as upstream:
        errors = await everything(upstream, image.layers[0].digest)

    assert len(errors) == 7
    assert {type(error) for error in errors} <= {UpstreamUnauthorizedError, UpstreamProtocolError}
    assert elsewhere.requests == []
    assert all(secret not in told(error) for error in errors for secret in SECRETS)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Status(401, "UNAUTHORIZED", f"alice:{PASSWORD} is wrong"), RequestKind.TOKEN),
        (Status(403, "DENIED", f"not with {SECRETS[1]}"), RequestKind.TOKEN),
        (Substitute(f"{{'token': '{PASSWORD}'".encode(), "text/plain"), RequestKind.TOKEN),
        (Status(403, "DENIED", "s1mul4ted-token-1 is not enough"), None),
        (Status(500, "UNKNOWN", "s1mul4ted-token-1 made it crash"), None),
        (Cut(after=0), None),
        (Redirect(f"https://alice:{PASSWORD}@elsewhere.example/"), None),
        (Redirect(f"gopher://elsewhere.example/?password={PASSWORD}"), None),
        (Redirect(f"http://[bad/?password={PASSWORD}"), None),
    ],
)
async def test_no_error_repeats_a_secret(
    registry: ScriptedRegistry, image: SimulatedImage, fault: Fault, kind: RequestKind | None
) -> None:
    """Whatever upstream says or does, neither message nor traceback shows what was sent."""
    registry.token_service(users=USERS, anonymous=False)
    for each in CONTENT if kind is None else (kind,):
        registry.inject(fault, kind=each)

    async with connect(registry.url, credentials=ALICE) as upstream:
        errors = await everything(upstream, image.layers[0].digest)

    assert len(errors) >= 4
    for error in errors:
        for secret in SECRETS:
            assert secret not in told(error)


async def test_a_broken_storage_host_shows_no_signature(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, image: SimulatedImage
) -> None:
    """Errors behind a signed redirect name the host and not the signature."""
    registry.inject(RedirectToStorage(elsewhere), method="GET")
    await elsewhere.stop()

    async with connect(registry.url) as upstream:
        errors = await everything(upstream, image.layers[0].digest)

    assert len(errors) >= 4
    assert all(secret not in told(error) for error in errors for secret in SECRETS)


def test_nothing_prints_what_it_holds(registry: ScriptedRegistry) -> None:
    """The objects that hold secrets have nothing to show."""
    upstream = connect(registry.url, credentials=ALICE)

    for thing in (ALICE, upstream, upstream._auth, upstream._tokens):
        assert PASSWORD not in f"{thing!r} {thing}"
