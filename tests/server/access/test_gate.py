"""The gate, from outside: what each caller gets, and that no detour leads around it."""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import bcrypt
import pytest
from aiohttp import ClientSession
from yarl import URL

from roadstead.mirror.mirrors import Mirrors
from roadstead.secrecy import Secret
from roadstead.server.access.attempts import Attempts
from roadstead.server.access.gate import Gate, SharedHeader
from roadstead.server.access.htpasswd import HtpasswdFile
from roadstead.server.access.networks import Networks
from roadstead.server.access.passwords import PasswordChecker
from roadstead.server.access.policy import Policy, Principals
from roadstead.server.access.providers import HtpasswdProvider, SillyProvider
from tests.server.access.test_policy import rule
from tests.support.rig import APP, OTHER, Rig, make_rig, serving

USERS = Policy((rule("allow", "user:*"),))
RIGHT = ("alice", "right")
KEY = "0123456789abcdef0123456789abcdef"


def basic(user: str, password: str) -> dict[str, str]:
    """Write an Authorization header."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def htpasswd_gate(mirrors: Mirrors, folder: Path, policy: Policy = USERS) -> Gate:
    """Make a gate for alice and bob."""
    path = folder / "htpasswd"
    lines = {"alice": "right", "bob": "b"}
    path.write_text(
        "\n".join(
            f"{user}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}"
            for user, password in lines.items()
        )
    )
    checker = PasswordChecker(HtpasswdFile(path), attempts=Attempts(most=1000))
    return Gate(policy, mirrors=mirrors, provider=HtpasswdProvider(checker, realm='the "mirror"'))


@asynccontextmanager
async def guarded(rig: Rig, gate: Gate) -> AsyncIterator[ClientSession]:
    """Serve behind a gate, with two images held, and give a client."""
    for repository in (APP, OTHER):
        rig.upstream.add_image(repository, tag="latest")
    async with serving(rig, gate=gate), ClientSession(rig.url) as client:
        try:
            yield client
        finally:
            await gate.aclose()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Give a mirror that is not served yet."""
    async with make_rig(tmp_path / "data") as made:
        yield made


async def status(
    client: ClientSession,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
) -> int:
    """Ask, with the path exactly as it is written."""
    url = URL(f"{client._base_url}".rstrip("/") + path, encoded=True)
    async with client.request(method, url, headers=headers, allow_redirects=False) as response:
        await response.read()
        return response.status


async def test_a_challenge_is_that_of_registry_2(rig: Rig, tmp_path: Path) -> None:
    """Status, header and body, with the list of what was wanted; ``/v2/`` wants nothing."""
    async with guarded(rig, htpasswd_gate(rig.mirrors, tmp_path)) as client:
        async with client.get(f"/v2/{APP}/manifests/latest") as response:
            assert response.status == 401
            assert response.headers["Www-Authenticate"] == r'Basic realm="the \"mirror\""'
            assert response.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
            assert await response.text() == (
                '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required",'
                '"detail":[{"Type":"repository","Class":"","Name":"library/app",'
                '"Action":"pull"}]}]}\n'
            )
        async with client.get("/v2/") as response:
            assert response.status == 401
            assert json.loads(await response.text())["errors"][0]["detail"] is None
        async with client.get("/v2/_catalog") as response:
            (error,) = json.loads(await response.text())["errors"]
            wanted = {"Type": "registry", "Class": "", "Name": "catalog", "Action": "*"}
            assert error["detail"] == [wanted]
        assert await status(client, "/") == 200


async def test_who_proves_it_may_pull(rig: Rig, tmp_path: Path) -> None:
    """The right password opens, and the request log says who it was."""
    async with guarded(rig, htpasswd_gate(rig.mirrors, tmp_path)) as client:
        for path in ("/v2/", f"/v2/{APP}/manifests/latest", "/v2/_catalog"):
            assert await status(client, path, basic(*RIGHT)) == 200

    assert {exchange.user for exchange in rig.exchanges} == {"user:alice"}


NO_PROOF = (
    "",
    "Basic",
    "Basic ",
    "Basic Og==",
    "Basic !!!!",
    "Basic YWxpY2U=",
    "Basic " + base64.b64encode(b"alice:wrong").decode(),
    "Basic " + base64.b64encode(b"alice:right ").decode(),
    "Basic " + base64.b64encode(b"alice:").decode(),
    "Basic " + base64.b64encode(b":right").decode(),
    "Bearer " + base64.b64encode(b"alice:right").decode(),
    base64.b64encode(b"alice:right").decode(),
    "Digest username=alice",
    "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
)


async def test_everything_else_is_no_proof(rig: Rig, tmp_path: Path) -> None:
    """Broken, empty and wrong headers get the challenge again."""
    async with guarded(rig, htpasswd_gate(rig.mirrors, tmp_path)) as client:
        for authorization in NO_PROOF:
            headers = {"Authorization": authorization}
            assert await status(client, f"/v2/{APP}/manifests/latest", headers) == 401
            assert await status(client, "/v2/", headers) == 401


VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PROPFIND")
ENDPOINTS = (
    "/v2/",
    "/v2/_catalog",
    "/v2/_catalog?n=1&last=a",
    f"/v2/{APP}/manifests/latest",
    f"/v2/{APP}/manifests/latest?ns=docker.io",
    f"/v2/docker.io/{APP}/manifests/latest",
    f"/docker.io/v2/{APP}/manifests/latest",
    "/docker.io/v2/",
    f"/v2/{APP}/tags/list",
    f"/v2/{APP}/referrers/sha256:{'0' * 64}",
    f"/v2/{APP}/blobs/sha256:{'0' * 64}",
    f"/v2/{APP}/blobs/uploads/",
    "/v2/app/manifests/latest?ns=nowhere.example",
    "/v2/docker.io/manifests/latest",
    "/v2/%6cibrary/app/manifests/latest",
    "/v2/library%2Fapp/manifests/latest",
    "/%76%32/library/app/manifests/latest",
)
ODD = (
    "/v2/library//app/manifests/latest",
    "//v2/library/app/manifests/latest",
    "/v2//library/app/manifests/latest",
    "/v2/./library/app/manifests/latest",
    "/v2/../v2/library/app/manifests/latest",
    "/v2/x/../library/app/manifests/latest",
    "/v2/library/app/manifests/latest/",
    "/v2/library/app/manifests/latest%00",
    "/v2/Library/app/manifests/latest",
    "/V2/library/app/manifests/latest",
    "/v2;x/library/app/manifests/latest",
    "/v2/library%252Fapp/manifests/latest",
    "/v2/library/app/manifests/%2e%2e/latest",
    "/nowhere/v2/library/app/manifests/latest",
)


async def test_no_detour_leads_around_the_gate(rig: Rig, tmp_path: Path) -> None:
    """Whatever reaches a handler was asked for credentials, by every verb and every spelling."""
    async with guarded(rig, htpasswd_gate(rig.mirrors, tmp_path)) as client:
        found = {
            (method, path): await status(client, path, method=method)
            for path in ENDPOINTS
            for method in VERBS
        }

    assert {case: answer for case, answer in found.items() if answer != 401} == {}


async def test_an_odd_path_gets_nothing(rig: Rig, tmp_path: Path) -> None:
    """What is no endpoint has no content, so it needs no credentials, and gives none away."""
    async with guarded(rig, htpasswd_gate(rig.mirrors, tmp_path)) as client:
        found = {
            (method, path): await status(client, path, method=method)
            for path in ODD
            for method in ("GET", "HEAD", "DELETE")
        }

    assert {case: answer for case, answer in found.items() if answer not in {400, 401, 404}} == {}


async def test_rules_name_upstream_s_repository_not_the_client_s_spelling(
    rig: Rig, tmp_path: Path
) -> None:
    """All ways to write a repository are one repository to the rules."""
    policy = Policy(
        (rule("allow", "user:alice", upstreams=("docker.io",), repositories=("library/other",)),)
    )
    async with guarded(rig, htpasswd_gate(rig.mirrors, tmp_path, policy)) as client:
        spellings = ("/v2/{}", "/v2/docker.io/{}", "/docker.io/v2/{}", "/v2/registry.example/{}")
        for spelling in spellings:
            for repository, expected in ((OTHER, 200), (APP, 403)):
                path = f"{spelling.format(repository)}/manifests/latest"
                for query in ("", "?ns=docker.io", "?ns=registry.example"):
                    assert await status(client, path + query, basic(*RIGHT)) == expected
                assert await status(client, path, basic("bob", "b")) == 403
                assert await status(client, path) == 401


async def test_the_catalog_tells_what_the_caller_may_pull(rig: Rig, tmp_path: Path) -> None:
    """Others' repositories are left out, on every page."""
    policy = Policy(
        (
            rule("allow", "user:alice"),
            rule("allow", "user:bob", repositories=("library/other",)),
        )
    )
    async with guarded(rig, htpasswd_gate(rig.mirrors, tmp_path, policy)) as client:
        for repository in (APP, OTHER):
            assert await status(client, f"/v2/{repository}/manifests/latest", basic(*RIGHT)) == 200
        for who, expected in ((RIGHT, [APP, OTHER]), (("bob", "b"), [OTHER])):
            async with client.get("/v2/_catalog", headers=basic(*who)) as response:
                assert await response.json() == {"repositories": expected}
        async with client.get("/v2/_catalog?n=1", headers=basic("bob", "b")) as response:
            assert await response.json() == {"repositories": [OTHER]}
            assert "Link" not in response.headers


async def test_refusals_say_who_and_what(rig: Rig, tmp_path: Path) -> None:
    """Docker shows the message of a 403; a known user is not challenged again."""
    policy = Policy((rule("allow", "user:alice", repositories=("library/other",)),))
    async with (
        guarded(rig, htpasswd_gate(rig.mirrors, tmp_path, policy)) as client,
        client.get(f"/v2/{APP}/manifests/latest", headers=basic(*RIGHT)) as response,
    ):
        assert response.status == 403
        assert "Www-Authenticate" not in response.headers
        (error,) = (await response.json())["errors"]
        assert error["code"] == "DENIED"
        assert (
            error["message"] == "this mirror does not let user:alice pull library/app of docker.io"
        )


async def test_networks_need_no_proof(rig: Rig, tmp_path: Path) -> None:
    """A rule for a network lets its clients pull without a challenge; others have to prove it."""
    policy = Policy((rule("allow", "everybody", networks=("127.0.0.0/8",)), *USERS.rules))
    async with guarded(rig, htpasswd_gate(rig.mirrors, tmp_path, policy)) as client:
        assert await status(client, "/v2/") == 200
        assert await status(client, f"/v2/{APP}/manifests/latest") == 200
        # Wrong credentials are never a visitor's card.
        assert await status(client, "/v2/", basic("alice", "wrong")) == 401


async def test_outside_the_networks_nothing_is_asked(rig: Rig, tmp_path: Path) -> None:
    """A client outside gets 403 without a challenge, right password or not."""
    policy = Policy(USERS.rules, allowed=Networks.parse(["10.0.0.0/8"]))
    async with guarded(rig, htpasswd_gate(rig.mirrors, tmp_path, policy)) as client:
        for headers in ({}, basic(*RIGHT), {**basic(*RIGHT), "X-Forwarded-For": "10.0.0.1"}):
            assert await status(client, f"/v2/{APP}/manifests/latest", headers) == 403
            assert await status(client, "/v2/", headers) == 403
        assert await status(client, "/") == 200


async def test_a_trusted_proxy_speaks_for_its_clients(rig: Rig) -> None:
    """X-Forwarded-For counts from a trusted proxy only."""
    policy = Policy((rule("allow", "everybody", networks=("10.0.0.0/8",)),))
    gate = Gate(policy, mirrors=rig.mirrors, trusted_proxies=Networks.parse(["127.0.0.1"]))
    async with guarded(rig, gate) as client:
        for forwarded, expected in (("10.0.0.1", 200), ("192.0.2.1, 10.0.0.1", 200)):
            headers = {"X-Forwarded-For": forwarded}
            assert await status(client, "/v2/", headers) == expected
        for forwarded in ("", "192.0.2.1", "10.0.0.1, 192.0.2.1", "10.0.0.1, junk"):
            assert await status(client, "/v2/", {"X-Forwarded-For": forwarded}) == 403


async def test_a_shared_header_opens(rig: Rig) -> None:
    """Its exact value, and no other; it is asked for by nobody's challenge."""
    gate = Gate(
        Policy((rule("allow", "header:ci"),)),
        mirrors=rig.mirrors,
        headers=(SharedHeader("X-Mirror-Key", Secret(KEY), "ci"),),
    )
    async with guarded(rig, gate) as client:
        path = f"/v2/{APP}/manifests/latest"
        assert await status(client, path, {"X-Mirror-Key": KEY}) == 200
        for wrong in ("", KEY[:-1], KEY + "0", KEY.upper(), f"{KEY},{KEY}"):
            assert await status(client, path, {"X-Mirror-Key": wrong}) == 403
        assert await status(client, path) == 403


async def test_silly_lets_in_whoever_says_anything(rig: Rig) -> None:
    """With distribution's Bearer challenge for who says nothing."""
    gate = Gate(USERS, mirrors=rig.mirrors, provider=SillyProvider(realm="r", service="s"))
    async with guarded(rig, gate) as client:
        path = f"/v2/{APP}/manifests/latest"
        assert await status(client, path, {"Authorization": "anything"}) == 200
        async with client.get(path) as response:
            challenge = 'Bearer realm="r",service="s",scope="repository:library/app:pull"'
            assert response.headers["Www-Authenticate"] == challenge
        async with client.get("/v2/") as response:
            assert response.headers["Www-Authenticate"] == 'Bearer realm="r",service="s"'


async def test_deleting_needs_an_admin(rig: Rig, tmp_path: Path) -> None:
    """The gate tells handlers whether a caller that wants to delete may."""
    policy = Policy(USERS.rules, admins=Principals.parse(["user:bob"]))
    gate = htpasswd_gate(rig.mirrors, tmp_path, policy)
    async with guarded(rig, gate) as client:
        path = f"/v2/{APP}/manifests/latest"
        assert await status(client, path, method="DELETE") == 401
        assert await status(client, path, basic(*RIGHT), method="DELETE") == 405
