"""A reload: the next generation serves on the same sockets, and the last one finishes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector, UnixConnector

from roadstead.config.load import Loaded, load
from roadstead.runtime.generations import Generations
from roadstead.runtime.systemd import InheritedSockets
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from tests.metadata.opened import until
from tests.support.rig import APP
from tests.support.roadstead_process import free_port

CONTENT = bytes(range(256)) * 8000


@dataclass(slots=True)
class Reloadable:
    """A mirror whose configuration can be rewritten."""

    config: Path
    store: Path
    upstream: str
    address: str
    generations: Generations = field(init=False)

    def __post_init__(self) -> None:
        """Let the generations read this configuration."""
        self.generations = Generations(self.load)

    def write(self, *lines: str) -> None:
        """Write the configuration, with further lines."""
        text = (
            "version: 0.1",
            f"storage: {{filesystem: {{rootdirectory: {self.store}}}}}",
            f'proxy: {{remoteurl: "{self.upstream}"}}',
            *(lines or (f'http: {{addr: "{self.address}"}}',)),
        )
        self.config.write_text("\n".join(text))

    def load(self) -> Loaded:
        """Read it."""
        return load(self.config, {})


@pytest.fixture
async def mirror(tmp_path: Path, upstream: ScriptedRegistry) -> AsyncIterator[Reloadable]:
    """Start one."""
    config = tmp_path / "config.yml"
    address = f"127.0.0.1:{free_port()}"
    made = Reloadable(config, tmp_path / "store", upstream.url, address)
    made.write()
    await made.generations.start(InheritedSockets([]))
    yield made
    await made.generations.stop(hurry=asyncio.Event())


async def _header(mirror: Reloadable) -> str | None:
    async with (
        ClientSession(connector=TCPConnector(force_close=True)) as client,
        client.get(f"http://{mirror.address}/v2/") as response,
    ):
        assert response.status == 200
        return response.headers.get("X-Which")


async def test_a_changed_configuration_is_served(
    mirror: Reloadable, capfd: pytest.CaptureFixture[str]
) -> None:
    """And the log names the keys that changed."""
    assert await _header(mirror) is None

    mirror.write(f'http: {{addr: "{mirror.address}", headers: {{X-Which: [second]}}}}')
    await mirror.generations.reload()

    assert await _header(mirror) == "second"
    log = capfd.readouterr().err
    assert "reloaded; changed: http.headers.X-Which" in log
    assert "audit.call=reload audit.caller=SIGHUP audit.outcome=done" in log


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("http: {addr: nonsense}",), "http.addr: is not an address with a port"),
        (("http: {tls: {certificate: /no/such, key: /no/such}}",), "not reloaded: "),
        (("http: {addr: '127.0.0.1:1:1'}", "nonsense: ["), "is not YAML"),
    ],
    ids=["key", "file", "yaml"],
)
async def test_what_cannot_be_used_changes_nothing(
    mirror: Reloadable,
    lines: tuple[str, ...],
    said: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The mirror serves on, and the log says what is wrong."""
    mirror.write(*lines)
    await mirror.generations.reload()

    assert await _header(mirror) is None
    assert said in caplog.text + capfd.readouterr().err


async def test_a_download_under_way_ends_well(
    mirror: Reloadable, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """It is finished by the generation that began it, however long it takes."""
    release = asyncio.Event()
    blob = upstream.add_blob(APP, CONTENT)
    upstream.inject(faults.Stall(after=500_000, release=release), kind=RequestKind.BLOB)
    async with client.get(f"http://{mirror.address}/v2/{APP}/blobs/{blob.digest}") as response:
        begun = await response.content.readexactly(400_000)

        await mirror.generations.reload()
        assert await _header(mirror) is None
        release.set()

        assert begun + await response.content.read() == CONTENT


async def test_another_address_is_listened_on(mirror: Reloadable) -> None:
    """The old one is let go."""
    old = mirror.address
    mirror.address = f"127.0.0.1:{free_port()}"
    mirror.write()
    await mirror.generations.reload()

    assert await _header(mirror) is None
    host, _, port = old.partition(":")
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except ConnectionRefusedError:
                break
            writer.close()
            await writer.wait_closed()


async def test_a_unix_socket_stays_where_it_is(mirror: Reloadable, tmp_path: Path) -> None:
    """The last generation's end does not take the path away from the next one."""
    path = tmp_path / "socket"
    keys = f"net: unix, addr: {path}"
    for which in ("first", "second"):
        mirror.write(f"http: {{{keys}, headers: {{X-Which: [{which}]}}}}")
        await mirror.generations.reload()
        async with (
            ClientSession(connector=UnixConnector(str(path))) as client,
            client.get("http://mirror/v2/") as response,
        ):
            assert response.headers["X-Which"] == which


def _verifications() -> int:
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return names.count("BackgroundVerification.run")


async def test_one_generation_verifies(
    mirror: Reloadable, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """The last one stops with its verification at once, however long it has to answer."""
    release = asyncio.Event()
    blob = upstream.add_blob(APP, CONTENT)
    upstream.inject(faults.Stall(after=500_000, release=release), kind=RequestKind.BLOB)
    verify = 'verify: {schedule: "0 3 1 * *"}'
    mirror.write(f'http: {{addr: "{mirror.address}"}}', verify)
    await mirror.generations.reload()
    async with client.get(f"http://{mirror.address}/v2/{APP}/blobs/{blob.digest}") as response:
        await response.content.readexactly(400_000)
        assert _verifications() == 1

        await mirror.generations.reload()
        await until(lambda: _verifications() == 1)

        release.set()
        assert len(await response.content.read()) == len(CONTENT) - 400_000
