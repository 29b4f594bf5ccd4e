"""A worker process: serves clients until the keeper lets it go, or is gone."""

import asyncio
import logging
import os
import signal
import socket
from contextlib import suppress
from typing import Final

from roadstead.runtime.process import Part, Running, running
from roadstead.runtime.tracing import make_tracer
from roadstead.runtime.warmup import settle, warm_up_soon
from roadstead.runtime.workers.channel import Channel
from roadstead.runtime.workers.desk import Desk
from roadstead.runtime.workers.order import CHANNEL, Order, receive
from roadstead.runtime.workers.sockets import AssignedSockets
from roadstead.server.limits import raise_descriptor_limit

_log = logging.getLogger("roadstead.runtime")

# As in a reload of one process; see generations.
_GRACE_SECONDS: Final = 1.0


def run() -> None:
    """Serve as ordered, until told to stop.

    Raises:
        OSError: an address or a file of the configuration cannot be used.
    """
    own = socket.socket(fileno=int(os.environ.pop(CHANNEL)))
    own.set_inheritable(False)
    order = receive(own)
    with suppress(asyncio.CancelledError):
        asyncio.run(_work(own, order))


async def _work(own: socket.socket, order: Order) -> None:
    raise_descriptor_limit()
    own.settimeout(0)
    desk = Desk(await Channel.over(own))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, desk.signalled)
    # The keeper reloads, and replaces its workers.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    channel = asyncio.create_task(desk.run())
    tracer, _ = make_tracer(os.environ)
    try:
        inherited = AssignedSockets(
            [(place, [_adopted(one) for one in numbers]) for place, numbers in order.sockets]
        )
        part = Part(desk=desk, instance_id=order.instance_id)
        async with running(order.loaded, inherited=inherited, tracer=tracer, part=part) as mirror:
            reporting = asyncio.create_task(desk.reporting())
            desk.ready()
            settle()
            warming = warm_up_soon()
            await _serve(mirror, desk, order)
            warming.cancel()
        reporting.cancel()
        await desk.finish()
    finally:
        await asyncio.to_thread(tracer.close)
        channel.cancel()
        await asyncio.gather(channel, return_exceptions=True)


async def _serve(mirror: Running, desk: Desk, order: Order) -> None:
    """Serve until it is time to stop."""
    await _first_of(desk.stopping, desk.retiring, desk.closed)
    if desk.retiring.is_set():
        mirror.readiness.draining = True
        await mirror.listeners.stop_accepting()
        finishing = asyncio.create_task(_finish(mirror))
        stopping = asyncio.create_task(_first_of(desk.stopping, desk.closed))
        await asyncio.wait({finishing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finishing.cancel()
        stopping.cancel()
    elif desk.stopping.is_set():
        delay = order.loaded.settings.http.shutdowndelay
        await mirror.stand_down(delay.total_seconds(), hurry=desk.hurry)


async def _finish(mirror: Running) -> None:
    # Clients that reuse a connection within this time are told to open another one, and never
    # meet one that is just being closed.
    await asyncio.sleep(_GRACE_SECONDS)
    await mirror.listeners.finish()


async def _first_of(*events: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


def _adopted(descriptor: int) -> socket.socket:
    one = socket.socket(fileno=descriptor)
    one.set_inheritable(False)
    one.settimeout(0)
    return one
