"""Pebble, the ACME server that Let's Encrypt makes for tests, with a name server for it."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.roadstead_process import free_port

_START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Pebble:
    """A running server; it asks for challenges at ``challenge_port`` of 127.0.0.1."""

    directory_url: str
    challenge_port: int
    authority: Path


@contextmanager
def start_pebble(folder: Path) -> Iterator[Pebble]:
    """Start it; ``authority`` is that of its own listener."""
    for program in ("pebble", "pebble-challtestsrv"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    authority = Authority(folder)
    certificate = authority.issue("pebble")
    ports = [free_port() for _ in range(6)]
    listen, management, challenge, tls, names, names_management = ports
    configuration = {
        "listenAddress": f"127.0.0.1:{listen}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(certificate.file),
        "privateKey": str(certificate.key),
        "httpPort": challenge,
        "tlsPort": tls,
    }
    file = folder / "pebble.json"
    file.write_text(json.dumps({"pebble": configuration}))
    with ExitStack() as stack:
        log = stack.enter_context((folder / "pebble.log").open("wb"))
        for command in (
            [
                *("pebble-challtestsrv", "-defaultIPv6", "", "-http01", "", "-https01", ""),
                *("-tlsalpn01", "", "-dns01", f"127.0.0.1:{names}"),
                *("-management", f"127.0.0.1:{names_management}"),
            ],
            ["pebble", "-config", str(file), "-dnsserver", f"127.0.0.1:{names}"],
        ):
            # No pause before it looks for the answer, and no nonce refused for practice.
            environment = os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(_end, process)
        _wait_for(listen)
        yield Pebble(f"https://127.0.0.1:{listen}/dir", challenge, authority.certificate.file)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    message = "pebble did not start"
    raise AssertionError(message)
