"""What a running mirror writes to its logs, and what it never writes."""

import base64
import json
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.config.load import load
from roadstead.runtime import running
from roadstead.simulator import faults
from roadstead.simulator.faults import RequestKind
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import debug_url_of, started, url_of
from tests.support.rig import APP, OTHER
from tests.telemetry.lines import parse_text

SECRET = "hunter2-pl4nted"
TOKEN = "s1mul4ted-token"


async def test_a_request_leaves_a_line_in_both_logs(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    client: ClientSession,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The application log has outcome and size, the access log the combined format."""
    image = upstream.add_image(APP, tag="latest")

    async with (
        started(upstream, tmp_path) as mirror,
        client.get(f"{url_of(mirror)}/v2/{APP}/manifests/latest") as response,
    ):
        await response.read()

    captured = capfd.readouterr()
    records = [parse_text(line) for line in captured.err.splitlines()]
    (record,) = [found for found in records if found["msg"] == "response completed"]
    assert record["mirror.outcome"] == "miss"
    assert record["http.response.written"] == str(len(image.content))
    assert record["service"] == "registry"
    request = f'"GET /v2/{APP}/manifests/latest HTTP/1.1" 200 {len(image.content)}'
    assert request in captured.out


async def test_the_configured_form_of_the_logs(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    client: ClientSession,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """JSON, an own field, the level, and no access log."""
    form = {
        "REGISTRY_LOG_FORMATTER": "json",
        "REGISTRY_LOG_LEVEL": "error",
        "REGISTRY_LOG_FIELDS_SERVICE": "harbour",
        "REGISTRY_LOG_ACCESSLOG_DISABLED": "true",
    }

    async with started(upstream, tmp_path, **form) as mirror:
        for path in ("/v2/", f"/v2/{APP}/manifests/nowhere"):
            async with client.get(url_of(mirror) + path) as response:
                await response.read()

    captured = capfd.readouterr()
    (record,) = [json.loads(line) for line in captured.err.splitlines()]
    assert (record["level"], record["service"]) == ("error", "harbour")
    assert record["err.code"] == "manifest unknown"
    assert captured.out == ""


async def test_what_the_configuration_makes_of_a_file_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each notice about the configuration is a line of its own, at its level."""
    file = tmp_path / "config.yml"
    file.write_text(
        "version: 0.1\n"
        f"storage: {{filesystem: {{rootdirectory: {tmp_path / 'data'}}}}}\n"
        "http: {addr: '127.0.0.1:0', adr: ':1'}\n"
        "loglevel: debug\n"
    )
    loaded = load(file, {})

    async with running(loaded):
        pass

    records = [parse_text(line) for line in capfd.readouterr().err.splitlines()]
    levels = {record["msg"]: record["level"] for record in records}
    assert len(loaded.notices) == 3
    for notice in loaded.notices:
        assert levels[str(notice)] == notice.level
    assert any("http.adr" in message for message in levels)


@pytest.mark.parametrize("formatter", ["text", "json"])
async def test_no_credential_is_ever_written(
    tmp_path: Path,
    upstream: ScriptedRegistry,
    client: ClientSession,
    capfd: pytest.CaptureFixture[str],
    formatter: str,
) -> None:
    """Neither the account upstream, nor its token, nor what a client sends, at any level.

    The registry repeats the token in an error, and the token server the account, as some do.
    """
    upstream.token_service(users={"alice": SECRET}, anonymous=False)
    image = upstream.add_image(APP, tag="latest")
    upstream.inject(faults.Status(403, message=f"not for {TOKEN}-1"), kind=RequestKind.BLOB)
    upstream.inject(
        faults.Status(403, message=f"not for alice:{SECRET}"), kind=RequestKind.TOKEN, skip=1
    )
    keys = {
        "REGISTRY_LOG_LEVEL": "debug",
        "REGISTRY_LOG_FORMATTER": formatter,
        "REGISTRY_PROXY_USERNAME": "alice",
        "REGISTRY_PROXY_PASSWORD": SECRET,
        "REGISTRY_HTTP_DEBUG_ADDR": "127.0.0.1:0",
    }
    secrets = [SECRET, base64.b64encode(f"alice:{SECRET}".encode()).decode(), TOKEN]
    shown = []

    async with started(upstream, tmp_path, **keys) as mirror:
        for path in (
            f"{APP}/manifests/latest?token={SECRET}",
            f"{APP}/blobs/{image.layers[0].digest}",
            f"{OTHER}/manifests/latest",
        ):
            async with client.get(
                f"{url_of(mirror)}/v2/{path}", headers={"Authorization": f"Bearer {SECRET}"}
            ) as response:
                shown.append(await response.text())
        async with client.get(f"{debug_url_of(mirror)}/debug/vars") as response:
            shown.append(await response.text())

    captured = capfd.readouterr()
    assert "manifests/latest" in captured.out
    assert captured.err.count("response completed with error") == 2
    leaks = [
        (secret, line)
        for text in (captured.out, captured.err, *shown)
        for line in text.splitlines()
        for secret in secrets
        if secret in line
    ]
    assert leaks == []
