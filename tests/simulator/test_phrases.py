"""Faults in an operator's words do what they say, where they say."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientError, ClientSession

from roadstead.oci.digest import Digest
from roadstead.simulator.client import PullingClient
from roadstead.simulator.phrases import FORMS, parse_fault, parse_size
from roadstead.simulator.rehearsal import Script, play
from roadstead.simulator.stage import Stage

APP = "library/app1"
LAYER_BYTES = 200_000


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Provide a registry whose blobs come from another host."""
    async with play(Script(manners="mcr", images=1, layers=1, layer_bytes=LAYER_BYTES)) as played:
        yield played


def layer_of(stage: Stage) -> Digest:
    """Return the digest of the one layer."""
    blobs = stage.registry.repositories[APP].blobs
    return Digest.parse(max(blobs, key=lambda digest: blobs[digest].size_bytes))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("100", 100), ("100B", 100), ("2kB", 2000), ("64KiB", 65536), ("1.5 MiB", 3 << 19)],
)
def test_sizes_are_read(text: str, expected: int) -> None:
    """Numbers of bytes may have decimal or binary units."""
    assert parse_size(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("explode", "there is no fault 'explode'"),
        ("cut", "write cut:BYTES"),
        ("cut:", "no number of bytes"),
        ("cut:-1", "no number of bytes"),
        ("cut:1TiB", "no number of bytes"),
        ("html:1", "html takes no argument"),
        ("status:200", "no status from 400 to 599"),
        ("status:600", "no status from 400 to 599"),
        ("latency:soon", "no number of seconds"),
        ("latency:nan", "no number of seconds"),
        ("latency:inf", "no number of seconds"),
        ("slow:0", "stall:0"),
    ],
)
def test_what_cannot_be_played_is_explained(text: str, said: str) -> None:
    """A wrong fault is refused with what would be right."""
    with pytest.raises(ValueError, match=said):
        parse_fault(text)


@pytest.mark.parametrize("text", ["cut:1000", "reset:1000"])
async def test_bodies_break_off(stage: Stage, text: str) -> None:
    """A cut acts where the bytes are sent, as often as asked for, and is in the record."""
    parse_fault(text).apply(stage, times=1)
    url = f"{stage.registry.url}/v2/{APP}/blobs/{layer_of(stage)}"
    async with ClientSession() as http:
        with pytest.raises(ClientError):
            async with http.get(url) as answer:
                await answer.read()
        async with http.get(url) as answer:
            assert Digest.of(await answer.read()) == layer_of(stage)

    cut, whole = stage.bodies.requests
    assert (cut.faults, cut.body_bytes_sent) == ((text,), 1000)
    assert (whole.faults, whole.body_bytes_sent) == ((), whole.body_bytes)


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("status:503", "was answered 503"),
        ("wrong-bytes", "ended cleanly with other bytes"),
        ("html", "told no digest"),
        ("cut:0", "the connection failed"),
        ("stall:1", "not complete after 0.2 s"),
        ("latency:5", "not complete after 0.2 s"),
        ("slow:1kB", "not complete after 0.2 s"),
    ],
)
async def test_each_fault_is_felt_by_a_client(stage: Stage, text: str, failure: str) -> None:
    """Whoever pulls without a mirror suffers from each of them."""
    parse_fault(text).apply(stage, times=None)

    async with PullingClient(stage.registry.url, timeout_seconds=0.2) as client:
        pull = await client.pull(APP, "latest")

    assert failure in pull.failure


async def test_without_range_everything_is_sent(stage: Stage) -> None:
    """A client that asks for a part gets all of it with 200."""
    parse_fault("no-range").apply(stage, times=None)
    async with (
        ClientSession(headers={"Range": "bytes=100-199"}) as http,
        http.get(f"{stage.registry.url}/v2/{APP}/blobs/{layer_of(stage)}") as answer,
    ):
        assert answer.status == 200
        assert len(await answer.read()) > LAYER_BYTES


def test_every_form_can_be_written() -> None:
    """Each fault that the help names can be asked for."""
    arguments = {"": "", "BYTES": ":1", "BYTES_PER_SECOND": ":1", "CODE": ":500", "SECONDS": ":1"}

    for word, form in FORMS.items():
        assert parse_fault(f"{word}{arguments[form.argument]}").text.startswith(word)
