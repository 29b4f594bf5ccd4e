"""One piece of work per key at a time."""

import asyncio

import pytest

from roadstead.mirror.coalesce import Coalescer


async def test_callers_of_one_key_share_one_run() -> None:
    """While work runs, everybody who asks for its key gets its value; the first one started it."""
    coalescer: Coalescer[str, int] = Coalescer()
    release = asyncio.Event()
    runs = []

    async def work() -> int:
        runs.append(1)
        await release.wait()
        return 42

    callers = [asyncio.ensure_future(coalescer.run("key", work)) for _ in range(5)]
    await asyncio.sleep(0)
    release.set()
    results = await asyncio.gather(*callers)

    assert results == [(42, False)] + [(42, True)] * 4
    assert len(runs) == 1


async def test_a_later_call_runs_again() -> None:
    """Nothing is remembered once the work is done."""
    coalescer: Coalescer[str, int] = Coalescer()
    values = iter([1, 2])

    async def work() -> int:
        return next(values)

    assert await coalescer.run("key", work) == (1, False)
    assert await coalescer.run("key", work) == (2, False)


async def test_a_caller_that_leaves_does_not_stop_the_work() -> None:
    """Cancelling the first caller leaves the others with the value."""
    coalescer: Coalescer[str, int] = Coalescer()
    release = asyncio.Event()

    async def work() -> int:
        await release.wait()
        return 7

    first = asyncio.ensure_future(coalescer.run("key", work))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(coalescer.run("key", work))
    await asyncio.sleep(0)
    first.cancel()
    release.set()

    assert await second == (7, True)
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_an_error_reaches_every_caller() -> None:
    """All who wait hear of the failure."""
    coalescer: Coalescer[str, int] = Coalescer()

    async def work() -> int:
        message = "no"
        raise ValueError(message)

    results = await asyncio.gather(
        coalescer.run("key", work), coalescer.run("key", work), return_exceptions=True
    )

    assert [type(result) for result in results] == [ValueError, ValueError]


async def test_closing_cancels_what_runs() -> None:
    """No task outlives the coalescer."""
    coalescer: Coalescer[str, int] = Coalescer()

    async def work() -> int:
        await asyncio.Event().wait()
        return 0

    caller = asyncio.ensure_future(coalescer.run("key", work))
    await asyncio.sleep(0)
    await coalescer.aclose()

    with pytest.raises(asyncio.CancelledError):
        await caller
