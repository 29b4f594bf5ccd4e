"""Certificates are replaced while the mirror serves, and nobody notices."""

import asyncio
import ssl
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession, TCPConnector

from roadstead.runtime.certificates import watching
from roadstead.server.tls import ServerTls, TlsFiles
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import started
from tests.runtime.test_listening import ping, tls
from tests.support.certificates import Authority, Certificate
from tests.support.rig import APP


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Give an authority for certificates."""
    folder = tmp_path / "authority"
    folder.mkdir()
    return Authority(folder)


@pytest.fixture
def installed(authority: Authority, tmp_path: Path) -> Certificate:
    """Give the mirror's certificate, at the place where it is replaced."""
    made = authority.issue("first")
    place = Certificate(tmp_path / "mirror.crt", tmp_path / "mirror.key")
    install(made, place)
    return place


def install(made: Certificate, place: Certificate) -> None:
    """Put a pair in its place, as a tool that renews certificates does."""
    for source, target in ((made.file, place.file), (made.key, place.key)):
        fresh = target.with_suffix(".new")
        fresh.write_bytes(source.read_bytes())
        fresh.replace(target)


async def name_shown(port: int | None, context: ssl.SSLContext) -> str:
    """Return the common name of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    subject = dict(pair for (pair,) in writer.get_extra_info("peercert")["subject"])
    writer.close()
    await writer.wait_closed()
    return str(subject["commonName"])


async def test_a_replaced_certificate_is_shown_to_new_connections(
    tmp_path: Path, upstream: ScriptedRegistry, authority: Authority, installed: Certificate
) -> None:
    """Open connections go on with the old one."""
    context = ssl.create_default_context(cafile=authority.certificate.file)
    async with (
        started(upstream, tmp_path / "data", **tls(installed)) as mirror,
        ClientSession(connector=TCPConnector(ssl=context, limit=1)) as client,
    ):
        assert mirror.tls is not None
        url = f"https://127.0.0.1:{mirror.port}/v2/"
        async with client.get(url) as response:
            kept = response.connection
            assert await response.read() == b"{}"
        assert await name_shown(mirror.port, context) == "first"
        install(authority.issue("second"), installed)
        assert mirror.tls.look()
        assert not mirror.tls.look()
        assert await name_shown(mirror.port, context) == "second"
        async with client.get(url) as response:
            assert response.status == 200
        assert kept is None or not kept.closed


@pytest.mark.parametrize("broken", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
async def test_a_broken_certificate_is_not_taken(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    authority: Authority,
    installed: Certificate,
    capfd: pytest.CaptureFixture[str],
    broken: str,
) -> None:
    """Neither is half of a pair; the log says so once, and the whole pair is taken later."""
    context = ssl.create_default_context(cafile=authority.certificate.file)
    async with started(upstream, tmp_path / "data", **tls(installed)) as mirror:
        assert mirror.tls is not None
        second = authority.issue("second")
        for content in (broken.encode(), second.file.read_bytes()):
            installed.file.write_bytes(content)
            assert not mirror.tls.look()
            assert not mirror.tls.look()
            assert await name_shown(mirror.port, context) == "first"
        assert capfd.readouterr().err.count("cannot be used") == 2
        installed.key.unlink()
        assert not mirror.tls.look()
        installed.key.write_bytes(second.key.read_bytes())
        assert mirror.tls.look()
        assert await name_shown(mirror.port, context) == "second"


async def test_authorities_of_clients_are_replaced_too(
    tmp_path: Path, upstream: ScriptedRegistry, authority: Authority, installed: Certificate
) -> None:
    """Who was let in by an authority that is gone stays out, also with an old session."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = Authority(elsewhere)
    cas = tmp_path / "clients.crt"
    cas.write_bytes(authority.certificate.file.read_bytes())
    contexts = []
    for issuer in (authority, other):
        context = ssl.create_default_context(cafile=authority.certificate.file)
        shown = issuer.issue("client")
        context.load_cert_chain(shown.file, shown.key)
        contexts.append(context)
    mine, theirs = contexts

    async with started(
        upstream, tmp_path / "data", **tls(installed, CLIENTCAS_0=str(cas))
    ) as mirror:
        assert mirror.tls is not None
        assert await ping(mirror.port, mine) == 200
        with pytest.raises((ClientError, OSError)):
            await ping(mirror.port, theirs)
        cas.write_bytes(other.certificate.file.read_bytes())
        assert mirror.tls.look()
        assert await ping(mirror.port, theirs) == 200
        with pytest.raises((ClientError, OSError)):
            await ping(mirror.port, mine)


async def test_a_certificate_names_its_client_to_the_rules(
    tmp_path: Path, upstream: ScriptedRegistry, authority: Authority, installed: Certificate
) -> None:
    """The common name of a verified certificate is an identity; without one there is none."""
    upstream.add_image(APP, tag="latest")
    context = ssl.create_default_context(cafile=authority.certificate.file)
    keys = {
        "CLIENTCAS_0": str(authority.certificate.file),
        "CLIENTAUTH": "verify-client-cert-if-given",
    }
    access = {"REGISTRY_ACCESS": '{"rules": [{"allow": "certificate:ci-*"}]}'}

    async with started(upstream, tmp_path / "data", **tls(installed, **keys), **access) as mirror:
        assert await ping(mirror.port, context) == 403
        for name, status in (("stranger", 403), ("ci-7", 200)):
            shown = authority.issue(name)
            context.load_cert_chain(shown.file, shown.key)
            assert await ping(mirror.port, context) == status


async def test_no_connection_breaks_while_certificates_are_replaced(
    tmp_path: Path, upstream: ScriptedRegistry, authority: Authority, installed: Certificate
) -> None:
    """Under load, from clients with a connection for each request and one that keeps its own."""
    pairs = [authority.issue(name) for name in ("even", "odd")]
    context = ssl.create_default_context(cafile=authority.certificate.file)
    done = asyncio.Event()
    answered: asyncio.Queue[int] = asyncio.Queue()
    statuses: list[int] = []

    async def ask(url: str, *, keep: bool) -> None:
        connector = TCPConnector(ssl=context, force_close=not keep)
        async with ClientSession(connector=connector) as client:
            while not done.is_set():
                async with client.get(url) as response:
                    answered.put_nowait(response.status)

    async with started(upstream, tmp_path / "data", **tls(installed)) as mirror:
        assert mirror.tls is not None
        url = f"https://127.0.0.1:{mirror.port}/v2/"
        async with asyncio.TaskGroup() as clients:
            for keep in (True, False, False, False):
                clients.create_task(ask(url, keep=keep))
            for number in range(20):
                install(pairs[number % 2], installed)
                assert mirror.tls.look()
                statuses += [await answered.get() for _ in range(10)]
            done.set()

    assert statuses == [200] * 200
    assert not answered.qsize() or {answered.get_nowait() for _ in range(answered.qsize())} == {200}


async def test_changes_are_noticed(authority: Authority, installed: Certificate) -> None:
    """The files are looked at as long as the mirror runs."""
    noticed = asyncio.Event()

    class Told(ServerTls):
        """Tells when it reads the files again."""

        def reload(self) -> bool:
            noticed.set()
            return super().reload()

    served = Told(TlsFiles(installed.file, installed.key))
    async with asyncio.timeout(20), watching(served, every_seconds=0.01):
        install(authority.issue("second"), installed)
        await noticed.wait()
