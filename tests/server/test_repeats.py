"""Requests that come again byte for byte, over real sockets."""

import asyncio
import re
from pathlib import Path

import pytest

from roadstead.mirror.freshness import FreshnessRules
from roadstead.oci.reference import Tag
from roadstead.server.access.gate import Gate
from roadstead.server.access.networks import Networks
from roadstead.server.access.policy import Policy, Principals, Rule
from roadstead.simulator import faults
from roadstead.simulator.content import SimulatedImage
from roadstead.telemetry.events import RequestEnded
from tests.server.wire import Wire, connected, head, repeated, turn
from tests.support.rig import APP, Rig, make_rig, read_all, serving

_MOVING = re.compile(rb"(Date|X-Roadstead-Age|X-Roadstead-Fresh-For): [^\r]*\r\n")


@pytest.fixture
def image(rig: Rig) -> SimulatedImage:
    """Give an image that upstream has."""
    return rig.upstream.add_image(APP, tag="latest")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("what", ["tag", "digest", "blob"])
@pytest.mark.parametrize("closing", [False, True])
async def test_repeated_answer_is_the_same(
    rig: Rig, image: SimulatedImage, *, method: str, what: str, closing: bool
) -> None:
    """All of it but the date and the tag's age, and it is logged and counted as a hit."""
    await rig.hold(image)
    path = f"/v2/{APP}/manifests/latest"
    if what == "digest":
        path = f"/v2/{APP}/manifests/{image.manifest_digest}"
    elif what == "blob":
        path = f"/v2/{APP}/blobs/{image.blobs[0].digest}"
    asked = head(path, *(["Connection: close"] if closing else []), method=method)

    answers = []
    for _ in range(3):
        async with connected(rig) as wire:
            answers.append(await wire.ask(asked))
            if closing:
                assert await wire.is_closed()
    (first_head, first_body), *others = answers

    assert repeated(rig) >= 1
    assert b" 200 OK\r\n" in first_head
    for other_head, other_body in others:
        assert b"\r\nDate: " in other_head
        assert sorted(_MOVING.sub(b"", other_head).split(b"\r\n")) == sorted(
            _MOVING.sub(b"", first_head).split(b"\r\n")
        )
        assert set(_MOVING.findall(other_head)) == set(_MOVING.findall(first_head))
        assert other_body == first_body
    logged = {(one.target, one.status, one.written_bytes) for one in rig.exchanges}
    assert logged == {(path, 200, len(first_body))}
    assert len({one.request_id for one in rig.exchanges}) == 3


async def test_answers_keep_their_order(rig: Rig, image: SimulatedImage) -> None:
    """Known and unknown requests that are sent at once are answered one after the other."""
    await rig.hold(image)
    known = head(f"/v2/{APP}/manifests/{image.manifest_digest}")
    slow = head("/v2/nobody/knows/manifests/this")
    async with connected(rig) as wire:
        content = (await wire.ask(known))[1]
        await wire.ask(known)
        before = repeated(rig)

        wire.send(slow, known)
        wire.send(slow)
        await turn(rig)
        wire.send(known)
        statuses = [(await wire.answer())[0].split()[1] for _ in range(3)]
        assert (await wire.answer())[1] == content

    assert before == 1
    assert statuses == [b"404", b"200", b"404"]


@pytest.mark.parametrize("at_once", [False, True])
async def test_known_head_waits_for_all_answers_before_it(
    rig: Rig, image: SimulatedImage, *, at_once: bool
) -> None:
    """While requests wait for upstream, the next one on the connection is not answered."""
    await rig.hold(image)
    known = head(f"/v2/{APP}/manifests/{image.manifest_digest}")
    images, releases = [], [asyncio.Event(), asyncio.Event()]
    for tag, release in zip(("one", "two"), releases, strict=True):
        slow = rig.upstream.add_image(APP, tag=tag, layers=[tag.encode()])
        images.append(slow)
        rig.upstream.inject(
            faults.Stall(after=0, release=release), reference=str(slow.manifest_digest)
        )
    first, second = (head(f"/v2/{APP}/manifests/{tag}") for tag in ("one", "two"))
    async with connected(rig) as wire:
        await wire.ask(known)
        if at_once:
            wire.send(first, second)
        else:
            wire.send(first)
            await turn(rig)
            wire.send(second)
        await turn(rig)
        releases[0].set()
        bodies = [(await wire.answer())[1]]
        wire.send(known)
        await turn(rig)
        releases[1].set()
        bodies += [(await wire.answer())[1] for _ in range(2)]

    assert bodies == [images[0].content, images[1].content, image.content]


async def test_a_body_is_never_taken_for_a_request(rig: Rig, image: SimulatedImage) -> None:
    """Bytes that a request has announced as its body are not answered, whatever they look like."""
    await rig.hold(image)
    known = head(f"/v2/{APP}/manifests/{image.manifest_digest}")
    with_body = head("/v2/", f"Content-Length: {len(known)}")
    async with connected(rig) as wire:
        await wire.ask(known)
        await wire.ask(known)
        assert repeated(rig) == 1

        wire.send(with_body)
        await wire.answer()
        wire.send(known)
        await turn(rig)
        wire.send(head("/v2/none"))
        status = (await wire.answer())[0].split()[1]

    assert status == b"404"
    assert repeated(rig) == 1


async def test_head_in_pieces_is_one_head(rig: Rig, image: SimulatedImage) -> None:
    """What stands between two requests only counts there: not in the middle of a head."""
    await rig.hold(image)
    known = head(f"/v2/{APP}/manifests/{image.manifest_digest}")
    async with connected(rig) as wire:
        await wire.ask(known)
        wire.send(b"GET /v2/none HTTP/1.1\r\nHost: mirror\r\nX-Tail: ")
        await turn(rig)
        wire.send(known)
        status = (await wire.answer())[0].split()[1]

    assert status in (b"400", b"404")
    assert repeated(rig) == 0


@pytest.mark.parametrize(
    "extra",
    ["Range: bytes=0-1", 'If-None-Match: "x"', "Authorization: Basic eA==", "If-Range: x"],
)
async def test_conditions_are_weighed_each_time(
    rig: Rig, image: SimulatedImage, extra: str
) -> None:
    """A request whose answer hangs on more than its path is never answered as an earlier one."""
    await rig.hold(image)
    path = f"/v2/{APP}/blobs/{image.blobs[0].digest}"
    async with connected(rig) as wire:
        for _ in range(3):
            await wire.ask(head(path, extra))

    assert repeated(rig) == 0


async def test_tag_that_is_no_longer_fresh_is_asked_about(tmp_path: Path) -> None:
    """A repeated request for a tag goes upstream when the tag's time is over."""
    async with make_rig(tmp_path, rules=FreshnessRules(tag_ttl=60)) as rig, serving(rig):
        await rig.hold(rig.upstream.add_image(APP, tag="latest"))
        asked = head(f"/v2/{APP}/manifests/latest")
        async with connected(rig) as wire:
            await wire.ask(asked)
            rig.clock.advance(30)
            fresh = (await wire.ask(asked))[0]
            assert repeated(rig) == 1
            assert b"\r\nX-Roadstead-Age: 30\r\nX-Roadstead-Fresh-For: 30\r\n" in fresh
            rig.clock.advance(31)
            late = (await wire.ask(asked))[0]

    assert b"X-Roadstead-Outcome: revalidated" in late


async def test_tag_that_has_moved_is_another_answer(rig: Rig, image: SimulatedImage) -> None:
    """A known request gets the new manifest as soon as the tag points at it."""
    await rig.hold(image)
    asked = head(f"/v2/{APP}/manifests/latest")
    async with connected(rig) as wire:
        before = (await wire.ask(asked))[1]
        other = rig.upstream.add_image(APP, tag="latest", layers=[b"another"])
        rig.clock.advance(61)
        await rig.mirror.manifest(APP, Tag("latest"))
        after = [(await wire.ask(asked))[1] for _ in range(3)]

    assert before == image.content
    assert after == [other.content] * 3


async def test_removed_blob_is_not_answered_from_memory(rig: Rig, image: SimulatedImage) -> None:
    """A known request for a blob looks at the disk, where another process may have removed it."""
    await rig.hold(image)
    blob = image.blobs[0]
    asked = head(f"/v2/{APP}/blobs/{blob.digest}")
    async with connected(rig) as wire:
        await wire.ask(asked)
        await wire.ask(asked)
        for path in rig.root.glob(f"**/{blob.digest.encoded}/data"):
            path.unlink()
        answer = await wire.ask(asked)

    assert b"X-Roadstead-Outcome: miss" in answer[0]
    assert answer[1] == await read_all(await rig.mirror.blob(APP, blob.digest))


async def test_sick_mirror_answers_nothing_from_memory(rig: Rig, image: SimulatedImage) -> None:
    """Known requests get the 503 of a failed health check, too."""
    await rig.hold(image)
    asked = head(f"/v2/{APP}/manifests/{image.manifest_digest}")
    async with connected(rig) as wire:
        await wire.ask(asked)
        rig.healthy = False
        sick = (await wire.ask(asked))[0]

    assert sick.split()[1] == b"503"


async def test_draining_mirror_keeps_no_connection(rig: Rig, image: SimulatedImage) -> None:
    """Known requests are told to close too, when a stop is announced."""
    await rig.hold(image)
    asked = head(f"/v2/{APP}/manifests/{image.manifest_digest}")
    async with connected(rig) as wire:
        await wire.ask(asked)
        rig.draining = True
        told = [(await wire.ask(asked))[0] for _ in range(2)]

    assert all(b"\r\nConnection: close\r\n" in one for one in told)


async def test_guarded_mirror_decides_each_time(tmp_path: Path) -> None:
    """Where not everybody may read, every request passes the gate."""
    async with make_rig(tmp_path) as rig:
        everybody = Rule(allows=True, principals=Principals(everybody=True))
        near = Policy((everybody,), allowed=Networks.parse(["127.0.0.0/8"]))
        gate = Gate(near, mirrors=rig.mirrors)
        async with serving(rig, gate=gate):
            image = rig.upstream.add_image(APP, tag="latest")
            await rig.hold(image)
            asked = head(f"/v2/{APP}/manifests/{image.manifest_digest}")
            async with connected(rig) as wire:
                for _ in range(3):
                    assert (await wire.ask(asked))[0].split()[1] == b"200"

    assert repeated(rig) == 0


async def test_idle_connections_are_closed_whoever_answered(tmp_path: Path) -> None:
    """A connection without requests ends after the keep-alive time, one in use does not."""
    async with make_rig(tmp_path) as rig, serving(rig, keepalive_seconds=0.5):
        await rig.hold(rig.upstream.add_image(APP, tag="latest"))
        asked = head(f"/v2/{APP}/manifests/latest")
        async with connected(rig) as silent, connected(rig) as first, connected(rig) as second:
            await first.ask(asked)
            await second.ask(asked)
            assert repeated(rig) == 1
            for wire in (silent, first, second):
                assert await wire.is_closed()


async def test_stop_closes_idle_connections_at_once(tmp_path: Path) -> None:
    """Connections that wait for the next request do not hold up the end."""
    async with make_rig(tmp_path) as rig:
        async with serving(rig, drain_seconds=30):
            await rig.hold(rig.upstream.add_image(APP, tag="latest"))
            asked = head(f"/v2/{APP}/manifests/latest")
            reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            wire = Wire(reader, writer)
            await wire.ask(asked)
            await wire.ask(asked)
            second = await asyncio.open_connection("127.0.0.1", rig.port)
            fresh = Wire(*second)
            await fresh.ask(asked)
            stopping = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - stopping < 10
        assert await wire.is_closed()
        assert await fresh.is_closed()
        writer.close()
        second[1].close()


async def test_memory_of_heads_is_bounded(rig: Rig, image: SimulatedImage) -> None:
    """A client that makes up heads fills no memory, and the others are learned again."""
    await rig.hold(image)
    path = f"/v2/{APP}/manifests/{image.manifest_digest}"
    async with connected(rig) as wire:
        for number in range(4200):
            await wire.ask(head(path, f"X-Number: {number}"))
        before = repeated(rig)
        assert before == 0
        await wire.ask(head(path, "X-Number: 0"))
        await wire.ask(head(path, "X-Number: 0"))
        long = head(path, f"X-Long: {'x' * 4000}")
        await wire.ask(long)
        await wire.ask(long)

    assert repeated(rig) == 1
    assert sum(isinstance(event, RequestEnded) for event in rig.events) == 4203
