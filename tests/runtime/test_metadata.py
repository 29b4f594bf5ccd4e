"""The metadata database within the running program."""

from pathlib import Path

from aiohttp import ClientSession

from roadstead.metadata.records import Totals
from roadstead.oci.digest import Digest
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.storage.layout import Layout
from tests.metadata.opened import opened, until
from tests.runtime.started import debug_url_of, started, url_of
from tests.support.rig import APP

PULLS = 4


async def test_what_clients_pull_is_noted(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """Rows, pulls and hourly totals, also of answers that are given again byte for byte."""
    image = upstream.add_image(APP, tag="latest", layers=[b"layer" * 1000])
    layer = image.layers[0]
    async with started(upstream, tmp_path) as mirror:
        manifest = f"manifests/{image.manifest_digest}"
        for path in (f"blobs/{layer.digest}", *[manifest] * PULLS):
            async with client.get(f"{url_of(mirror)}/v2/{APP}/{path}") as response:
                assert response.status == 200
                await response.read()

    async with opened(tmp_path) as database:
        (found,) = [one async for one in database.candidates()]
        totals = await database.hourly_totals(since=0)

    assert (found.digest, found.hits) == (Digest.parse(str(image.manifest_digest)), PULLS)
    assert {blob.digest for blob in found.blobs} >= {found.digest, layer.digest}
    assert {one.upstream for one in totals} == {upstream.url.removeprefix("http://")}
    small, large = len(image.content), len(layer.read())
    # A change of the hour may fall into the test.
    assert _sum(totals) == (1 + PULLS, PULLS - 1, PULLS * small + large, small + large)


async def test_lists_come_from_the_database(
    tmp_path: Path, upstream: ScriptedRegistry, client: ClientSession
) -> None:
    """While it is whole: a name that only the database has is listed, and the status says so."""
    async with opened(tmp_path) as database:
        database.record_layer(APP, Digest.of(b"1"), 1, 1.0).result(20)

    async with started(upstream, tmp_path, REGISTRY_HTTP_DEBUG_ADDR="127.0.0.1:0") as mirror:

        async def is_whole() -> bool:
            async with client.get(f"{debug_url_of(mirror)}/debug/status") as response:
                status = (await response.json())["metadata"]
            return bool(status["condition"] == "whole" and status["repositories"] == 1)

        await until(is_whole)
        async with client.get(f"{url_of(mirror)}/v2/_catalog") as response:
            assert await response.json() == {"repositories": [APP]}
    assert not Layout(tmp_path).repositories.exists()


def _sum(totals: list[Totals]) -> tuple[int, int, int, int]:
    return (
        sum(one.requests for one in totals),
        sum(one.hits for one in totals),
        sum(one.served_bytes for one in totals),
        sum(one.fetched_bytes for one in totals),
    )
