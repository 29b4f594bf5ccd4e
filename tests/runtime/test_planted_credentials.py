"""Credentials planted everywhere come out nowhere: logs, metrics, pages, answers, files.

Each has a mark of its own, so that a failure says which way it took.
"""

import base64
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import bcrypt
import pytest
from aiohttp import ClientSession
from typer.testing import CliRunner
from yarl import URL

from roadstead.cli.main import app as command_line
from roadstead.config.load import load
from roadstead.runtime import Running, running
from roadstead.simulator.faults import Headers, RequestKind, Status
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import debug_url_of, url_of
from tests.support.rig import APP
from tests.support.tokenserver import Account, start_token_server

UPSTREAM = "pl4nt-upstream-p4ss"
IN_URL = "pl4nt-url-p4ss"
ACCOUNT = "pl4nt-account-p4ss"
HEADER = "pl4nt-shared-header-0123456789"
USER = "pl4nt-user-p4ss"
WRONG = "pl4nt-wrong-p4ss"
BEARER = "pl4nt.bearer.t0ken"
COOKIE = "pl4nt-cookie"
QUERY = "pl4nt-query-t0ken"
RESPONSE = "pl4nt-response-header"


def basic(user: str, password: str) -> str:
    """Write an Authorization header."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def forms(secret: str) -> list[str]:
    """Write a secret in every form in which it may turn up."""
    pairs = [f"{user}:{secret}".encode() for user in ("mirror", "alice", "in-url", "other", "")]
    return [
        secret,
        quote(secret, safe=""),
        secret.encode().hex(),
        base64.b64encode(secret.encode()).decode().rstrip("="),
        *(base64.b64encode(pair).decode().rstrip("=") for pair in pairs),
    ]


def write_configuration(folder: Path, upstream: ScriptedRegistry) -> tuple[Path, list[str]]:
    """Write configuration and password file; return the former and what must not come out."""
    hashed = bcrypt.hashpw(USER.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text(f"alice:{hashed}\n")
    document = {
        "version": 0.1,
        "log": {"level": "debug", "fields": {"password": WRONG, "service": "mirror"}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {
            "addr": "127.0.0.1:0",
            "debug": {"addr": "127.0.0.1:0", "prometheus": {"enabled": True}},
        },
        "auth": {"htpasswd": {"realm": "mirror", "path": str(folder / "htpasswd")}},
        "access": {"headers": [{"name": "X-Mirror-Key", "secret": HEADER, "identity": "ci"}]},
        "proxy": {
            "remoteurl": upstream.url,
            "username": "mirror",
            "password": UPSTREAM,
            "tagttl": "0s",
        },
        "upstreams": {
            "url.example": {"remoteurl": upstream.url.replace("://", f"://in-url:{IN_URL}@")},
            "accounts.example": {
                "remoteurl": "http://127.0.0.1:9",
                "accounts": [{"username": "other", "password": ACCOUNT}],
            },
        },
    }
    path = folder / "config.yml"
    path.write_text(json.dumps(document))
    secrets = (
        UPSTREAM,
        IN_URL,
        ACCOUNT,
        HEADER,
        USER,
        WRONG,
        BEARER,
        COOKIE,
        QUERY,
        RESPONSE,
    )
    return path, [hashed, *(form for secret in secrets for form in forms(secret))]


CREDENTIALS: tuple[Mapping[str, str], ...] = (
    {},
    {"Authorization": basic("alice", USER)},
    {"Authorization": basic("alice", WRONG)},
    {"Authorization": f"Bearer {BEARER}"},
    {"Authorization": f"Digest {WRONG}"},
    {"Authorization": basic("alice", USER), "Proxy-Authorization": basic("alice", WRONG)},
    {"X-Mirror-Key": HEADER},
    {"X-Mirror-Key": f"{HEADER}{WRONG}"},
    {"Cookie": f"session={COOKIE}", "Authorization": basic("alice", USER)},
    {"X-Registry-Auth": BEARER, "X-Mirror-Key": HEADER},
    {"User-Agent": f"https://alice:{WRONG}@x/", "Referer": f"https://x/?token={QUERY}"},
)
PATHS = (
    "/v2/",
    "/v2/_catalog",
    f"/v2/{APP}/manifests/latest",
    f"/v2/{APP}/manifests/latest?token={QUERY}&X-Amz-Signature={QUERY}",
    f"/v2/{APP}/manifests/nothing",
    f"/v2/{APP}/blobs/sha256:{'0' * 64}?access_token={QUERY}",
    f"/v2/url.example/{APP}/manifests/latest",
    f"/v2/accounts.example/{APP}/manifests/latest",
    f"/v2/{APP}/manifests/latest?ns=https://alice:{QUERY}@x/",
    f"/v2/{APP}/tags/list?n=1",
)


async def ask_everything(client: ClientSession, mirror: Running) -> list[str]:
    """Ask for everything with everything; return all that comes back, with its headers."""
    told = []
    for headers in CREDENTIALS:
        for path in PATHS:
            for method in ("GET", "HEAD", "DELETE"):
                url = URL(f"{url_of(mirror)}{path}", encoded=True)
                async with client.request(method, url, headers=headers) as response:
                    # Links to a next page repeat what the client itself wrote into its query.
                    said = {k: v for k, v in response.headers.items() if k != "Link"}
                    told.append(f"{response.status} {said} {await response.text()}")
    for path in ("health", "vars", "status", f"explain?reference={APP}:latest"):
        async with client.get(f"{debug_url_of(mirror)}/debug/{path}") as response:
            told.append(await response.text())
    for path in ("metrics", "readyz", "livez"):
        async with client.get(f"{debug_url_of(mirror)}/{path}") as response:
            told.append(await response.text())
    async with client.post(
        f"{debug_url_of(mirror)}/debug/anything",
        headers={"Authorization": basic("alice", WRONG), "Host": "elsewhere"},
    ) as response:
        told.append(await response.text())
    return told


def found(secrets: list[str], told: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return which secret turned up where."""
    return [
        (where, text[max(0, text.index(secret) - 200) :][:400])
        for where, text in told.items()
        for secret in secrets
        if secret in text
    ]


async def test_nothing_planted_comes_out(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    client: ClientSession,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Whatever is asked and however it fails, and whether upstream behaves or not."""
    upstream.add_image(APP, tag="latest")
    upstream.token_service(users={"mirror": UPSTREAM, "in-url": IN_URL})
    spoiled = Headers({"Set-Cookie": f"a={RESPONSE}", "X-Auth-Token": RESPONSE})
    upstream.inject(spoiled, kind=RequestKind.MANIFEST)
    path, secrets = write_configuration(tmp_path, upstream)

    async with running(load(path, {})) as mirror:
        told = {"answers": "\n".join(await ask_everything(client, mirror))}
        upstream.inject(Status(401, headers={"WWW-Authenticate": f'Basic realm="{RESPONSE}"'}))
        told["answers to trouble"] = "\n".join(await ask_everything(client, mirror))
    captured = capfd.readouterr()
    told |= {"stdout": captured.out, "stderr": captured.err}
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            told[str(file)] = file.read_bytes().decode("latin-1")

    assert "response completed" in captured.err
    assert "auth.user.name" in captured.err
    assert found(secrets, told) == []


@pytest.mark.parametrize("arguments", [("config", "check"), ("config", "check", "--json")])
def test_config_check_shows_no_secret(
    tmp_path: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those of the file nor those of the environment, right or in the wrong place."""
    monkeypatch.setenv("REGISTRY_UPSTREAMS_OTHER_PASSWORD", ACCOUNT)
    monkeypatch.setenv("REGISTRY_ACCESS_HEADERS_0_SECRET", HEADER)
    path, secrets = write_configuration(tmp_path, ScriptedRegistryAddress())

    for spoil in ("", f'"password": "{WRONG}", ', f'"access": "{WRONG}:{WRONG}@x", '):
        text = path.read_text()
        path.write_text(text.replace("{", "{" + spoil, 1))
        result = CliRunner().invoke(command_line, [*arguments, str(path)])
        path.write_text(text)
        assert result.output
        if "access" not in spoil:
            assert found(secrets, {"output": result.output}) == []


class ScriptedRegistryAddress(ScriptedRegistry):
    """An upstream that nobody asks."""

    @property
    def url(self) -> str:
        """Give an address."""
        return "http://127.0.0.1:9"


async def test_tokens_are_not_told(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    client: ClientSession,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither one that is right nor one that is not."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    upstream.add_image(APP, tag="latest")
    accounts = {"alice": Account(USER, frozenset({"pull"}))}
    with start_token_server(tmp_path, accounts) as server:
        environ = {
            "REGISTRY_PROXY_REMOTEURL": upstream.url,
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(tmp_path / "data"),
            "REGISTRY_HTTP_ADDR": "127.0.0.1:0",
            "REGISTRY_LOG_LEVEL": "debug",
            "REGISTRY_AUTH": json.dumps(server.registry_auth),
        }
        async with client.get(
            f"{server.realm}?service=x&scope=repository:{APP}:pull",
            headers={"Authorization": basic("alice", USER)},
        ) as response:
            token = (await response.json())["token"]
        told = []
        async with running(load(None, environ)) as mirror:
            for shown in (token, token[:-9], BEARER):
                for method in ("GET", "HEAD", "DELETE"):
                    async with client.request(
                        method,
                        f"{url_of(mirror)}/v2/{APP}/manifests/latest",
                        headers={"Authorization": f"Bearer {shown}"},
                    ) as response:
                        told.append(f"{response.headers} {await response.text()}")
    captured = capfd.readouterr()

    places = {"answers": "\n".join(told), "stdout": captured.out, "stderr": captured.err}
    assert found([token, *token.split(".")[1:], BEARER], places) == []
