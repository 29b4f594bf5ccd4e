"""Turns at upstream."""

import asyncio

from roadstead.runtime.workers.turns import Turns


async def test_one_worker_at_a_time_has_a_turn() -> None:
    """The next one gets it when it is given back."""
    turns = Turns()
    await turns.take("image", 1)
    waiting = asyncio.ensure_future(turns.take("image", 2))
    await turns.take("another image", 2)
    assert not waiting.done()

    turns.give_back("image", 2)
    await asyncio.sleep(0)
    assert not waiting.done()
    turns.give_back("image", 1)
    await waiting


async def test_a_worker_that_dies_has_no_turn() -> None:
    """Nobody waits for it."""
    turns = Turns()
    await turns.take("image", 1)
    waiting = asyncio.ensure_future(turns.take("image", 2))
    await asyncio.sleep(0)
    turns.forget(1)
    await waiting


async def test_whoever_gives_up_waiting_keeps_nobody_waiting() -> None:
    """And leaves nothing behind."""
    turns = Turns()
    await turns.take("image", 1)
    waiting = asyncio.ensure_future(turns.take("image", 2))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    turns.give_back("image", 1)
    await turns.take("image", 3)
