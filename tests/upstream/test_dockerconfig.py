"""A registry is pulled from with the account that a credential file has for it."""

import base64
import json
import logging
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from roadstead.errors import UpstreamUnauthorizedError
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.secrecy import Secret
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.simulator.tokens import TokenService
from roadstead.simulator.wire import HttpRequest
from roadstead.upstream.credentials import Credentials, CredentialSource, StaticCredentials
from roadstead.upstream.dockerconfig import DockerConfigCredentials
from roadstead.upstream.sources import ChainedCredentials
from tests.support.clock import Clock
from tests.upstream.conftest import connect

APP = RepositoryName("library/app")
OTHER = RepositoryName("other/app")
LATEST = Tag("latest")
ALICE = Credentials("alice", Secret("pl4nted"))


def entry(user: str, password: str) -> dict[str, str]:
    """Write an account as Docker does."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def config(folder: Path, **sections: object) -> Path:
    """Write a config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(sections))
    return path


MakeHelper = Callable[[str, str], None]


@pytest.fixture
def make_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeHelper:
    """Provide a function that installs a helper; each notes what it is asked in ``calls``."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")

    def make(suffix: str, body: str) -> None:
        program = programs / f"docker-credential-{suffix}"
        note = f'echo "{suffix} $1 $server" >> {tmp_path}/calls'
        program.write_text(f"#!/bin/sh\nread server\n{note}\n{body}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return make


def calls(folder: Path) -> list[str]:
    """Read what the helpers noted."""
    path = folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


def answer(user: str, secret: str) -> str:
    """Write a helper's answer."""
    return f"""echo '{{"ServerURL": "", "Username": "{user}", "Secret": "{secret}"}}'"""


NONE = "echo 'credentials not found in native keychain'; exit 1"


async def test_the_own_helper_wins_over_the_store_and_the_store_over_the_file(
    tmp_path: Path, make_helper: MakeHelper
) -> None:
    """Each is asked, by the name that it knows, only if the one before it has none."""
    make_helper("own", NONE)
    make_helper("store", answer("bob", "s"))
    auths = {"quay.io": entry("alice", "pl4nted")}
    path = config(tmp_path, auths=auths, credHelpers={"quay.io": "own"}, credsStore="store")
    assert await DockerConfigCredentials(path, "https://quay.io").get(APP) == Credentials(
        "bob", Secret("s")
    )
    assert calls(tmp_path) == ["own get quay.io", "store get quay.io"]

    make_helper("store", NONE)
    assert await DockerConfigCredentials(path, "quay.io").get(APP) == ALICE

    make_helper("own", answer("carol", "s"))
    assert await DockerConfigCredentials(path, "quay.io").get(APP) == Credentials(
        "carol", Secret("s")
    )
    assert calls(tmp_path)[-1] == "own get quay.io"


async def test_a_helpers_answer_lasts_a_while_and_ends_with_its_entry(
    tmp_path: Path, make_helper: MakeHelper
) -> None:
    """A program is not started for each request, and not at all when the file drops it."""
    make_helper("own", answer("<token>", "refresh"))
    path = config(tmp_path, credHelpers={"quay.io": "own"})
    clock = Clock(now=0)
    source = DockerConfigCredentials(path, "quay.io", helper_lifetime_seconds=60, clock=clock)

    for _ in range(120):
        found = await source.get(APP)
        assert found is not None
        assert found.is_identity_token
        clock.advance(1)
    assert len(calls(tmp_path)) == 2

    config(tmp_path, auths={"quay.io": entry("alice", "pl4nted")})
    assert await source.get(APP) == ALICE


async def test_a_failing_helper_is_no_reason_to_take_another_account(
    tmp_path: Path, make_helper: MakeHelper
) -> None:
    """An outage of the right account is not hidden behind a lesser one."""
    make_helper("own", "echo pl4nted; exit 3")
    auths = {"quay.io": entry("alice", "pl4nted")}
    path = config(tmp_path, auths=auths, credHelpers={"quay.io": "own"})

    with pytest.raises(UpstreamUnauthorizedError, match="docker-credential-own ended") as caught:
        await DockerConfigCredentials(path, "quay.io").get(APP)

    assert "pl4nted" not in str(caught.value)


async def test_the_repository_chooses_the_account(
    registry: ScriptedRegistry, tmp_path: Path
) -> None:
    """In containers' auth.json a repository may have an account of its own."""
    registry.token_service(users={"alice": "pl4nted", "bob": "other"}, anonymous=False)
    auths = {
        registry.host: entry("alice", "pl4nted"),
        f"{registry.host}/other": entry("bob", "other"),
    }
    registry.add_image(APP, tag=LATEST)
    registry.add_image(OTHER, tag=LATEST)
    source = DockerConfigCredentials(config(tmp_path, auths=auths), registry.url)

    async with connect(registry.url, credentials=source) as upstream:
        await upstream.get_manifest(APP, LATEST)
        await upstream.get_manifest(OTHER, LATEST)

    accounts = [
        each.request.query["account"] for each in registry.requests if each.path == "/token"
    ]
    assert accounts == [["alice"], ["bob"]]


async def test_an_identity_token_is_exchanged(registry: ScriptedRegistry, tmp_path: Path) -> None:
    """It goes to the token server as a refresh token, by POST, and nowhere else."""
    service = registry.token_service(anonymous=False)
    service.identity_tokens = frozenset({"pl4nted"})
    image = registry.add_image(APP, tag=LATEST)
    auths = {registry.host: {**entry("00000000", ""), "identitytoken": "pl4nted"}}
    source = DockerConfigCredentials(config(tmp_path, auths=auths), registry.url)

    async with connect(registry.url, credentials=source) as upstream:
        assert (await upstream.get_manifest(APP, LATEST)).content == image.content

    carriers = [each for each in registry.requests if b"pl4nted" in each.request.body]
    assert [(each.method, each.path) for each in carriers] == [("POST", "/token")]
    assert not any("pl4nted" in str(each.headers) for each in registry.requests)


@pytest.mark.parametrize("good", [True, False])
async def test_a_ready_token_is_sent_as_it_is(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, tmp_path: Path, *, good: bool
) -> None:
    """The token server, which may be anybody's, is not asked, not even after a refusal."""
    service = TokenService(realm=elsewhere.realm)
    registry.require_bearer(service, at=elsewhere)
    image = registry.add_image(APP, tag=LATEST)
    wanted = {"service": [service.service], "scope": [f"repository:{APP}:pull"]}
    reply = service.answer(HttpRequest("GET", "/token", wanted, {}, b""))
    token = json.loads(reply.content.read(0, reply.length))["token"]
    if not good:
        service.revoke_all()
    path = config(tmp_path, auths={registry.host: {"registrytoken": token}})
    source = DockerConfigCredentials(path, registry.url)

    async with connect(registry.url, credentials=source) as upstream:
        if good:
            assert (await upstream.get_manifest(APP, LATEST)).content == image.content
        else:
            with pytest.raises(UpstreamUnauthorizedError) as caught:
                await upstream.get_manifest(APP, LATEST)
            assert token not in str(caught.value)

    assert registry.requests[-1].headers["authorization"] == f"Bearer {token}"
    assert elsewhere.requests == []


async def test_a_ready_token_is_no_password(registry: ScriptedRegistry, tmp_path: Path) -> None:
    """A registry that wants Basic is not sent a token in its place."""
    registry.require_basic("", "pl4nted")
    registry.add_image(APP, tag=LATEST)
    auths = {registry.host: {"registrytoken": "pl4nted"}}
    source = DockerConfigCredentials(config(tmp_path, auths=auths), registry.url)

    async with connect(registry.url, credentials=source) as upstream:
        with pytest.raises(UpstreamUnauthorizedError, match="a user name and a password"):
            await upstream.get_manifest(APP, LATEST)

    assert not any("authorization" in each.headers for each in registry.requests)


async def test_a_rotated_password_is_used_without_a_restart(
    registry: ScriptedRegistry, tmp_path: Path
) -> None:
    """When the file and the registry change, the next pull succeeds."""
    clock = Clock(now=0)
    registry.add_image(APP, tag=LATEST)
    registry.require_basic("alice", "first")
    path = config(tmp_path, auths={registry.host: entry("alice", "first")})
    source = DockerConfigCredentials(path, registry.url, clock=clock)

    async with connect(registry.url, credentials=source) as upstream:
        await upstream.get_manifest(APP, LATEST)
        registry.require_basic("alice", "second")
        config(tmp_path, auths={registry.host: entry("alice", "second")})
        clock.advance(1)
        await upstream.get_manifest(APP, LATEST)


async def test_an_account_for_another_registry_stays_at_home(
    registry: ScriptedRegistry, tmp_path: Path
) -> None:
    """A file with many accounts gives a registry its own only."""
    registry.require_basic("alice", "pl4nted")
    registry.add_image(APP, tag=LATEST)
    others = ("quay.io", "127.0.0.1", "127.0.0.1:1", f"{registry.host}.example")
    path = config(tmp_path, auths={key: entry("alice", "pl4nted") for key in others})

    async with connect(
        registry.url, credentials=DockerConfigCredentials(path, registry.url)
    ) as upstream:
        with pytest.raises(UpstreamUnauthorizedError):
            await upstream.get_manifest(APP, LATEST)

    assert not any("authorization" in each.headers for each in registry.requests)


@pytest.mark.parametrize("name", [".dockerconfigjson", ".dockercfg"])
async def test_a_mounted_pull_secret_is_found_in_its_directory(tmp_path: Path, name: str) -> None:
    """The mount point is enough, whichever kind of secret it is."""
    auths = {"https://index.docker.io/v1/": entry("alice", "pl4nted")}
    document = auths if name == ".dockercfg" else {"auths": auths}
    (tmp_path / name).write_text(json.dumps(document))

    source = DockerConfigCredentials(tmp_path, "https://registry-1.docker.io")

    assert await source.get(APP) == ALICE


async def test_an_unreadable_file_is_a_clear_error_without_its_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The message has the file and the reason; nobody is told what the file holds."""
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "config.json"
    path.write_text('{"auths": {"quay.io": {"auth": "pl4nted"')
    source = DockerConfigCredentials(path, "quay.io")

    with pytest.raises(UpstreamUnauthorizedError, match=f"{path} is no JSON") as caught:
        await source.get(APP)

    assert caught.value.upstream == "quay.io"
    assert "pl4nted" not in str(caught.value)
    assert "pl4nted" not in caplog.text
    assert "pl4nted" not in repr(vars(source))


class Failing:
    """A source that ought to have some."""

    async def get(self, _repository: RepositoryName) -> Credentials | None:
        """Fail."""
        message = "out of order"
        raise UpstreamUnauthorizedError(message, upstream="host")


async def test_of_several_sources_the_first_that_has_some_counts() -> None:
    """None leads on to the next, a failure does not."""
    nobody = StaticCredentials()
    sources: list[CredentialSource] = [nobody, StaticCredentials(ALICE), Failing()]

    assert await ChainedCredentials(sources).get(APP) == ALICE
    assert await ChainedCredentials([nobody, nobody]).get(APP) is None
    assert await ChainedCredentials([]).get(APP) is None
    with pytest.raises(UpstreamUnauthorizedError):
        await ChainedCredentials([Failing(), *sources]).get(APP)
