"""What systemd hands over is used, and it hears what it wants to hear."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from roadstead.config.address import SocketAddress
from roadstead.runtime.systemd import InheritedSockets, notify

# Starts the program as systemd does: descriptor 3 and what follows are the sockets.
_LAUNCH = """
import os, sys
for target, source in enumerate(map(int, sys.argv[1].split(",")), 3):
    os.dup2(source, target, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sys.argv[1].split(","))))
os.execv(sys.executable, [sys.executable, "-m", "roadstead", "serve"])
"""


# Worker processes take their time to start.
_WORKERS = pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.crash)])


def _listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=64)


@contextlib.asynccontextmanager
async def _served(
    store: Path, *sockets: socket.socket, **environ: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    config = store.with_suffix(".yml")
    config.write_text("version: 0.1\nstorage: {filesystem: {}}\n")
    # Beyond 3 and 4, which they are copied to.
    copies = [os.dup2(one.fileno(), 20 + index) for index, one in enumerate(sockets)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _LAUNCH, ",".join(map(str, copies))),
        pass_fds=copies,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "REGISTRY_CONFIGURATION_PATH": str(config),
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(store),
            **environ,
        },
    )
    for copy in copies:
        os.close(copy)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()


@_WORKERS
async def test_connections_wait_while_the_mirror_is_restarted(tmp_path: Path, workers: str) -> None:
    """A client that connects between two processes is served by the second one."""
    with _listening() as held:
        port = held.getsockname()[1]
        url = f"http://127.0.0.1:{port}/v2/"
        address = {"REGISTRY_HTTP_ADDR": f":{port}", "REGISTRY_HTTP_WORKERS": workers}
        async with ClientSession() as client:
            async with _served(tmp_path, held, **address), client.get(url) as response:
                assert response.status == 200
            asking = asyncio.ensure_future(client.get(url))
            done, _ = await asyncio.wait([asking], timeout=0.1)
            assert not done
            async with _served(tmp_path, held, **address), await asking as response:
                assert response.status == 200


@_WORKERS
async def test_readiness_is_told(tmp_path: Path, workers: str) -> None:
    """READY when it serves, STOPPING when it begins to stop."""
    with (
        _listening() as held,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
    ):
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        async with _served(
            tmp_path / "store",
            held,
            REGISTRY_HTTP_ADDR=f":{held.getsockname()[1]}",
            REGISTRY_HTTP_WORKERS=workers,
            NOTIFY_SOCKET=str(tmp_path / "notify"),
        ):
            told = [await asyncio.to_thread(manager.recv, 100)]
        told.append(await asyncio.to_thread(manager.recv, 100))

    assert told == [b"READY=1", b"STOPPING=1"]


def test_a_socket_is_for_the_address_with_its_port() -> None:
    """Each is claimed once; another port is not for it."""
    with _listening() as held:
        port = held.getsockname()[1]
        inherited = InheritedSockets([held])

        assert inherited.claim(SocketAddress(None, port + 1)) == []
        assert inherited.claim(Path("/run/registry.sock")) == []
        assert inherited.claim(SocketAddress(None, port)) == [held]
        assert inherited.claim(SocketAddress(None, port)) == []


@_WORKERS
async def test_a_unix_socket_is_for_its_path(tmp_path: Path, workers: str) -> None:
    """``ListenStream=/run/roadstead.sock`` and ``http.net: unix`` meet."""
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(path))
        held.listen()
        async with (
            _served(
                tmp_path,
                held,
                REGISTRY_HTTP_ADDR=str(path),
                REGISTRY_HTTP_NET="unix",
                REGISTRY_HTTP_WORKERS=workers,
            ),
            ClientSession(connector=UnixConnector(str(path))) as client,
            client.get("http://mirror/v2/") as response,
        ):
            assert response.status == 200


def test_what_nobody_claims_is_closed_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Else its clients would wait for ever."""
    held = _listening()

    InheritedSockets([held]).report_unclaimed()

    assert held.fileno() == -1
    assert "not configured" in caplog.text


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": "me", "LISTEN_FDS": "many"}],
)
def test_variables_for_another_process_are_not_ours(environ: dict[str, str]) -> None:
    """And they are not handed on to children."""
    inherited = InheritedSockets.of_process(environ)

    assert inherited.claim(SocketAddress(None, 5000)) == []
    assert environ == {}


def test_nobody_listening_is_no_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong NOTIFY_SOCKET is warned of; none is the usual case."""
    notify("READY=1", None)
    assert caplog.text == ""

    notify("READY=1", str(tmp_path / "nobody"))
    assert "could not be told" in caplog.text
