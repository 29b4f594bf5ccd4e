"""Failures 1 and 2: bodies that end too early, in every way a connection can end."""

import pytest
from aiohttp import ClientSession

from roadstead.simulator import faults
from roadstead.simulator.faults import Fault, RequestKind
from tests.failures.answers import get_blob
from tests.support.rig import APP, Rig

CONTENT = bytes(range(251)) * 1200
SIZE = len(CONTENT)
OFFSETS = [0, 1, SIZE // 2, SIZE - 1]
FRAMINGS: dict[str, Fault] = {
    "with a length": faults.Headers(),
    "chunked": faults.Unsized(chunked=True),
    "ended by closing": faults.Unsized(),
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("offset", OFFSETS)
async def test_a_cut_that_passes_goes_unnoticed_or_breaks_off(
    rig: Rig, http: ClientSession, framing: str, offset: int
) -> None:
    """Failure 1: with a length the client notices nothing; never is a short body a clean one."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(FRAMINGS[framing], kind=RequestKind.BLOB)
    rig.upstream.inject(faults.Cut(offset), kind=RequestKind.BLOB, times=1)

    answer = await get_blob(http, rig, blob.digest)
    await rig.landed()

    assert CONTENT.startswith(answer.body) or answer.status != 200
    assert not answer.is_whole or answer.body == CONTENT
    if framing == "with a length":
        assert answer.is_whole
        assert rig.upstream.blob_bytes_sent(blob.digest) == SIZE
    if not answer.is_whole:
        assert rig.files() == []
    assert (await get_blob(http, rig, blob.digest)).body == CONTENT


@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_cut_that_stays_is_an_error(rig: Rig, http: ClientSession, framing: str) -> None:
    """Failure 1: an upstream that never sends a byte is a 5xx or a broken body, in bounded time."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(FRAMINGS[framing], kind=RequestKind.BLOB)
    rig.upstream.inject(faults.Cut(0), kind=RequestKind.BLOB)

    answer = await get_blob(http, rig, blob.digest)
    await rig.landed()

    assert not answer.is_whole
    assert await rig.store.stat_blob(APP, blob.digest) is None


HABITS: dict[str, Fault] = {
    "Range": faults.Headers(),
    "no Range": faults.WithoutRange(),
    "a wrong Content-Range": faults.LyingRange(-1),
    "another ETag": faults.Headers(put={"ETag": '"another"'}),
}


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("offset", OFFSETS)
async def test_a_reset_is_made_good(rig: Rig, http: ClientSession, habit: str, offset: int) -> None:
    """Failure 2: the blob goes on where it stopped, or begins again; the client notices nothing."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(HABITS[habit], kind=RequestKind.BLOB, skip=1)
    rig.upstream.inject(faults.Cut(offset, reset=True), kind=RequestKind.BLOB, times=1)

    answer = await get_blob(http, rig, blob.digest)

    assert answer.is_whole
    assert answer.body == CONTENT
    if habit in {"Range", "another ETag"}:
        # A reset may throw away what was still on its way.
        assert rig.upstream.blob_bytes_sent(blob.digest) <= 2 * SIZE


@pytest.mark.parametrize("offset", OFFSETS[1:])
async def test_a_lie_about_the_place_is_never_served(
    rig: Rig, http: ClientSession, offset: int
) -> None:
    """Failure 2: bytes from elsewhere under the right Content-Range break off, and are not kept."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Cut(offset), kind=RequestKind.BLOB, times=1)
    lie = faults.LyingRange(-1, admit=False)
    rig.upstream.inject(lie, kind=RequestKind.BLOB)

    answer = await get_blob(http, rig, blob.digest)
    await rig.landed()

    assert not answer.is_whole
    assert rig.files() == []


@pytest.mark.parametrize("content", [b"<html>portal</html>", CONTENT + b"more"])
async def test_other_content_is_never_the_blob(
    rig: Rig, http: ClientSession, content: bytes
) -> None:
    """Failure 1: a web page, or more than the blob, is neither a clean answer nor kept."""
    blob = rig.upstream.add_blob(APP, CONTENT)
    rig.upstream.inject(faults.Substitute(content, "text/html"), kind=RequestKind.BLOB)

    answer = await get_blob(http, rig, blob.digest)
    await rig.landed()

    assert not answer.is_whole
    assert rig.files() == []
