"""A real Prometheus scrapes a real mirror and answers what the dashboard asks."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from roadstead.simulator.registry import ScriptedRegistry
from tests.deploy.test_monitoring import dashboard_expressions, rule_expressions
from tests.metadata.opened import until
from tests.runtime.started import debug_url_of, started, url_of
from tests.support.rig import APP
from tests.support.roadstead_process import free_port

pytestmark = pytest.mark.servers

_INTERVAL = "200ms"
# What has no series until it happens, or where it is configured, and did not happen here.
_SILENT = (
    "roadstead_upstream_pulls_",
    "roadstead_upstream_errors_total",
    'error!="none"',
    "registry_notifications_",
    "roadstead_store_limit_bytes",
    "roadstead_storage_errors_total",
    "roadstead_verification_complete_",
    "roadstead_retention_last_run_",
)


class Prometheus:
    """A running server."""

    def __init__(self, url: str, client: ClientSession) -> None:
        self._url = url
        self._client = client

    async def ask(self, expression: str) -> list[Any]:
        """Return the result of an expression now; an error is one of the test's."""
        url = f"{self._url}/api/v1/query"
        async with self._client.get(url, params={"query": expression}) as response:
            if response.status == HTTPStatus.SERVICE_UNAVAILABLE:
                # It listens before it can answer.
                response.raise_for_status()
            document = json.loads(await response.read())
        assert document["status"] == "success", (expression, document)
        result: list[Any] = document["data"]["result"]
        return result

    async def counts(self, expression: str, least: float) -> bool:
        """Say whether the first result of an expression has reached a value."""
        try:
            result = await self.ask(expression)
        except ClientError:
            return False
        return bool(result) and float(result[0]["value"][1]) >= least


@asynccontextmanager
async def scraping(target: str, folder: Path, client: ClientSession) -> AsyncIterator[Prometheus]:
    """Run Prometheus over one target."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed")
    config = folder / "prometheus.yml"
    scrape = {"job_name": "roadstead", "static_configs": [{"targets": [target]}]}
    given = {"scrape_interval": _INTERVAL, "scrape_timeout": _INTERVAL}
    config.write_text(json.dumps({"global": given, "scrape_configs": [scrape]}))
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={address}",
        "--log.level=error",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Prometheus(f"http://{address}", client)
    finally:
        process.kill()
        await process.wait()


async def test_the_dashboard_has_data(tmp_path: Path) -> None:
    """Every panel of what has happened shows something, and every other one is understood."""
    async with ScriptedRegistry() as upstream, ClientSession() as client:
        answers = await _asked(upstream, client, tmp_path)

    empty = [one for one, answer in answers.items() if not answer]
    assert [one for one in empty if not any(text in one for text in _SILENT)] == []
    assert len(answers) > 50


async def _asked(
    upstream: ScriptedRegistry, client: ClientSession, folder: Path
) -> dict[str, list[Any]]:
    """Pull through a mirror until there are rates, then ask what panels and rules ask."""
    image = upstream.add_image(APP, tag="latest")
    debugged = {
        "REGISTRY_HTTP_DEBUG_ADDR": "127.0.0.1:0",
        "REGISTRY_HTTP_DEBUG_PROMETHEUS_ENABLED": "true",
        "REGISTRY_LOG_LEVEL": "error",
    }
    async with started(upstream, folder / "store", **debugged) as mirror:
        target = debug_url_of(mirror).removeprefix("http://")
        async with scraping(target, folder, client) as prometheus:

            async def pull() -> bool:
                for path in ("manifests/latest", f"blobs/{image.blobs[0].digest}"):
                    async with client.get(f"{url_of(mirror)}/v2/{APP}/{path}") as response:
                        assert response.status == 200
                        await response.read()
                return await prometheus.counts("count_over_time(roadstead_flights[5m])", 3)

            await until(pull)
            # Rates begin with the second sample of a series.
            await until(lambda: prometheus.counts("sum(increase(roadstead_pulls_total[5m]))", 1))
            scraped = "count_over_time(roadstead_disk_free_bytes[5m])"
            await until(lambda: prometheus.counts(scraped, 2))
            await until(lambda: prometheus.counts("roadstead_store_used_bytes", 1))
            answers = {one: await prometheus.ask(one) for one in dashboard_expressions()}
            for expression in rule_expressions():
                await prometheus.ask(expression)
    return answers
