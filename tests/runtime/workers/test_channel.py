"""Messages between two processes, here between two ends in one."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from roadstead.runtime.workers.channel import Channel, ChannelClosedError


class Echo:
    """Answers with what was asked, and remembers what was told."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def told(self, what: str, message: Mapping[str, Any]) -> None:
        """Remember."""
        self.heard.append((what, message["value"]))

    async def answer(self, what: str, message: Mapping[str, Any]) -> object:
        """Echo; the question "never" is never answered."""
        if what == "never":
            await asyncio.sleep(60)
        if what == "fail":
            raise ValueError
        return [what, message["value"]]


@contextlib.asynccontextmanager
async def two_ends() -> AsyncIterator[tuple[Channel, Channel, Echo]]:
    """Give both ends, and who listens at the second."""
    echo = Echo()
    ends = [await Channel.over(one) for one in socket.socketpair()]
    running = [asyncio.create_task(end.run(echo)) for end in ends]
    yield ends[0], ends[1], echo
    for end in ends:
        end.close()
    await asyncio.gather(*running)


async def test_what_is_told_comes_in_order_and_questions_are_answered() -> None:
    """Both may be under way at the same time, and large."""
    async with two_ends() as (one, _, echo):
        for number in range(100):
            one.tell("number", value=number)
        large = "x" * 1_000_000
        answers = await asyncio.gather(one.ask("a", value=1), one.ask("b", value=large))
        assert list(answers) == [["a", 1], ["b", large]]
        assert echo.heard == [("number", number) for number in range(100)]


async def test_a_failure_is_no_answer_but_an_end_of_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged where it happened."""
    async with two_ends() as (one, _, _echo):
        assert await one.ask("fail", value=0) is None
    assert "failed" in caplog.text


async def test_nobody_waits_for_a_process_that_is_gone() -> None:
    """Questions under way end, and later ones at once."""
    async with two_ends() as (one, other, _):
        asking = asyncio.ensure_future(one.ask("never", value=0))
        await one.ask("first", value=0)
        other.close()
        with pytest.raises(ChannelClosedError):
            await asking
        with pytest.raises(ChannelClosedError):
            await one.ask("later", value=0)
        one.tell("unheard", value=0)
