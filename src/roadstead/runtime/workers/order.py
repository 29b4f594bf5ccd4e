"""What the keeper gives a worker at its start: configuration, sockets, its number.

Goes over the worker's channel, a pair of sockets that only the two have, before anything else:
settings may hold credentials, which belong in no argument, environment or file.
"""

import pickle
import socket
import struct
from dataclasses import dataclass
from typing import Final

from roadstead.config.load import Loaded
from roadstead.runtime.workers.sockets import Place

CHANNEL: Final = "ROADSTEAD_WORKER_CHANNEL"
"""Environment variable with the number of the channel's descriptor."""
_LENGTH: Final = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class Order:
    """``sockets`` are descriptors that the worker inherits, by the address they were opened for."""

    loaded: Loaded
    instance_id: str
    sockets: list[tuple[Place, list[int]]]


def packed(order: Order) -> bytes:
    """Write an order."""
    content = pickle.dumps(order)
    return _LENGTH.pack(len(content)) + content


def receive(channel: socket.socket) -> Order:
    """Read an order; blocks.

    Raises:
        EOFError: the keeper has gone.
    """
    (length,) = _LENGTH.unpack(_exactly(channel, _LENGTH.size))
    order: Order = pickle.loads(_exactly(channel, length))  # noqa: S301 - from the process that started this one
    return order


def _exactly(channel: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        piece = channel.recv(count - len(content))
        if not piece:
            raise EOFError
        content += piece
    return content
