"""Failures 8, 9, 11 and 14: what is left when upstream is not there, or not itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import pytest
from aiohttp import ClientSession

from roadstead.mirror.freshness import FreshnessRules
from roadstead.oci.reference import Tag
from roadstead.simulator import faults
from roadstead.simulator.client import PullingClient
from roadstead.simulator.faults import Fault
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.timeouts import Timeouts
from tests.support.rig import APP, Rig, make_rig, serving
from tests.support.roadstead_process import free_port, start_roadstead

# Whoever waits for an upstream that is silent on purpose need not wait long.
PATIENCE_SECONDS = 0.4
# A busy machine is slow; a hang, and whoever waits where nothing is silent, is slower.
BOUND_SECONDS = 20.0

Trouble = Callable[[ScriptedRegistry], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answers:
    """An upstream whose every answer is spoilt."""

    fault: Fault

    async def __call__(self, upstream: ScriptedRegistry) -> None:
        """Spoil it from now on."""
        upstream.inject(self.fault)


async def fall_silent(upstream: ScriptedRegistry) -> None:
    """Accept connections and never answer."""
    upstream.pause()


async def refuse(upstream: ScriptedRegistry) -> None:
    """Refuse connections."""
    await upstream.stop()


async def forget(upstream: ScriptedRegistry) -> None:
    """Lose the repository."""
    upstream.repositories.clear()


LIMITED = faults.Status(429, "TOOMANYREQUESTS")
LIMITED_LONG = faults.Status(429, "TOOMANYREQUESTS", headers={"Retry-After": "21600"})
TROUBLES: dict[str, tuple[Trouble, set[int]]] = {
    "it is silent": (fall_silent, {504}),
    "it refuses connections": (refuse, {502}),
    "it resets connections": (Answers(faults.HangUp(reset=True)), {502}),
    "429": (Answers(LIMITED), {429}),
    "429 with Retry-After": (Answers(LIMITED_LONG), {429}),
    "401": (Answers(faults.Status(401, "UNAUTHORIZED")), {403}),
    "403": (Answers(faults.Status(403, "DENIED")), {403}),
    "404": (forget, {404}),
    "500": (Answers(faults.Status(500)), {502}),
    "503": (Answers(faults.Status(503, headers={"Retry-After": "600"})), {502}),
    "a web page": (Answers(faults.Html()), {502}),
}


@pytest.fixture
async def rig(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    """Give a served mirror, with little patience where upstream will be silent."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    silent = parameters.get("trouble") is fall_silent
    wait = PATIENCE_SECONDS if silent else 2 * BOUND_SECONDS
    rules = FreshnessRules(revalidation_limit=wait)
    # A small call may take the sum of the first two; a paused upstream still accepts connections.
    timeouts = Timeouts(connect=4 * wait, first_byte=wait, stall=wait, total=100)
    async with make_rig(tmp_path, rules=rules, timeouts=timeouts) as made, serving(made):
        yield made
        made.upstream.resume()


@pytest.mark.parametrize(("trouble", "_statuses"), TROUBLES.values(), ids=TROUBLES.keys())
async def test_what_is_held_by_tag_is_served_and_said_to_be_stale(
    rig: Rig, trouble: Trouble, _statuses: set[int]
) -> None:
    """Failure 9: a whole pull by tag, soon, with a Warning that tells the age and the reason."""
    image = rig.upstream.add_image(APP, tag="latest")
    await rig.hold(image)
    await trouble(rig.upstream)
    rig.clock.advance(7200)
    started = time.monotonic()

    async with PullingClient(rig.url) as client:
        pull = await client.pull(APP, "latest")

    assert (pull.failure, pull.digest) == ("", str(image.manifest_digest))
    assert pull.warnings
    assert all(warning.startswith('299 - "stale') for warning in pull.warnings)
    assert time.monotonic() - started < BOUND_SECONDS


@pytest.mark.parametrize(("trouble", "_statuses"), TROUBLES.values(), ids=TROUBLES.keys())
async def test_what_is_held_by_digest_asks_nobody(
    rig: Rig, trouble: Trouble, _statuses: set[int]
) -> None:
    """Failure 9: a pull by digest does not even try to reach upstream, and carries no warning."""
    image = rig.upstream.add_image(APP, tag="latest")
    await rig.hold(image)
    await trouble(rig.upstream)
    rig.upstream.requests.clear()
    rig.clock.advance(10**7)

    async with PullingClient(rig.url) as client:
        pull = await client.pull(APP, str(image.manifest_digest))

    assert (pull.failure, pull.warnings) == ("", [])
    assert rig.upstream.requests == []


async def test_a_name_that_no_longer_resolves_is_an_outage_too(tmp_path: Path) -> None:
    """Failure 9: when DNS fails, what is held is served, by the next process as well."""
    async with make_rig(tmp_path) as before:
        image = before.upstream.add_image(APP, tag="latest")
        await before.hold(image)
    async with (
        RegistryUpstream("http://registry.invalid") as upstream,
        make_rig(tmp_path, client=upstream, clock=before.clock) as rig,
        serving(rig),
        PullingClient(rig.url) as client,
    ):
        rig.clock.advance(7200)

        pull = await client.pull(APP, "latest")

    assert pull.failure == ""
    assert pull.warnings


@pytest.mark.parametrize("part", ["manifest by tag", "manifest by digest", "blob", "tags"])
@pytest.mark.parametrize(("trouble", "statuses"), TROUBLES.values(), ids=TROUBLES.keys())
async def test_what_is_not_held_is_a_documented_error_soon(
    rig: Rig, http: ClientSession, part: str, trouble: Trouble, statuses: set[int]
) -> None:
    """Failure 11: the status is the true one, the body the spec's, and nobody waits for long."""
    image = rig.upstream.add_image(APP, tag="latest")
    await trouble(rig.upstream)
    path = {
        "manifest by tag": "manifests/latest",
        "manifest by digest": f"manifests/{image.manifest_digest}",
        "blob": f"blobs/{image.layers[0].digest}",
        "tags": "tags/list",
    }[part]

    async with asyncio.timeout(BOUND_SECONDS), http.get(f"{rig.url}/v2/{APP}/{path}") as answer:
        document = await answer.json()

    assert answer.status in statuses
    (error,) = document["errors"]
    assert error["code"].isupper()
    assert error["message"]
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        assert int(answer.headers["Retry-After"]) <= 5


async def test_one_platform_is_enough_for_that_platform(rig: Rig, http: ClientSession) -> None:
    """Failure 8: the index stays as it was pushed; a child that was never pulled is a clear 502."""
    index = rig.upstream.add_index(APP, tag="latest")
    native, other = index.images
    async with PullingClient(rig.url) as client:
        assert (await client.pull(APP, "latest", platform=native.platform)).failure == ""
        await rig.landed()
        await rig.upstream.stop()
        rig.clock.advance(3600)

        again = await client.pull(APP, "latest", platform=native.platform)
        missing = await client.pull(APP, "latest", platform=other.platform)

    assert again.failure == ""
    assert missing.failure.endswith(f"manifests/{other.manifest_digest} was answered 502")
    async with http.get(f"{rig.url}/v2/{APP}/manifests/latest") as answer:
        assert await answer.read() == index.content


async def test_a_child_that_upstream_has_not_is_unknown(rig: Rig) -> None:
    """Failure 8: a trimmed index is served as it is, and its missing child is a 404."""
    index = rig.upstream.add_index(APP, tag="latest")
    native, other = index.images
    rig.upstream.delete_manifest(APP, other.manifest_digest)

    async with PullingClient(rig.url) as client:
        there = await client.pull(APP, "latest", platform=native.platform)
        missing = await client.pull(APP, "latest", platform=other.platform)

    assert (there.failure, there.digest) == ("", str(index.manifest_digest))
    assert missing.failure.endswith(f"manifests/{other.manifest_digest} was answered 404")


@pytest.mark.parametrize("state", [b"", b"{", b"null"], ids=["empty", "torn", "null"])
async def test_nothing_keeps_the_process_from_starting(tmp_path: Path, state: bytes) -> None:
    """Failure 14: without upstream, over a scheduler state that distribution left broken."""
    async with make_rig(tmp_path) as before:
        image = before.upstream.add_image(APP, tag="latest")
        await before.hold(image)
    (tmp_path / "scheduler-state.json").write_bytes(state)
    configuration = {
        "storage": {"filesystem": {"rootdirectory": str(tmp_path)}},
        "proxy": {"remoteurl": f"http://127.0.0.1:{free_port()}"},
    }

    with start_roadstead(configuration) as mirror:
        async with PullingClient(mirror.url) as client:
            pull = await client.pull(APP, "latest")

    assert (pull.failure, pull.digest) == ("", str(image.manifest_digest))
    assert (tmp_path / "scheduler-state.json").read_bytes() == state


async def test_an_outage_ends_when_it_ends(tmp_path: Path) -> None:
    """Failure 9: with upstream back, the next question after a short pause brings the new tag."""
    async with make_rig(tmp_path) as rig, serving(rig):
        await rig.hold(rig.upstream.add_image(APP, tag="latest", layers=[b"old"]))
        await rig.upstream.stop()
        rig.clock.advance(3600)
        stale = await rig.mirror.manifest(APP, Tag("latest"))
        await rig.upstream.start()
        newer = rig.upstream.add_image(APP, tag="latest", layers=[b"new"])
        rig.clock.advance(60)

        async with PullingClient(rig.url) as client:
            pull = await client.pull(APP, "latest")

        assert stale.stale_reason
        assert (pull.failure, pull.warnings) == ("", [])
        assert pull.digest == str(newer.manifest_digest)
