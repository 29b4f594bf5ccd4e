"""Behind the real nginx, with the configuration of examples/nginx: it sends what is held."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.runtime import Running
from roadstead.simulator.content import SimulatedBlob
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.telemetry.events import Kind
from tests.runtime.started import started, url_of
from tests.support.rig import APP
from tests.support.roadstead_process import free_port

_EXAMPLE = Path(__file__).parents[2] / "examples/nginx/roadstead.conf"
_NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
_MAIN = """
daemon off; pid nginx.pid; error_log error.log;
{user}
events {{}}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  include {example};
}}
"""
CONTENT = bytes(range(256)) * 4096  # 1 MiB

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(_NGINX is None, reason="nginx is not installed"),
]


@contextmanager
def nginx(directory: Path, *, port: int, upstream_port: int | None, store: Path) -> Iterator[str]:
    """Run the example with other ports and another store; give its address."""
    text = _EXAMPLE.read_text(encoding="utf-8")
    for given, wanted in (
        ("listen 5000;", f"listen 127.0.0.1:{port};"),
        ("127.0.0.1:5001", f"127.0.0.1:{upstream_port}"),
        ("/var/lib/registry/", f"{store}/"),
    ):
        assert given in text
        text = text.replace(given, wanted)
    (directory / "roadstead.conf").write_text(text, encoding="utf-8")
    user = "user root;" if os.geteuid() == 0 else ""
    main = _MAIN.format(user=user, example=directory / "roadstead.conf")
    (directory / "nginx.conf").write_text(main, encoding="utf-8")
    command = [str(_NGINX), "-p", str(directory), "-e", "error.log", "-c", "nginx.conf"]
    subprocess.run([*command, "-t", "-q"], check=True)
    with subprocess.Popen(command) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@asynccontextmanager
async def behind_nginx(upstream: ScriptedRegistry, tmp_path: Path) -> AsyncIterator[Running]:
    """Run a mirror for nginx."""
    store = tmp_path / "store"
    async with started(upstream, store, REGISTRY_HTTP_ACCELREDIRECT="/held/") as mirror:
        yield mirror


@pytest.fixture
async def mirror(upstream: ScriptedRegistry, tmp_path: Path) -> AsyncIterator[Running]:
    """Give a mirror for nginx."""
    async with behind_nginx(upstream, tmp_path) as made:
        yield made


@pytest.fixture
def front(mirror: Running, tmp_path: Path) -> Iterator[str]:
    """Give the address of an nginx in front of it."""
    (tmp_path / "nginx").mkdir()
    port = free_port()
    with nginx(
        tmp_path / "nginx", port=port, upstream_port=mirror.port, store=tmp_path / "store"
    ) as url:
        yield url


@pytest.fixture
def blob(upstream: ScriptedRegistry) -> SimulatedBlob:
    """Give a blob that upstream has."""
    return upstream.add_blob(APP, CONTENT)


@pytest.fixture
async def held(front: str, blob: SimulatedBlob, client: ClientSession) -> str:
    """Give the path of a blob after it was pulled once, through nginx, while it was not held."""
    path = f"/v2/{APP}/blobs/{blob.digest}"
    async with client.get(f"{await answering(client, front)}{path}") as response:
        assert await response.read() == CONTENT
        assert response.headers["X-Roadstead-Outcome"] == "miss"
    return path


async def answering(client: ClientSession, url: str) -> str:
    """Wait until nginx listens; return the address."""
    while True:
        try:
            async with client.get(f"{url}/v2/") as response:
                assert response.status == 200
                return url
        except OSError:
            continue


async def test_held_blob_is_sent_by_nginx(
    mirror: Running, front: str, held: str, blob: SimulatedBlob, client: ClientSession
) -> None:
    """The client gets all of it with the headers it knows, and Roadstead sends none of it."""
    await becomes_held(client, f"{url_of(mirror)}{held}")
    before = mirror.metrics.proxy_totals(Kind.BLOB)
    answers = []
    for _ in range(3):
        async with client.get(f"{front}{held}") as response:
            assert await response.read() == CONTENT
            answers.append(response.headers)
    headers = answers[-1]
    after = mirror.metrics.proxy_totals(Kind.BLOB)

    assert headers["Server"].startswith("nginx")
    assert headers["Docker-Content-Digest"] == str(blob.digest)
    assert headers["ETag"] == f'"{blob.digest}"'
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Length"] == str(len(CONTENT))
    assert headers["X-Roadstead-Outcome"] == "hit"
    assert "X-Accel-Redirect" not in headers
    assert after["Hits"] - before["Hits"] == 3
    assert after["BytesPushed"] == before["BytesPushed"]


@pytest.mark.parametrize(
    ("wanted", "status", "content"),
    [
        ("bytes=0-99", 206, CONTENT[:100]),
        ("bytes=-100", 206, CONTENT[-100:]),
        ("bytes=1048000-", 206, CONTENT[1048000:]),
        ("bytes=2000000-", 416, None),
    ],
)
async def test_ranges_of_held_blobs(
    mirror: Running,
    front: str,
    held: str,
    client: ClientSession,
    *,
    wanted: str,
    status: int,
    content: bytes | None,
) -> None:
    """Nginx sends the part that was asked for."""
    await becomes_held(client, f"{url_of(mirror)}{held}")
    async with client.get(f"{front}{held}", headers={"Range": wanted}) as response:
        assert response.status == status
        assert content is None or await response.read() == content


async def test_held_blob_that_the_client_has(
    mirror: Running, front: str, held: str, blob: SimulatedBlob, client: ClientSession
) -> None:
    """If-None-Match and HEAD are answered by Roadstead as ever."""
    await becomes_held(client, f"{url_of(mirror)}{held}")
    known = {"If-None-Match": f'"{blob.digest}"'}
    async with client.get(f"{front}{held}", headers=known) as response:
        assert response.status == 304
    async with client.head(f"{front}{held}") as response:
        assert response.headers["Content-Length"] == str(len(CONTENT))


async def test_nobody_reaches_the_files_without_roadstead(
    mirror: Running, front: str, held: str, blob: SimulatedBlob, client: ClientSession
) -> None:
    """The internal location is 404 for clients, and so is a blob of another repository."""
    await becomes_held(client, f"{url_of(mirror)}{held}")
    encoded = blob.digest.encoded
    for path in (
        f"/held/sha256/{encoded[:2]}/{encoded}/data",
        f"/v2/../held/sha256/{encoded[:2]}/{encoded}/data",
        f"/v2/library/other/blobs/{blob.digest}",
    ):
        async with client.get(f"{front}{path}") as response:
            assert response.status == 404, path


async def becomes_held(client: ClientSession, url: str) -> None:
    """Wait until Roadstead has put the blob into its store."""
    while True:
        async with client.get(url) as response:
            if "X-Accel-Redirect" in response.headers:
                assert await response.read() == b""
                return
