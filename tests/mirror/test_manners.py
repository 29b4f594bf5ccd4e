"""A whole pull through the mirror from every registry that people mirror.

Source: facts/protocol.md, section 3; the manners are those of ``roadstead.simulator.manners``.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from roadstead.secrecy import Secret
from roadstead.simulator.client import Pull, PullingClient
from roadstead.simulator.content import SimulatedIndex
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.habits import PullLimit
from roadstead.simulator.manners import MANNERS, open_stage
from roadstead.simulator.stage import Account, Role, Stage
from roadstead.upstream.credentials import Credentials, StaticCredentials
from tests.support.rig import APP, OTHER, Rig, make_rig, serving

SIGNATURE_LAYER = b"a signature"

# Requests upstream, over all hosts, of one cold pull of an index of two platforms: the tag (HEAD
# and GET), two manifests, two configs, two layers; and what each registry makes more of that.
ANSWERS = 8
CHALLENGE, TOKEN, BLOB_REDIRECTS = 1, 1, 4
COLD = {
    "plain": ANSWERS,
    "docker-hub": ANSWERS + CHALLENGE + TOKEN + BLOB_REDIRECTS,
    "ghcr": ANSWERS + CHALLENGE + TOKEN + BLOB_REDIRECTS,
    "quay": ANSWERS + CHALLENGE + TOKEN + BLOB_REDIRECTS,
    # The challenge is on /v2/ only.
    "gcr": ANSWERS + CHALLENGE + 1 + TOKEN + BLOB_REDIRECTS,
    # Three manifests are redirected too. HEAD tells nothing, so the tag is asked for by GET.
    "k8s": ANSWERS + 3 + BLOB_REDIRECTS,
    "mcr": ANSWERS + BLOB_REDIRECTS,
    "ecr-public": ANSWERS + CHALLENGE + TOKEN + BLOB_REDIRECTS,
    "ecr": ANSWERS + CHALLENGE + BLOB_REDIRECTS,
    "acr": ANSWERS + CHALLENGE + TOKEN + BLOB_REDIRECTS,
    "gitlab": ANSWERS + CHALLENGE + TOKEN + BLOB_REDIRECTS,
    "lscr": ANSWERS + CHALLENGE + TOKEN + BLOB_REDIRECTS,
    "nvcr": ANSWERS + CHALLENGE + TOKEN + BLOB_REDIRECTS,
    "redhat": ANSWERS + BLOB_REDIRECTS,
    "istio": ANSWERS,
    "harbor": ANSWERS + CHALLENGE + TOKEN,
    "cloudsmith": ANSWERS + CHALLENGE + TOKEN + BLOB_REDIRECTS,
}
# Where revalidation of a tag needs more than a HEAD: no digest comes with it.
REVALIDATION = {"k8s": 3, "ecr": 2}


@dataclass
class Scene:
    """A registry, the mirror in front of it, and clients of that."""

    stage: Stage
    rig: Rig
    puller: PullingClient
    http: ClientSession

    async def pull(self, reference: str = "latest") -> Pull:
        """Pull every platform of the application through the mirror."""
        return await self.puller.pull(APP, reference, platform=None)

    async def get(self, path: str) -> tuple[int, Any]:
        """Ask the mirror for a JSON document."""
        async with self.http.get(f"/v2/{APP}/{path}") as answer:
            return answer.status, await answer.json(content_type=None)

    def forget(self) -> None:
        """Forget the requests so far."""
        for host in self.stage.hosts:
            host.requests.clear()


@asynccontextmanager
async def scene(
    root: Path,
    name: str,
    *,
    trusts: bool = True,
    **options: Any,  # noqa: ANN401 - passed on as given
) -> AsyncIterator[Scene]:
    """Set up a registry of those manners behind a mirror; ``trusts`` its token server."""
    async with open_stage(MANNERS[name], **options) as stage:
        account = stage.account
        credentials = None
        if account is not None:
            credentials = Credentials(account.user, Secret(account.password))
        realms = stage.trusted_realms if trusts else frozenset()
        async with (
            make_rig(
                root,
                upstream=stage.registry,
                credentials=StaticCredentials(credentials),
                trusted_realms=realms,
            ) as rig,
            serving(rig),
            PullingClient(rig.url) as puller,
            ClientSession(rig.url) as http,
        ):
            yield Scene(stage, rig, puller, http)


def fill(stage: Stage) -> SimulatedIndex:
    """Put an image of two platforms on the shelf."""
    return stage.registry.add_index(APP, tag="latest")


def sign(stage: Stage, index: SimulatedIndex) -> str:
    """Attach a signature to the image; return its digest."""
    image = stage.registry.add_image(APP, layers=[SIGNATURE_LAYER], subject=index.descriptor)
    return str(image.manifest_digest)


def assert_discreet(stage: Stage) -> None:
    """No host but the registry and its token server has seen Authorization."""
    trusted = {stage.registry.url, *(f"http://{host}" for host in stage.trusted_realms)}
    told = [
        record.path
        for host in stage.hosts
        for record in host.requests
        if host.url not in trusted and "authorization" in record.headers
    ]
    assert told == []


@pytest.mark.parametrize("name", MANNERS)
async def test_a_cold_pull_costs_what_it_must(tmp_path: Path, name: str) -> None:
    """Every byte is right, nothing is asked for twice, and no credential strays."""
    async with scene(tmp_path, name) as at:
        index = fill(at.stage)

        pull = await at.pull()

        assert pull.failure == ""
        assert (pull.digest, pull.blobs) == (str(index.manifest_digest), 4)
        assert len(at.stage.requests) == COLD[name]
        assert_discreet(at.stage)


@pytest.mark.parametrize("name", MANNERS)
async def test_a_warm_pull_costs_nothing_or_one_question(tmp_path: Path, name: str) -> None:
    """While the tag is fresh upstream hears nothing, afterwards as little as it allows."""
    async with scene(tmp_path, name) as at:
        fill(at.stage)
        await at.pull()
        at.forget()

        fresh = await at.pull()
        while_fresh = len(at.stage.requests)
        at.rig.clock.advance(61)
        later = await at.pull()

        assert (fresh.failure, later.failure) == ("", "")
        assert while_fresh == 0
        assert len(at.stage.requests) == REVALIDATION.get(name, 1)
        assert at.stage.registry.count(kind=RequestKind.BLOB) == 0


@pytest.mark.parametrize("name", MANNERS)
async def test_tags_are_listed(tmp_path: Path, name: str) -> None:
    """Upstream's list, or what is held where upstream has none (mcr.microsoft.com)."""
    async with scene(tmp_path, name) as at:
        fill(at.stage)
        await at.pull()

        assert await at.get("tags/list") == (200, {"name": APP, "tags": ["latest"]})
        assert_discreet(at.stage)


@pytest.mark.parametrize("name", MANNERS)
async def test_referrers_are_listed(tmp_path: Path, name: str) -> None:
    """Upstream's list, or an empty one where upstream has no such API; asked for twice."""
    async with scene(tmp_path, name) as at:
        index = fill(at.stage)
        signature = sign(at.stage, index)
        expected = [] if name in {"ghcr", "gitlab"} else [signature]

        for _ in range(2):
            status, document = await at.get(f"referrers/{index.manifest_digest}")
            at.rig.clock.advance(3600)

            assert status == HTTPStatus.OK
            assert [entry["digest"] for entry in document["manifests"]] == expected
        assert_discreet(at.stage)


@pytest.mark.parametrize("name", MANNERS)
async def test_a_head_of_a_blob_that_is_not_held_tells_its_size(tmp_path: Path, name: str) -> None:
    """Whatever upstream does to HEAD of a blob, clients get an answer with a length."""
    async with scene(tmp_path, name) as at:
        index = fill(at.stage)
        layer = index.images[0].layers[0]

        async with at.http.head(f"/v2/{APP}/blobs/{layer.digest}") as answer:
            assert answer.status == HTTPStatus.OK
            assert answer.headers["Content-Length"] == str(layer.descriptor.size)
        assert_discreet(at.stage)


@pytest.mark.parametrize("name", MANNERS)
async def test_an_unknown_repository_is_said_to_be_unknown_or_denied(
    tmp_path: Path, name: str
) -> None:
    """404, or 403 where upstream does not tell what is private from what is not there."""
    async with scene(tmp_path, name) as at:
        fill(at.stage)

        async with at.http.get(f"/v2/{OTHER}/manifests/latest") as answer:
            document = await answer.json()

        denies = at.stage.registry.authentication is not None and name not in {"ecr", "ecr-public"}
        assert answer.status == (HTTPStatus.FORBIDDEN if denies else HTTPStatus.NOT_FOUND)
        assert document["errors"][0]["code"] == ("DENIED" if denies else "MANIFEST_UNKNOWN")


async def test_a_web_page_in_place_of_referrers_is_not_even_asked_for(tmp_path: Path) -> None:
    """ghcr.io redirects to a site that soon answers 429, which must not reach a client."""
    async with scene(tmp_path, "ghcr") as at:
        index = fill(at.stage)

        status, document = await at.get(f"referrers/{index.manifest_digest}")

        assert (status, document["manifests"]) == (HTTPStatus.OK, [])
        assert at.stage.others[Role.WEB].requests == []


async def test_heads_are_free_on_docker_hub(tmp_path: Path) -> None:
    """A limit of five: two hundred warm pulls and two hours of revalidation cost two pulls."""
    async with scene(tmp_path, "docker-hub", limit=5) as at:
        fill(at.stage)
        await at.puller.pull(APP, "latest")

        for _ in range(100):
            at.rig.clock.advance(61)
            assert (await at.puller.pull(APP, "latest")).failure == ""
            assert (await at.puller.pull(APP, "latest")).failure == ""

        assert at.stage.pull_limit is not None
        assert at.stage.pull_limit.used == 2


async def test_beyond_docker_hubs_limit_what_is_held_is_served(tmp_path: Path) -> None:
    """The limit concerns what is not held: a clear 429 with Docker Hub's own words."""
    async with scene(tmp_path, "docker-hub", limit=2, retry_after_seconds=3600) as at:
        fill(at.stage)
        at.stage.registry.add_image(OTHER, tag="latest")
        assert (await at.puller.pull(APP, "latest")).failure == ""
        at.rig.clock.advance(3600)

        held = await at.puller.pull(APP, "latest")
        async with at.http.get(f"/v2/{OTHER}/manifests/latest") as answer:
            document = await answer.json()

        assert held.failure == ""
        assert answer.status == HTTPStatus.TOO_MANY_REQUESTS
        assert int(answer.headers["Retry-After"]) <= 5
        assert document["errors"][0]["code"] == "TOOMANYREQUESTS"
        assert "pull rate limit" in document["errors"][0]["message"]


@pytest.mark.parametrize("name", ["docker-hub", "gitlab", "lscr"])
async def test_a_realm_that_is_not_trusted_gets_nothing(tmp_path: Path, name: str) -> None:
    """Without the operator's word a token server elsewhere is not even connected to."""
    account = Account("alice", "s3cret")
    async with scene(tmp_path, name, trusts=False, account=account) as at:
        fill(at.stage)

        async with at.http.get(f"/v2/{APP}/manifests/latest") as answer:
            text = await answer.text()

        assert answer.status == HTTPStatus.FORBIDDEN
        assert "not listed as trusted" in text
        assert at.stage.others[Role.TOKENS].requests == []


async def test_an_expired_token_is_not_renewed_at_a_strangers(tmp_path: Path) -> None:
    """nvcr.io sends an expired token to another realm: the first realm is asked again."""
    async with scene(tmp_path, "nvcr") as at:
        fill(at.stage)
        await at.pull()
        tokens = at.stage.registry.tokens
        assert tokens is not None
        tokens.revoke_all()
        at.rig.clock.advance(61)
        at.forget()

        pull = await at.pull()

        assert (pull.failure, pull.warnings) == ("", [])
        assert at.stage.others[Role.STRANGER].requests == []
        assert at.stage.registry.count(kind=RequestKind.TOKEN) == 1


@pytest.mark.parametrize("name", ["docker-hub", "ghcr", "quay", "gcr", "gitlab", "cloudsmith"])
async def test_an_accounts_password_goes_to_its_token_server_only(
    tmp_path: Path, name: str
) -> None:
    """With an account the registry sees tokens, and no other host anything."""
    async with scene(tmp_path, name, account=Account("alice", "s3cret")) as at:
        fill(at.stage)

        pull = await at.pull()

        assert pull.failure == ""
        basic = [r for r in at.stage.requests if r.headers.get("authorization", "")[:6] == "Basic "]
        assert {record.kind for record in basic} == {RequestKind.TOKEN}
        assert_discreet(at.stage)


async def test_a_signature_outside_its_region_is_unknown(tmp_path: Path) -> None:
    """registry.k8s.io's regions resolve tags of signatures that they do not have: a plain 404."""
    async with scene(tmp_path, "k8s") as at:
        index = fill(at.stage)
        tag = f"sha256-{index.manifest_digest.encoded}.sig"
        at.stage.registry.add_image(APP, tag=tag, layers=[SIGNATURE_LAYER])

        async with at.http.get(f"/v2/{APP}/manifests/{tag}") as answer:
            assert answer.status == HTTPStatus.NOT_FOUND


async def test_the_limit_is_a_rolling_window() -> None:
    """Each pull counts for six hours, and what is left is told on HEAD and GET alike."""
    now = 0.0
    limit = PullLimit(limit=2, window_seconds=100, clock=lambda: now)
    async with open_stage(MANNERS["plain"]) as stage, ClientSession(stage.registry.url) as http:
        stage.registry.add_image(APP, tag="latest")
        stage.registry.inject(limit)
        seen = []
        for method, now in (("HEAD", 0), ("GET", 1), ("GET", 50), ("GET", 60), ("GET", 102)):  # noqa: B007 - the clock reads it
            async with http.request(method, f"/v2/{APP}/manifests/latest") as answer:
                seen.append((answer.status, answer.headers.get("ratelimit-remaining")))

    assert seen == [
        (200, "2;w=100"),
        (200, "1;w=100"),
        (200, "0;w=100"),
        (429, None),
        (200, "0;w=100"),
    ]
