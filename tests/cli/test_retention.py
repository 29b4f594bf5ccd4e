"""Evicting, pinning and purging from the command line, beside a mirror and without one."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from roadstead.cli.main import app
from roadstead.runtime import Running
from roadstead.simulator.client import PullingClient
from roadstead.simulator.registry import ScriptedRegistry
from tests.runtime.started import debug_url_of, started, url_of

pytestmark = pytest.mark.usefixtures("quiet")

LAYER_BYTES = 100 * 1024


async def roadstead(mirror: Running, *arguments: str, answer: str = "") -> Result:
    """Run a command in another thread, as the mirror runs in this one's loop."""
    words = [*arguments, "--mirror", debug_url_of(mirror)]
    return await asyncio.to_thread(CliRunner().invoke, app, words, answer)


async def pull(mirror: Running, upstream: ScriptedRegistry, *names: str) -> None:
    """Have a mirror hold images."""
    async with PullingClient(url_of(mirror)) as client:
        for number, name in enumerate(names):
            layers = [bytes([number]) * LAYER_BYTES]
            upstream.add_image(name, tag="1.0", layers=layers)
            assert (await client.pull(name, "1.0")).failure == ""
    await mirror.mirrors.landed()
    async with asyncio.timeout(20):
        while (await roadstead(mirror, "pins")).exit_code != 0:
            pass


async def test_eviction_asks_first_and_pins_hold(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """A dry run names image and bytes, "no" changes nothing, a pinned image stays."""
    async with started(
        upstream, tmp_path, REGISTRY_HTTP_DEBUG_ADDR="127.0.0.1:0", REGISTRY_LOG_LEVEL="error"
    ) as mirror:
        await pull(mirror, upstream, "library/app", "library/other")

        dry = await roadstead(mirror, "evict", "library/*", "--dry-run")
        listed = await roadstead(mirror, "evict", "library/*", "--dry-run", "--json")
        names = [one["image"].partition("/")[2] for one in json.loads(listed.output)["images"]]
        assert names == ["library/app:1.0", "library/other:1.0"]
        assert "2 images would be evicted, 201 KiB freed" in dry.output
        declined = await roadstead(mirror, "evict", "library/app", answer="n\n")
        assert declined.exit_code == 1
        pinned = await roadstead(mirror, "pin", "library/other:*")
        assert "1 image held" in pinned.output
        evicted = await roadstead(mirror, "evict", "library/*", "--yes")
        assert "1 image evicted, 101 KiB freed" in evicted.output

        pinned_now = json.loads((await roadstead(mirror, "pins", "--json")).output)
        assert [one["by"] for one in pinned_now["pins"]] == ["the local machine"]
        kept = json.loads((await roadstead(mirror, "evict", "**", "-y", "--json")).output)
        assert kept["evicted"] == 0
        assert kept["kept"]["pinned"]["images"] == 1
        freed = await roadstead(mirror, "unpin", "library/other:*", "--dry-run")
        assert "1 image may go, 101 KiB" in freed.output
        assert (await roadstead(mirror, "unpin", "library/other:*")).exit_code == 0
        assert (await roadstead(mirror, "unpin", "library/other:*")).exit_code == 1
        plan = await roadstead(mirror, "retention", "plan")
        assert "0 images would be evicted" in plan.output


async def test_a_pattern_that_is_none_is_refused(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """With a reason, and nothing is done."""
    async with started(upstream, tmp_path, REGISTRY_HTTP_DEBUG_ADDR="127.0.0.1:0") as mirror:
        await pull(mirror, upstream)
        refused = await roadstead(mirror, "evict", "No Such", "--yes")
    assert refused.exit_code == 1
    assert "invalid pattern: 'No Such'" in refused.output


async def test_partial_downloads_are_purged(tmp_path: Path, upstream: ScriptedRegistry) -> None:
    """Old ones or all of them, and a dry run says how many bytes."""
    async with started(upstream, tmp_path, REGISTRY_HTTP_DEBUG_ADDR="127.0.0.1:0") as mirror:
        await pull(mirror, upstream)
        partial = tmp_path / "roadstead" / "partial" / "boot" / "sha256" / ("a" * 64)
        partial.parent.mkdir(parents=True)
        partial.write_bytes(bytes(2048))
        young = await roadstead(mirror, "purge", "--older-than", "1d")
        assert "0 partial downloads removed" in young.output
        dry = await roadstead(mirror, "purge", "--dry-run")
        assert "1 partial download would be removed, 2 KiB" in dry.output
        assert partial.exists()
        assert "1 partial download removed" in (await roadstead(mirror, "purge")).output
        assert not partial.exists()
        assert (await roadstead(mirror, "purge", "--older-than", "soon")).exit_code == 2


async def test_a_volume_without_a_mirror_is_worked_on_directly(
    tmp_path: Path, upstream: ScriptedRegistry
) -> None:
    """The same commands, given a configuration; the next mirror finds what they left."""
    volume = tmp_path / "volume"
    async with started(
        upstream, volume, REGISTRY_HTTP_DEBUG_ADDR="127.0.0.1:0", REGISTRY_LOG_LEVEL="error"
    ) as mirror:
        await pull(mirror, upstream, "library/app", "library/other")
    file = tmp_path / "config.yml"
    file.write_text(
        json.dumps(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(volume)}},
                "proxy": {"remoteurl": upstream.url},
            }
        )
    )

    def offline(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--config", str(file)])

    assert (await asyncio.to_thread(offline, "pin", "library/other")).exit_code == 0
    evicted = await asyncio.to_thread(offline, "evict", "**", "--yes")
    assert "1 image evicted, 101 KiB freed" in evicted.output
    links = volume.glob("docker/registry/v2/repositories/library/*/_manifests/revisions/*/*/link")
    assert [link.parts[-6] for link in links] == ["other"]
