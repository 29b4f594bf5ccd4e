"""The bounds of every wait for an upstream."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """In seconds: to connect, to the headers of the answer, and between two pieces of a body.

    ``total`` bounds a whole small call with its token, redirects and retries; blobs have no
    such bound, they may take as long as bytes keep coming.
    """

    connect: float = 10
    first_byte: float = 30
    stall: float = 30
    total: float = 60
