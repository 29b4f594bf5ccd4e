"""``roadstead status`` and ``roadstead explain`` against a running mirror."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from roadstead.cli.main import app
from roadstead.config.load import load
from roadstead.runtime import Running, running
from roadstead.simulator.registry import ScriptedRegistry


@pytest.fixture
async def mirror(tmp_path: Path, quiet: None) -> AsyncIterator[Running]:
    """Run a mirror of a scripted registry with a debug listener."""
    assert quiet is None
    async with ScriptedRegistry() as registry:
        registry.add_image("library/app", tag="latest")
        environ = {
            "REGISTRY_PROXY_REMOTEURL": registry.url,
            "REGISTRY_HTTP_ADDR": "127.0.0.1:0",
            "REGISTRY_HTTP_DEBUG_ADDR": "127.0.0.1:0",
            "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY": str(tmp_path),
            "REGISTRY_LOG_ACCESSLOG_DISABLED": "true",
            "REGISTRY_LOG_LEVEL": "error",
            "REGISTRY_RETENTION_MAXSIZE": "2GB",
            "REGISTRY_RETENTION_SCHEDULE": "0 3 * * 0",
            "REGISTRY_RETENTION_PINS": "[docker.io/library/alpine:*]",
            "REGISTRY_UPSTREAMS_GHCR_IO_RETENTION_MAXSIZE": "1GB",
        }
        async with running(load(None, environ)) as started:
            yield started


async def roadstead(mirror: Running, *arguments: str) -> Result:
    """Run a command in another thread, as the mirror runs in this one's loop."""
    url = f"http://127.0.0.1:{mirror.debug_port}"
    words = [*arguments, "--mirror", url]
    return await asyncio.to_thread(CliRunner().invoke, app, words)


async def test_status_shows_every_upstream(mirror: Running) -> None:
    """Names, health and quota of each, and what was served, as a table and as JSON."""
    table = await roadstead(mirror, "status")
    document = json.loads((await roadstead(mirror, "status", "--json")).output)

    assert table.exit_code == 0
    assert "quay.io" in table.output
    assert {upstream["name"] for upstream in document["upstreams"]} >= {"ghcr.io", "quay.io"}
    assert document["flights"] == []
    assert document["served"]["blobs"]["Requests"] == 0


async def test_status_shows_how_limits_stand(mirror: Running) -> None:
    """Used and limit of each, the disk, pins, the last run and the next one."""
    document = json.loads((await roadstead(mirror, "status", "--json")).output)["retention"]
    table = (await roadstead(mirror, "status")).output

    assert {one["upstream"]: one["max_bytes"] for one in document["limits"]} == {
        "": 2 * 10**9,
        "ghcr.io": 10**9,
    }
    assert document["disk"]["total_bytes"] >= document["disk"]["free_bytes"]
    assert document["shortfall"] is None
    assert document["next_run"] is not None
    assert "everything" in table
    assert "2.0 GB" in table
    assert "to stay free" in table
    assert "has not run yet" in table
    assert "next run in" in table


async def test_explain_says_what_would_happen(mirror: Running) -> None:
    """For what is not held, and for what nobody here stands for."""
    held = json.loads((await roadstead(mirror, "explain", "library/app", "--json")).output)
    foreign = await roadstead(mirror, "explain", "evil.example/app")

    assert held["outcome"] == "miss"
    assert "denied" in foreign.output


async def test_a_broken_reference_is_an_error(mirror: Running) -> None:
    """One line that says what is wrong, and exit status 1."""
    result = await roadstead(mirror, "explain", "UPPER")

    assert result.exit_code == 1
    assert "UPPER" in result.output


def test_without_a_mirror_the_way_out_is_named() -> None:
    """The debug listener is what these commands need."""
    result = CliRunner().invoke(app, ["status", "--mirror", "http://127.0.0.1:9"])

    assert result.exit_code == 1
    assert "http.debug.addr" in result.output
