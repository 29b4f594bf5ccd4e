"""Who is asked for what, word for word as by the stock registry, versions 2.8.2 and 3."""

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import bcrypt
import pytest

from tests.support.dockerregistry import BINARY, BINARY_3, start_docker_registry
from tests.support.roadstead_process import start_roadstead
from tests.support.tokenserver import ISSUER, SERVICE, Account, start_token_server

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

DIGEST = f"sha256:{'0' * 64}"
REQUESTS = (
    ("GET", "/"),
    ("GET", "/v2/"),
    ("HEAD", "/v2/"),
    ("GET", "/v2/_catalog"),
    ("GET", "/v2/library/app/manifests/latest"),
    ("HEAD", "/v2/library/app/manifests/latest"),
    ("DELETE", f"/v2/library/app/manifests/{DIGEST}"),
    ("PUT", "/v2/library/app/manifests/latest"),
    ("GET", "/v2/library/app/tags/list"),
    ("GET", f"/v2/library/app/blobs/{DIGEST}"),
    ("HEAD", f"/v2/library/app/blobs/{DIGEST}"),
    ("POST", "/v2/library/app/blobs/uploads/"),
    ("GET", "/v2/nothing"),
)


def basic(user: str, password: str) -> str:
    """Write an Authorization header."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


AUTHORIZATIONS = (
    "",
    basic("alice", "right"),
    basic("alice", "wrong"),
    basic("bob", "right"),
    "Basic !!",
    "Basic",
    "Bearer",
    "Bearer junk",
    "Bearer a.b.c",
)


@contextmanager
def provider(name: str, folder: Path) -> Iterator[dict[str, Mapping[str, str]]]:
    """Give the ``auth`` section of one provider, with what it needs at hand."""
    match name:
        case "htpasswd":
            hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(5)).decode()
            (folder / "htpasswd").write_text(f"alice:{hashed}\n")
            yield {"htpasswd": {"realm": 'the "mirror"', "path": str(folder / "htpasswd")}}
        case "token":
            accounts = {"alice": Account("right", frozenset({"pull"}))}
            with start_token_server(folder, accounts) as server:
                assert (
                    server.registry_auth["token"]["issuer"],
                    server.registry_auth["token"]["service"],
                ) == (ISSUER, SERVICE)
                yield dict(server.registry_auth)
        case _:
            yield {"silly": {"realm": "https://auth.example/token", "service": "mirror"}}


def answer(url: str, method: str, path: str, authorization: str) -> tuple[object, ...]:
    """Ask; of a refusal return all that matters, of any other answer only that it is one."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=20)
    headers = {"Authorization": authorization} if authorization else {}
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    if response.status != 401:
        return ("admitted",)
    said = json.loads(body) if body else None
    header = {name.lower(): value for name, value in response.getheaders()}
    # Go's maps have no order, so neither have the actions of a scope.
    return (
        401,
        header.get("www-authenticate", "").replace("push,pull", "pull,push"),
        header.get("docker-distribution-api-version"),
        said,
    )


@pytest.mark.parametrize("name", ["htpasswd", "token", "silly"])
@pytest.mark.parametrize("binary", [BINARY, BINARY_3])
def test_refusals_are_those_of_the_stock_registry(tmp_path: Path, name: str, binary: str) -> None:
    """For every verb and path, with nothing, right and wrong credentials."""
    with (
        provider(name, tmp_path) as auth,
        start_docker_registry(tmp_path / "stock", binary=binary, auth=auth) as stock,
        start_roadstead(
            {
                "auth": auth,
                "storage": {"filesystem": {"rootdirectory": str(tmp_path / "ours")}},
                "mirror": {"offline": True},
            }
        ) as mirror,
    ):
        different = {
            (method, path, authorization): (theirs, ours)
            for method, path in REQUESTS
            for authorization in AUTHORIZATIONS
            if (theirs := answer(stock, method, path, authorization))
            != (ours := answer(mirror.url, method, path, authorization))
        }

    assert different == {}
