"""Every way in which registries ask for credentials is answered, once, and remembered."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from roadstead.errors import (
    UpstreamDeniedError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRateLimitedError,
    UpstreamTimeoutError,
    UpstreamUnauthorizedError,
    UpstreamUnavailableError,
)
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.secrecy import Secret
from roadstead.simulator.faults import (
    Fault,
    Headers,
    Html,
    Redirect,
    RequestKind,
    Slow,
    Stall,
    Status,
    Substitute,
)
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.simulator.tokens import TokenService
from roadstead.upstream.credentials import Credentials, StaticCredentials
from tests.support.clock import Clock
from tests.upstream.conftest import SHORT, connect

APP = RepositoryName("library/app")
LATEST = Tag("latest")
ALICE = StaticCredentials(Credentials("alice", Secret("pl4nted")))
USERS = {"alice": "pl4nted"}


@pytest.fixture(autouse=True)
def image(registry: ScriptedRegistry) -> None:
    """Give the registry something to protect."""
    registry.add_image(APP, tag=LATEST)


def statuses(registry: ScriptedRegistry) -> list[tuple[RequestKind, int]]:
    """List what was asked and answered, and forget it."""
    seen = [(record.kind, record.status) for record in registry.requests]
    registry.requests.clear()
    return seen


async def test_a_challenge_is_learnt_once(registry: ScriptedRegistry) -> None:
    """The first request meets a 401 and fetches a token; the next one needs neither, nor a ping."""
    registry.token_service()

    async with connect(registry.url) as upstream:
        await upstream.get_manifest(APP, LATEST)
        assert statuses(registry) == [
            (RequestKind.MANIFEST, 401),
            (RequestKind.TOKEN, 200),
            (RequestKind.MANIFEST, 200),
        ]
        await upstream.get_manifest(APP, LATEST)
        assert statuses(registry) == [(RequestKind.MANIFEST, 200)]


async def test_each_repository_has_its_own_scope(registry: ScriptedRegistry) -> None:
    """A second repository costs a token, but no 401; only pull is asked for."""
    registry.token_service()
    registry.add_image("library/other", tag=LATEST)

    async with connect(registry.url) as upstream:
        await upstream.get_manifest(APP, LATEST)
        registry.requests.clear()
        await upstream.get_manifest(RepositoryName("library/other"), LATEST)

    assert registry.requests[0].request.query["scope"] == ["repository:library/other:pull"]
    assert statuses(registry) == [(RequestKind.TOKEN, 200), (RequestKind.MANIFEST, 200)]


async def test_many_callers_share_one_token_request(registry: ScriptedRegistry) -> None:
    """Twenty requests at once fetch one token, and one that leaves harms no other."""
    registry.token_service()
    registry.inject(Slow(latency_seconds=0.05), kind=RequestKind.TOKEN)

    async with connect(registry.url) as upstream:
        calls = [asyncio.ensure_future(upstream.get_manifest(APP, LATEST)) for _ in range(20)]
        await _token_asked(registry)
        calls[0].cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(results[0], asyncio.CancelledError)
    assert not any(isinstance(result, BaseException) for result in results[1:])
    assert registry.count(kind=RequestKind.TOKEN) == 1


@pytest.mark.parametrize(
    ("announced", "told", "renewed_after"),
    [(300.0, True, 255), (10.0, True, 51), (300.0, False, 51)],
)
async def test_tokens_are_renewed_before_they_expire(
    registry: ScriptedRegistry, announced: float, *, told: bool, renewed_after: int
) -> None:
    """At 85 % of the life a new one is fetched; a life is at least 60 s, also if not told."""
    clock = Clock()
    service = registry.token_service()
    service.life_seconds, service.announce_life = announced, told
    async with connect(registry.url, clock=clock) as upstream:
        await upstream.get_manifest(APP, LATEST)
        clock.advance(renewed_after - 1)
        await upstream.get_manifest(APP, LATEST)
        assert registry.count(kind=RequestKind.TOKEN) == 1

        clock.advance(2)
        await upstream.get_manifest(APP, LATEST)
        assert registry.count(kind=RequestKind.TOKEN) == 2


async def test_a_failed_renewal_uses_the_token_that_still_lives(
    registry: ScriptedRegistry,
) -> None:
    """While the old token is good, a token server in trouble is no trouble."""
    clock = Clock()
    registry.token_service()
    async with connect(registry.url, clock=clock) as upstream:
        await upstream.get_manifest(APP, LATEST)
        registry.inject(Status(503), kind=RequestKind.TOKEN)
        clock.advance(270)
        await upstream.get_manifest(APP, LATEST)

        clock.advance(60)
        with pytest.raises(UpstreamUnavailableError, match="token server"):
            await upstream.get_manifest(APP, LATEST)


async def test_a_revoked_token_is_replaced(registry: ScriptedRegistry) -> None:
    """A held token that is refused is dropped, and the request goes through with a new one."""
    service = registry.token_service()
    async with connect(registry.url) as upstream:
        await upstream.get_manifest(APP, LATEST)
        service.revoke_all()
        registry.requests.clear()

        await upstream.get_manifest(APP, LATEST)

    assert statuses(registry) == [
        (RequestKind.MANIFEST, 401),
        (RequestKind.MANIFEST, 401),
        (RequestKind.TOKEN, 200),
        (RequestKind.MANIFEST, 200),
    ]


async def test_another_realm_after_expiry_is_not_believed(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry
) -> None:
    """nvcr.io names a foreign realm once a token expired; asked without, it names the right one."""

    class Fickle(TokenService):
        def challenges(self, authorization: str, repository: str) -> list[str]:
            if authorization:
                return [f'Bearer realm="{elsewhere.realm}",error="invalid_token"']
            return super().challenges(authorization, repository)

    service = Fickle(realm=registry.realm)
    registry.require_bearer(service)
    async with connect(registry.url) as upstream:
        await upstream.get_manifest(APP, LATEST)
        service.revoke_all()

        await upstream.get_manifest(APP, LATEST)

    assert elsewhere.requests == []


async def test_a_refusal_of_fresh_credentials_is_final(registry: ScriptedRegistry) -> None:
    """Docker Hub answers 401 for what does not exist; that costs one request, not a loop."""
    service = registry.token_service()
    (challenge,) = service.challenges("", APP)
    registry.inject(
        Status(401, "UNAUTHORIZED", "no such thing", headers={"WWW-Authenticate": challenge}),
        kind=RequestKind.MANIFEST,
    )

    async with connect(registry.url) as upstream:
        with pytest.raises(UpstreamUnauthorizedError, match="no such thing"):
            await upstream.get_manifest(APP, LATEST)

    assert [kind for kind, _ in statuses(registry)] == [
        RequestKind.MANIFEST,
        RequestKind.TOKEN,
        RequestKind.MANIFEST,
    ]


async def test_basic_is_answered_and_remembered(registry: ScriptedRegistry) -> None:
    """Private ECR asks for Basic; the next request brings it along."""
    registry.require_basic("alice", "pl4nted")

    async with connect(registry.url, credentials=ALICE) as upstream:
        await upstream.get_manifest(APP, LATEST)
        await upstream.get_manifest(APP, LATEST)

    assert [status for _, status in statuses(registry)] == [401, 200, 200]


async def test_basic_without_credentials_is_a_clear_error(registry: ScriptedRegistry) -> None:
    """Nothing is made up where nothing is configured."""
    registry.require_basic("alice", "pl4nted")

    async with connect(registry.url) as upstream:
        with pytest.raises(UpstreamUnauthorizedError, match="none are configured"):
            await upstream.get_manifest(APP, LATEST)

    assert all("authorization" not in record.headers for record in registry.requests)


async def test_a_changed_method_is_learnt(registry: ScriptedRegistry) -> None:
    """A registry that moves from Basic to Bearer is followed without a restart."""
    registry.require_basic("alice", "pl4nted")
    async with connect(registry.url, credentials=ALICE) as upstream:
        await upstream.get_manifest(APP, LATEST)
        registry.token_service(users=USERS, anonymous=False)

        await upstream.get_manifest(APP, LATEST)


async def test_credentials_go_to_the_token_server(registry: ScriptedRegistry) -> None:
    """By GET the token server sees Basic and the account, the registry only the token."""
    registry.token_service(users=USERS, anonymous=False)

    async with connect(registry.url, credentials=ALICE) as upstream:
        await upstream.get_manifest(APP, LATEST)

    first, token, second = registry.requests
    assert "authorization" not in first.headers
    assert token.request.query["account"] == ["alice"]
    assert token.headers["authorization"].startswith("Basic ")
    assert second.headers["authorization"].startswith("Bearer ")


async def test_a_server_without_get_is_asked_by_post(registry: ScriptedRegistry) -> None:
    """Where GET is 405 the password flow of OAuth2 is used."""
    service = registry.token_service(users=USERS, anonymous=False)
    service.methods = frozenset({"POST"})
    service.field_name = "access_token"

    async with connect(registry.url, credentials=ALICE) as upstream:
        await upstream.get_manifest(APP, LATEST)

    assert [record.method for record in registry.requests] == ["GET", "GET", "POST", "GET"]


async def test_an_identity_token_is_posted(registry: ScriptedRegistry) -> None:
    """A refresh token is exchanged by POST and never sent as a password."""
    service = registry.token_service(anonymous=False)
    service.identity_tokens = frozenset({"pl4nted"})
    source = StaticCredentials(Credentials("<token>", Secret("pl4nted")))

    async with connect(registry.url, credentials=source) as upstream:
        await upstream.get_manifest(APP, LATEST)

    (token,) = (record for record in registry.requests if record.kind is RequestKind.TOKEN)
    assert token.method == "POST"
    assert "authorization" not in token.headers


async def test_a_challenge_on_the_ping_alone_is_found(registry: ScriptedRegistry) -> None:
    """gcr.io's 401 says nothing; /v2/ does."""
    registry.token_service()
    registry.challenge_on_ping_only = True

    async with connect(registry.url) as upstream:
        await upstream.get_manifest(APP, LATEST)

    assert registry.count(kind=RequestKind.PING) == 1


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("aws", "aws"),
        ("repository:user/image:pull", "repository:library/app:pull"),
        ("repository:library/app:pull,push", "repository:library/app:pull"),
        ("", "repository:library/app:pull"),
    ],
)
async def test_the_scope_is_ours(registry: ScriptedRegistry, named: str, asked: str) -> None:
    """Only a scope for everything is taken over; dummy scopes and pushes are not."""

    class Naming(TokenService):
        def challenges(self, authorization: str, repository: str) -> list[str]:
            del authorization, repository
            return [f'Bearer realm="{self.realm}",service="{self.service}",scope="{named}"']

    registry.require_bearer(Naming(realm=registry.realm, scope=asked))

    async with connect(registry.url) as upstream:
        await upstream.get_manifest(APP, LATEST)

    (token,) = (record for record in registry.requests if record.kind is RequestKind.TOKEN)
    assert token.request.query["scope"] == [asked]


async def test_the_usable_one_of_several_challenges_is_taken(registry: ScriptedRegistry) -> None:
    """Azure offers Basic and Bearer; an unknown scheme is passed over."""
    service = registry.token_service(users=USERS, anonymous=False)
    service.extra_challenges = ('Negotiate abc==, Basic realm="x"',)

    async with connect(registry.url, credentials=ALICE) as upstream:
        await upstream.get_manifest(APP, LATEST)

    assert registry.requests[-1].headers["authorization"].startswith("Bearer ")


async def test_transfers_follow_the_same_rules(registry: ScriptedRegistry) -> None:
    """A blob in a thread uses the tokens of the loop, and replaces a revoked one."""
    service = registry.token_service(users=USERS, anonymous=False)
    blob = registry.add_blob(APP, b"content")
    async with connect(registry.url, credentials=ALICE) as upstream:
        for _ in range(2):
            transfer = await asyncio.to_thread(upstream.open_blob, APP, blob.digest, 0)
            assert await asyncio.to_thread(transfer.read) == b"content"
            transfer.close()
            service.revoke_all()

    assert registry.count(kind=RequestKind.TOKEN) == 2


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ([Status(401)], UpstreamUnauthorizedError),
        ([Status(403)], UpstreamDeniedError),
        ([Status(429, headers={"Retry-After": "3"})], UpstreamRateLimitedError),
        ([Status(500)], UpstreamUnavailableError),
        ([Stall()], UpstreamTimeoutError),
        ([Html()], UpstreamProtocolError),
        ([Substitute(b"{}", "application/json")], UpstreamProtocolError),
        ([Substitute(b'{"token": 5}', "application/json")], UpstreamProtocolError),
        ([Substitute(b'{"token": "a\\nb"}', "application/json")], UpstreamProtocolError),
        ([Redirect("/token")], UpstreamProtocolError),
        ([Redirect("ftp://x.example/")], UpstreamProtocolError),
    ],
)
async def test_failures_of_the_token_server_are_told_apart(
    registry: ScriptedRegistry, faults: Sequence[Fault], kind: type[UpstreamError]
) -> None:
    """They keep their meaning, name the token server, and end in bounded time."""
    registry.token_service()
    for fault in faults:
        registry.inject(fault, kind=RequestKind.TOKEN)

    async with connect(registry.url, timeouts=replace(SHORT, total=1)) as upstream:
        with pytest.raises(kind) as caught:
            await upstream.get_manifest(APP, LATEST)

    assert type(caught.value) is kind
    assert caught.value.upstream == registry.host


async def test_an_unauthenticated_registry_gets_no_credentials(
    registry: ScriptedRegistry,
) -> None:
    """Credentials that nobody asks for are not sent."""
    registry.inject(Headers(put={"WWW-Authenticate": 'Basic realm="x"'}))

    async with connect(registry.url, credentials=ALICE) as upstream:
        await upstream.get_manifest(APP, LATEST)

    assert "authorization" not in registry.requests[0].headers


async def _token_asked(registry: ScriptedRegistry) -> None:
    async with asyncio.timeout(20):
        while not registry.count(kind=RequestKind.TOKEN):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
