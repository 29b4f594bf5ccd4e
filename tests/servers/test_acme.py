"""Certificates from an ACME server: Pebble, on loopback."""

import asyncio
import datetime as dt
import json
import logging
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from roadstead.server.acme.cupboard import Cupboard
from roadstead.server.acme.order import OrderFailedError
from roadstead.server.acme.renewal import AcmeRules, Renewal
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import started
from tests.support.pebble import Pebble, start_pebble
from tests.support.roadstead_process import free_port

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]

HOST = "mirror.example"


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """Give a running server."""
    with start_pebble(tmp_path_factory.mktemp("pebble")) as server:
        yield server


@pytest.fixture(autouse=True)
def _trusted(pebble: Pebble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pebble.authority))


@pytest.fixture(autouse=True)
def _logging_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def renewal_of(
    pebble: Pebble, folder: Path, renewed: Callable[[], object], *, port: int | None = None
) -> Renewal:
    """Make what orders for HOST."""
    rules = AcmeRules(
        directory_url=pebble.directory_url,
        email="ops@mirror.example",
        hosts=(HOST,),
        host="127.0.0.1",
        port=port or pebble.challenge_port,
    )
    return Renewal(rules, Cupboard(folder), renewed=renewed)


def now(days: int = 0) -> dt.datetime:
    """Tell the time some days from now."""
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=days)


async def test_an_order(pebble: Pebble, tmp_path: Path) -> None:
    """The certificate is for the host, its files are private, and one account makes them all."""
    cupboard = Cupboard(tmp_path / "acme")
    cupboard.prepare([HOST], now())
    assert cupboard.renewal_due([HOST], now())
    renewed: list[int] = []
    renewal = renewal_of(pebble, cupboard.folder, lambda: renewed.append(1))

    await renewal.order()

    assert not cupboard.renewal_due([HOST], now())
    assert cupboard.renewal_due([HOST, "other.example"], now())
    assert cupboard.renewal_due([HOST], now(days=10_000))
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cupboard.certificate, cupboard.key)
    for file in (cupboard.certificate, cupboard.key, cupboard.account):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = cupboard.certificate.read_bytes(), cupboard.account.read_bytes()
    await renewal.order()
    assert cupboard.certificate.read_bytes() != before[0]
    assert cupboard.account.read_bytes() == before[1]
    assert len(renewed) == 2


async def test_an_order_that_fails_leaves_what_was(pebble: Pebble, tmp_path: Path) -> None:
    """A challenge that the server does not see, and a server that is away, are told in words."""
    cupboard = Cupboard(tmp_path / "acme")
    cupboard.prepare([HOST], now())
    before = cupboard.certificate.read_bytes(), cupboard.key.read_bytes()

    with pytest.raises(OrderFailedError, match=HOST):
        await renewal_of(pebble, cupboard.folder, list, port=free_port()).order()
    away = Pebble(f"https://127.0.0.1:{free_port()}/dir", free_port(), pebble.authority)
    with pytest.raises(OrderFailedError, match="refused"):
        await renewal_of(away, cupboard.folder, list).order()

    assert (cupboard.certificate.read_bytes(), cupboard.key.read_bytes()) == before


async def test_a_mirror_gets_its_certificate_while_it_serves(
    pebble: Pebble, tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """It opens with a stand-in, and shows the certificate as soon as there is one."""
    acme = {
        "cachefile": str(tmp_path / "acme"),
        "hosts": [HOST],
        "directoryurl": pebble.directory_url,
        "httpaddr": f"127.0.0.1:{pebble.challenge_port}",
    }
    tls = {"REGISTRY_HTTP_TLS_LETSENCRYPT": json.dumps(acme)}

    async with started(upstream, tmp_path / "data", **tls) as mirror, asyncio.timeout(60):
        first = certificate = await shown(mirror.port)
        while certificate == first:
            certificate = await shown(mirror.port)

    assert ssl.DER_cert_to_PEM_cert(certificate) in (tmp_path / "acme/certificate.pem").read_text()


@pytest.fixture
async def upstream() -> ScriptedRegistry:
    """Give an upstream that is not asked."""
    return ScriptedRegistry()


async def shown(port: int | None) -> bytes:
    """Return the certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=HOST)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate
