"""Where a mirror listens: TCP, TLS, unix sockets."""

import asyncio
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector, UnixConnector

from roadstead.oci.digest import Digest
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import started, url_of
from tests.support.certificates import Authority, Certificate
from tests.support.rig import APP
from tests.support.roadstead_process import free_port

# Above what is sent from memory, and no multiple of a chunk.
CONTENT = bytes(range(256)) * 5000 + b"end"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Give an authority for certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def server(authority: Authority) -> Certificate:
    """Give the mirror's certificate."""
    return authority.issue("server")


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    """Give a client's context that trusts the authority only."""
    return ssl.create_default_context(cafile=authority.certificate.file)


def tls(server: Certificate, **keys: str) -> dict[str, str]:
    """Configure TLS, with further keys of ``http.tls``."""
    return {
        "REGISTRY_HTTP_TLS_CERTIFICATE": str(server.file),
        "REGISTRY_HTTP_TLS_KEY": str(server.key),
        **{f"REGISTRY_HTTP_TLS_{key}": value for key, value in keys.items()},
    }


async def ping(port: int | None, context: ssl.SSLContext) -> int:
    """Ask for ``/v2/`` over TLS, and return the status."""
    async with (
        ClientSession(connector=TCPConnector(ssl=context)) as client,
        client.get(f"https://127.0.0.1:{port}/v2/") as response,
    ):
        return response.status


async def test_blobs_over_tls(
    tmp_path: Path, upstream: ScriptedRegistry, server: Certificate, trusting: ssl.SSLContext
) -> None:
    """Cold and warm, whole and in part, a large blob arrives as it is."""
    blob = upstream.add_blob(APP, CONTENT)
    part = {"Range": "bytes=300000-1099999"}

    async with (
        started(upstream, tmp_path, **tls(server)) as mirror,
        ClientSession(connector=TCPConnector(ssl=trusting)) as client,
    ):
        url = f"https://127.0.0.1:{mirror.port}/v2/{APP}/blobs/{blob.digest}"
        for _ in range(2):
            async with client.get(url) as response:
                assert Digest.of(await response.read()) == blob.digest
        async with client.get(url, headers=part) as response:
            assert response.status == 206
            assert await response.read() == CONTENT[300_000:1_100_000]


async def test_the_lowest_version_of_tls(
    tmp_path: Path, upstream: ScriptedRegistry, server: Certificate, trusting: ssl.SSLContext
) -> None:
    """``minimumtls`` refuses clients of before, which are welcome without it."""
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2

    async with started(upstream, tmp_path, **tls(server)) as mirror:
        assert await ping(mirror.port, trusting) == 200
    async with started(upstream, tmp_path, **tls(server, MINIMUMTLS="tls1.3")) as mirror:
        with pytest.raises(ClientError):
            await ping(mirror.port, trusting)


async def test_a_handshake_that_does_not_begin_is_not_waited_for(
    tmp_path: Path, upstream: ScriptedRegistry, server: Certificate
) -> None:
    """A connection is counted once its handshake is over, so that must be soon."""
    idle = {"REGISTRY_HTTP_LIMITS_IDLETIMEOUT": "300ms"}

    async with started(upstream, tmp_path, **tls(server), **idle) as mirror:
        reader, writer = await asyncio.open_connection("127.0.0.1", mirror.port)
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()


async def test_cipher_suites_are_those_configured(
    tmp_path: Path, upstream: ScriptedRegistry, server: Certificate, trusting: ssl.SSLContext
) -> None:
    """A client that knows only another suite of TLS 1.2 is refused."""
    trusting.maximum_version = ssl.TLSVersion.TLSv1_2
    suites = {"CIPHERSUITES": "[TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]"}

    async with started(upstream, tmp_path, **tls(server, **suites)) as mirror:
        assert await ping(mirror.port, trusting) == 200
        trusting.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        with pytest.raises(ClientError):
            await ping(mirror.port, trusting)


@pytest.mark.parametrize(
    ("client_auth", "admits_strangers"),
    [
        ("", False),
        ("require-and-verify-client-cert", False),
        ("verify-client-cert-if-given", True),
    ],
)
async def test_client_certificates(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    authority: Authority,
    server: Certificate,
    trusting: ssl.SSLContext,
    client_auth: str,
    *,
    admits_strangers: bool,
) -> None:
    """With ``clientcas`` a client has to show a certificate of theirs, unless it need not."""
    known = authority.issue("client")
    keys = {"CLIENTCAS_0": str(authority.certificate.file)}
    if client_auth:
        keys["CLIENTAUTH"] = client_auth

    async with started(upstream, tmp_path, **tls(server, **keys)) as mirror:
        if admits_strangers:
            assert await ping(mirror.port, trusting) == 200
        else:
            with pytest.raises((ClientError, OSError)):
                await ping(mirror.port, trusting)
        trusting.load_cert_chain(known.file, known.key)
        assert await ping(mirror.port, trusting) == 200


async def test_a_foreign_client_certificate_is_refused(
    tmp_path: Path, upstream: ScriptedRegistry, authority: Authority, server: Certificate
) -> None:
    """A certificate is proof only if one of ``clientcas`` has signed it."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    foreign = Authority(elsewhere).issue("client")
    context = ssl.create_default_context(cafile=authority.certificate.file)
    context.load_cert_chain(foreign.file, foreign.key)
    keys = {"CLIENTCAS_0": str(authority.certificate.file)}

    async with started(upstream, tmp_path / "data", **tls(server, **keys)) as mirror:
        with pytest.raises((ClientError, OSError)):
            await ping(mirror.port, context)


async def test_a_unix_socket(tmp_path: Path, upstream: ScriptedRegistry) -> None:
    """``net: unix`` serves on a path, where a dead process may have left its socket."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    unix = {"REGISTRY_HTTP_NET": "unix", "REGISTRY_HTTP_ADDR": str(path)}

    async with started(upstream, tmp_path / "data", **unix) as mirror:
        async with (
            ClientSession(connector=UnixConnector(str(path))) as client,
            client.get("http://mirror/v2/") as response,
        ):
            assert response.status == 200
        assert mirror.port is None


async def test_a_file_in_the_way_of_a_socket_stays(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """What is no socket is not removed; the start fails instead."""
    path = tmp_path / "socket"
    path.write_text("precious")
    unix = {"REGISTRY_HTTP_NET": "unix", "REGISTRY_HTTP_ADDR": str(path)}

    with pytest.raises(OSError, match="is not a socket"):
        async with started(upstream, tmp_path / "data", **unix):
            pass

    assert path.read_text() == "precious"


async def test_a_socket_in_use_is_not_taken_away(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """A second process is refused, and the first one goes on serving."""
    path = tmp_path / "socket"
    unix = {"REGISTRY_HTTP_NET": "unix", "REGISTRY_HTTP_ADDR": str(path)}

    async with started(upstream, tmp_path / "data", **unix):
        with pytest.raises(OSError, match="another process answers"):
            async with started(upstream, tmp_path / "other", **unix):
                pass
        async with (
            ClientSession(connector=UnixConnector(str(path))) as client,
            client.get("http://mirror/v2/") as response,
        ):
            assert response.status == 200


async def test_ipv6(tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession) -> None:
    """An address in brackets is an IPv6 address."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")

    async with (
        started(upstream, tmp_path, REGISTRY_HTTP_ADDR="[::1]:0") as mirror,
        client.get(f"http://[::1]:{mirror.port}/v2/") as response,
    ):
        assert response.status == 200


@pytest.mark.parametrize("key", ["REGISTRY_HTTP_ADDR", "REGISTRY_HTTP_DEBUG_ADDR"])
async def test_an_address_in_use_ends_the_start(
    tmp_path: Path, upstream: ScriptedRegistry, key: str
) -> None:
    """Of the mirror as of the debug server; the message names the address."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"

        with pytest.raises(OSError, match="in use"):
            async with started(upstream, tmp_path, **{key: address}):
                pass


async def test_every_interface(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """``:port`` listens everywhere, as in the configuration of registry:2."""
    port = free_port()

    async with (
        started(upstream, tmp_path, REGISTRY_HTTP_ADDR=f":{port}") as mirror,
        client.get(f"{url_of(mirror)}/v2/") as response,
    ):
        assert response.status == 200
        assert mirror.port == port
