"""Which credentials go to which endpoint: never any to a host that they are not for."""

import base64
import json
from pathlib import Path

import pytest

from roadstead.config.load import load
from roadstead.oci.reference import RepositoryName
from roadstead.runtime.plan import plan_upstreams
from roadstead.runtime.upstreams import _accounts

NAME = RepositoryName("org/app")
NEAR = "https://near.example.com"
ORIGIN = "https://origin.example.com"


async def accounts(tmp_path: Path, text: str, url: str) -> list[tuple[str, str | None]]:
    """Give the accounts for one endpoint: shown name and password."""
    path = tmp_path / "config.yml"
    path.write_text(
        "version: 0.1\nstorage: {filesystem: {rootdirectory: /data}}\n"
        f"proxy:\n  remoteurl: {ORIGIN}\n  endpoints: [{NEAR}, {ORIGIN}]\n{text}"
    )
    (default, *_) = plan_upstreams(load(path, {}).settings)
    found = []
    for name, source in _accounts(default, url):
        credentials = await source.get(NAME)
        found.append((name, credentials.password.reveal() if credentials else None))
    return found


@pytest.mark.parametrize(
    ("url", "expected"), [(ORIGIN, [("me", "hunter2")]), (NEAR, [("anonymous", None)])]
)
async def test_an_account_is_for_the_host_of_remoteurl(
    tmp_path: Path, url: str, expected: list[tuple[str, str | None]]
) -> None:
    """A nearer mirror is another host, and is asked without the origin's password."""
    text = "  username: me\n  password: hunter2\n"

    assert await accounts(tmp_path, text, url) == expected


async def test_several_accounts_make_a_pool(tmp_path: Path) -> None:
    """All of them are used at the origin."""
    text = "  accounts: [{username: a, password: one}, {username: b, password: two}]\n"

    assert await accounts(tmp_path, text, ORIGIN) == [("a", "one"), ("b", "two")]


async def test_a_credentials_file_is_asked_for_each_host(tmp_path: Path) -> None:
    """What the file has for a host goes there, and nowhere else."""
    entry = {"auth": base64.b64encode(b"near:secret").decode()}
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"auths": {"near.example.com": entry}}))
    text = f"  credentialsfile: {file}\n"

    assert await accounts(tmp_path, text, NEAR) == [("credentialsfile", "secret")]
    assert await accounts(tmp_path, text, ORIGIN) == [("credentialsfile", None)]
