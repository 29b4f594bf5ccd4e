"""What clients send makes no series: labels have closed sets of values."""

import asyncio
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from roadstead.runtime import Running
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import started


def series(mirror: Running) -> set[str]:
    """Return all series of a scrape, without values."""
    text = mirror.metrics.render()[0].decode()
    return {
        f"{sample.name}{sorted(sample.labels.items())}"
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def held_name(number: int) -> str:
    """Name a repository that there is."""
    return f"team{number}/app"


def made_up(number: int) -> list[str]:
    """Return the first lines of requests that nobody has sent before; one is for an image."""
    name, digest = f"org{number}/app{number}", f"sha256:{number:064x}"
    return [
        f"GET /v2/{held_name(number)}/manifests/latest",
        f"GET /v2/{name}/manifests/v{number}",
        f"GET /v2/{name}/manifests/{digest}",
        f"GET /v2/{name}/blobs/{digest}",
        f"HEAD /v2/{name}/blobs/{digest}",
        f"GET /v2/{name}/tags/list?n={number}",
        f"GET /v2/{name}/manifests/v1?ns=host{number}.example",
        f"GET /v2/{name}/referrers/{digest}",
        f"GET /path{number}/of/nobody",
        f"GET /v2/{name}/nothing{number}",
        f"DELETE /v2/{name}/manifests/{digest}",
        f"VERB{number} /v2/",
    ]


async def send(mirror: Running, numbers: range) -> None:
    """Send what is made up for each number."""
    for number in numbers:
        for line in made_up(number):
            await ask(mirror, f"{line} HTTP/1.1\r\nUser-Agent: made-up/{number}", f"m{number}")


async def ask(mirror: Running, head: str, host: str = "m") -> bytes:
    """Send one request, and return its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mirror.port)
    writer.write(f"{head}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_made_up_requests_make_no_series(tmp_path: Path) -> None:
    """What the first machine asks makes all the series that all others would."""
    async with ScriptedRegistry() as upstream, started(upstream, tmp_path) as mirror:
        for number in range(15):
            upstream.add_image(held_name(number), tag="latest")
        await send(mirror, range(3))
        before = series(mirror)
        await send(mirror, range(3, 15))
        after = series(mirror)

    # Measured in their own time, whoever asks.
    background = ("python_", "roadstead_disk_", "roadstead_store_", "roadstead_metadata_")
    assert {name for name in after - before if not name.startswith(background)} == set()
    assert not any("made-up" in name or "nobody" in name or "example" in name for name in after)
    assert any("roadstead_pulls_total" in name for name in after)
    assert any("roadstead_failed_requests_total" in name for name in after)


async def test_classes_are_those_of_the_configuration(tmp_path: Path) -> None:
    """A repository is counted in the first class that matches, and else as other."""
    async with ScriptedRegistry() as upstream:
        host = upstream.url.removeprefix("http://")
        for name in ("org/base/one", "org/app", "them/app"):
            upstream.add_image(name, tag="latest")
        classes = {
            "REGISTRY_HTTP_DEBUG_PROMETHEUS_CLASSES_BASE_0": f"{host}/org/base/*",
            "REGISTRY_HTTP_DEBUG_PROMETHEUS_CLASSES_OURS_0": f"{host}/org/**",
        }
        async with started(upstream, tmp_path, **classes) as mirror:
            for name in ("org/base/one", "org/app", "them/app"):
                answer = await ask(mirror, f"GET /v2/{name}/manifests/latest HTTP/1.1")
                assert answer.startswith(b"HTTP/1.1 200 ")
            counted = {name for name in series(mirror) if "roadstead_pulls_total" in name}

    assert {name.split("'class', '")[1].split("'")[0] for name in counted} == {
        "base",
        "ours",
        "other",
    }
