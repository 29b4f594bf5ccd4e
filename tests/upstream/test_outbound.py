"""Requests leave through the proxy that was chosen for them, which alone gets its password."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roadstead.errors import UpstreamError, UpstreamUnreachableError
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.secrecy import Secret
from roadstead.simulator.faults import RedirectToStorage
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.upstream.address import Origin
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.outbound import Outbound
from roadstead.upstream.proxies import HttpProxy
from roadstead.upstream.retry import Retries
from roadstead.upstream.tlscontext import make_client_tls
from tests.support.certificates import Authority
from tests.support.httpproxy import ForwardProxy
from tests.upstream.conftest import connect

APP = RepositoryName("library/app")
LATEST = Tag("latest")
PASSWORD = "pl4nted/p@ss"
USERINFO = "alice:pl4nted%2Fp%40ss"
BASIC = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
SIGNS = ("pl4nted", BASIC.removeprefix("Basic "))


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def proxy(registry: ScriptedRegistry) -> AsyncIterator[ForwardProxy]:
    """Provide a proxy that wants a password, and knows the registry by a name."""
    async with ForwardProxy(hosts={"registry.invalid": registry.host}, admits=BASIC) as running:
        yield running


async def read_blob(upstream: RegistryUpstream, registry: ScriptedRegistry) -> None:
    """Pull an image: its manifest by one client, its layer by the other."""
    image = registry.add_image(APP, tag=LATEST)
    layer = image.layers[0]

    def read() -> bytes:
        transfer = upstream.open_blob(APP, layer.digest, 0)
        try:
            return b"".join(iter(transfer.read, b""))
        finally:
            transfer.close()

    assert (await upstream.get_manifest(APP, LATEST)).content == image.content
    assert await asyncio.to_thread(read) == layer.read()


async def test_all_requests_go_through_the_upstreams_own_proxy(
    registry: ScriptedRegistry, proxy: ForwardProxy
) -> None:
    """Registry and token server are asked through it, by both clients, with its password."""
    service = registry.token_service()
    service.realm = "http://registry.invalid/token"

    async with connect("http://registry.invalid", proxy=f"http://{USERINFO}@{proxy.host}") as it:
        await read_blob(it, registry)

    targets = [request.target.partition("?")[0] for request in proxy.requests]
    assert "http://registry.invalid/token" in targets
    assert len(targets) == len(registry.requests)
    assert {request.authorization for request in proxy.requests} == {BASIC}
    assert not any("proxy-authorization" in record.headers for record in registry.requests)


async def test_tls_goes_through_a_tunnel(tmp_path: Path) -> None:
    """The proxy sees names only; its password is in the CONNECT, and never reaches the registry."""
    authority = Authority(tmp_path)
    tls = make_client_tls(ca_file=authority.certificate.file)
    context = authority.issue("server").server_context()
    async with (
        ForwardProxy(admits=BASIC) as proxy,
        ScriptedRegistry(tls=context) as registry,
        connect(registry.url, tls=tls, proxy=f"http://{USERINFO}@{proxy.host}") as upstream,
    ):
        await read_blob(upstream, registry)

        asked = {(each.method, each.target, each.authorization) for each in proxy.requests}
        assert asked == {("CONNECT", registry.host, BASIC)}
        assert len(proxy.requests) == 2
        assert not any("proxy-authorization" in record.headers for record in registry.requests)


async def test_redirect_targets_are_reached_through_the_proxy_too(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, proxy: ForwardProxy
) -> None:
    """A network that lets nothing out lets nothing out to storage either."""
    registry.inject(RedirectToStorage(elsewhere, uses=None), method="GET")

    async with connect(registry.url, proxy=f"{USERINFO}@{proxy.host}") as upstream:
        await read_blob(upstream, registry)

    assert {request.target.split("/")[2] for request in proxy.requests} == {
        registry.host,
        elsewhere.host,
    }


async def test_an_own_proxy_wins_over_the_environment(
    registry: ScriptedRegistry, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither HTTP_PROXY nor NO_PROXY changes what one upstream's own setting says."""
    monkeypatch.setenv("HTTP_PROXY", "http://nobody.invalid")
    monkeypatch.setenv("NO_PROXY", "*")

    async with connect("http://registry.invalid", proxy=f"http://{USERINFO}@{proxy.host}") as it:
        await read_blob(it, registry)

    assert proxy.requests


async def test_the_environments_proxy_gets_its_password(
    registry: ScriptedRegistry, proxy: ForwardProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """User information in HTTP_PROXY becomes the same header, for both clients."""
    monkeypatch.setenv("HTTP_PROXY", f"http://{USERINFO}@{proxy.host}")

    async with connect("http://registry.invalid") as upstream:
        await read_blob(upstream, registry)

    assert {request.authorization for request in proxy.requests} == {BASIC}


async def failures(upstream: RegistryUpstream, registry: ScriptedRegistry) -> list[str]:
    """Return how both clients fail."""
    digest = registry.add_image(APP, tag=LATEST).layers[0].digest
    messages = []
    for call in (
        lambda: upstream.get_manifest(APP, LATEST),
        lambda: asyncio.to_thread(upstream.open_blob, APP, digest, 0),
    ):
        with pytest.raises(UpstreamError) as caught:
            await call()
        messages.append(str(caught.value))
    return messages


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("by_environment", [False, True])
async def test_a_failing_proxy_is_named_without_its_password(
    registry: ScriptedRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    scheme: str,
    by_environment: bool,
) -> None:
    """An absent proxy and one that refuses us are told apart; nothing tells the password."""
    caplog.set_level(logging.DEBUG)
    async with ForwardProxy(admits="somebody else") as refusing:
        pass
    for gone in (True, False):
        async with ForwardProxy(admits="somebody else") as refusing:
            host = refusing.host
            if gone:
                await refusing.__aexit__()
            address = f"http://{USERINFO}@{host}"
            if by_environment:
                monkeypatch.setenv(f"{scheme.upper()}_PROXY", address)
            options = {} if by_environment else {"proxy": address}
            url = f"{scheme}://registry.invalid"
            async with connect(url, retries=Retries(attempts=1), **options) as upstream:
                for message in await failures(upstream, registry):
                    assert host in message if gone else "407" in message
                    assert not any(sign in message for sign in SIGNS)
                assert not any(sign in repr(vars(upstream)) for sign in SIGNS)
    assert not any(sign in caplog.text for sign in SIGNS)


@pytest.mark.parametrize(
    "text",
    ["socks5://alice:pl4nted@host", "http://alice:pl4nted@", "alice:pl4n/ted@host", "http://[::1"],
)
def test_a_senseless_proxy_is_refused_without_repeating_it(text: str) -> None:
    """What cannot be read may hold a password anywhere."""
    with pytest.raises(ValueError, match=r"^is no http or https address$") as caught:
        HttpProxy.parse(text)
    assert caught.value.__cause__ is None


def test_a_senseless_proxy_of_the_environment_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment is read with each request, so its errors are errors of requests."""
    monkeypatch.setenv("HTTP_PROXY", "socks5://alice:pl4nted@host")
    outbound = Outbound(Origin.parse("http://registry.invalid"))

    with pytest.raises(UpstreamUnreachableError, match="HTTP proxy of the environment") as caught:
        outbound.route_to("http://registry.invalid/v2/")
    assert "pl4nted" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://Proxy.Example:3128/", HttpProxy("http://proxy.example:3128")),
        ("proxy.example:3128", HttpProxy("http://proxy.example:3128")),
        ("https://proxy.example", HttpProxy("https://proxy.example")),
        (f"http://{USERINFO}@p.example", HttpProxy("http://p.example", Secret(BASIC))),
    ],
)
def test_the_address_of_a_proxy_is_read(text: str, proxy: HttpProxy) -> None:
    """Scheme and user information are optional, and the latter is percent-encoded."""
    assert HttpProxy.parse(text) == proxy


def test_a_tls_proxy_is_not_shown_the_client_certificate(tmp_path: Path) -> None:
    """One TLS client would use the same context for the proxy, so it gets the one without."""
    authority = Authority(tmp_path)
    tls = make_client_tls(
        client_certificate=authority.certificate.file, client_key=authority.certificate.key
    )
    registry = Origin.parse("https://registry.example")
    url = "https://registry.example/v2/"

    direct = Outbound(registry, tls=tls, proxy="http://proxy.example").route_to(url)
    behind = Outbound(registry, tls=tls, proxy="https://proxy.example").route_to(url)

    assert (direct.tls, behind.tls) == (tls.registry, tls.elsewhere)
