"""Who steered the mirror, in the log of the whole program."""

import asyncio
import re
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import debug_url_of, started, url_of
from tests.runtime.test_deleting import _ADMIN, _DELETABLE, _KEY
from tests.support.rig import APP
from tests.support.roadstead_process import clean_environment, installed
from tests.telemetry.lines import parse_text

_DEBUGGED = {**_DELETABLE, "REGISTRY_HTTP_DEBUG_ADDR": "127.0.0.1:0", "REGISTRY_LOG_LEVEL": "error"}


def audit_lines(log: str) -> list[dict[str, str]]:
    """Return the fields of each line of the audit log."""
    lines = [parse_text(line) for line in log.splitlines() if "logger=roadstead.audit" in line]
    return [
        {
            name.removeprefix("audit."): value
            for name, value in line.items()
            if name.startswith("audit.") and name != "audit.seconds"
        }
        for line in lines
    ]


async def steer(client: ClientSession, url: str, *answers: int, **headers: str) -> None:
    """Delete a manifest by its tag; it must be answered with one of the statuses."""
    async with client.delete(url, headers=headers) as response:
        assert response.status in answers


async def test_calls_over_http_are_told(
    upstream: ScriptedRegistry,
    client: ClientSession,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Deletions and steering calls, done or refused, also where the log is for errors only."""
    upstream.add_image(APP, tag="latest")
    async with started(upstream, tmp_path, **_DEBUGGED) as mirror:
        url = f"{url_of(mirror)}/v2/{APP}/manifests/latest"
        async with client.get(url) as response:
            assert response.status == 200
        await steer(client, url, 403)
        await steer(client, url, 202, **_ADMIN)
        purge = f"{debug_url_of(mirror)}/debug/purge"
        async with client.post(purge, json={"dry_run": True}) as response:
            assert response.status == 200
        async with client.post(purge, headers={"Host": "mirror.example"}) as response:
            assert response.status == 403

    log = capfd.readouterr().err
    path = f"/v2/{APP}/manifests/latest"
    here, delete = "127.0.0.1", {"call": "delete", "arguments": f"{{'manifest': '{path}'}}"}
    refused, deleted, purged, denied = audit_lines(log)
    assert refused.pop("error").startswith("this mirror does not let")
    assert refused == {**delete, "address": here, "outcome": "refused"}
    who = {"caller": "header:ops", "address": here}
    assert deleted == {**delete, **who, "outcome": "done", "bytes": "0"}
    assert purged["caller"] == "the local machine"
    assert (purged["call"], purged["outcome"], purged["bytes"]) == ("purge", "dry-run", "0")
    assert (denied["call"], denied["outcome"]) == ("purge", "refused")
    assert _KEY not in log


async def test_the_audit_log_can_be_switched_off(
    upstream: ScriptedRegistry,
    client: ClientSession,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Then nothing is told of calls."""
    off = {**_DEBUGGED, "REGISTRY_LOG_AUDIT_DISABLED": "true"}
    async with started(upstream, tmp_path, **off) as mirror:
        await steer(client, f"{url_of(mirror)}/v2/{APP}/manifests/latest", 404, **_ADMIN)

    assert audit_lines(capfd.readouterr().err) == []


async def test_commands_on_a_volume_are_told(tmp_path: Path) -> None:
    """Who ran them, on standard error, when that is no terminal."""
    root = tmp_path / "store"
    root.mkdir()
    config = tmp_path / "config.yml"
    config.write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {root}}}}}\n")

    told = []
    for words in (["garbage-collect", "--dry-run"], ["verify"], ["metadata", "rebuild"]):
        process = await asyncio.create_subprocess_exec(
            installed("roadstead"),
            *words,
            str(config),
            env=clean_environment(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors
        told += audit_lines(errors.decode())

    assert [one["call"] for one in told] == [
        "garbage-collect",
        "verify",
        "metadata rebuild",
    ]
    assert [one["outcome"] for one in told] == ["dry-run", "done", "done"]
    assert all(re.match(r"\w+", one["caller"]) for one in told)
