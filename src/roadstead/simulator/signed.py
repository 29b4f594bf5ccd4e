"""The storage behind a registry: signed addresses that work for GET, and perhaps only once.

It refuses what real object stores refuse: HEAD of an address signed for GET, and an
Authorization header besides the signature (facts/protocol.md, section 3).
"""

from dataclasses import dataclass
from http import HTTPStatus
from itertools import count

from roadstead.simulator.content import Content
from roadstead.simulator.ranges import apply_range
from roadstead.simulator.wire import HttpRequest, Reply

STORAGE_PREFIX = "/storage/"


@dataclass(slots=True)
class _Grant:
    content: Content
    media_type: str
    uses: int | None
    takes_credentials: bool


class SignedUrls:
    """Addresses of content, each with its own signature."""

    def __init__(self) -> None:
        self._grants: dict[str, _Grant] = {}
        self._serial = count(1)

    def sign(
        self,
        content: Content,
        *,
        media_type: str,
        uses: int | None,
        takes_credentials: bool = False,
    ) -> str:
        """Return a path with a signature, good for ``uses`` requests (None: any number).

        ``takes_credentials`` is for a path on the registry's own host, to which clients rightly
        send Authorization as well.
        """
        signature = f"s1gn4ture{next(self._serial)}"
        self._grants[signature] = _Grant(content, media_type, uses, takes_credentials)
        return f"{STORAGE_PREFIX}object?signature={signature}"

    def answer(self, request: HttpRequest) -> Reply:
        """Serve a signed address; 403 for a stale or foreign one, 400 with Authorization."""
        grant = self._grants.get(request.query.get("signature", [""])[0])
        expects_none = grant is None or not grant.takes_credentials
        if expects_none and "authorization" in request.headers:
            return _refusal(HTTPStatus.BAD_REQUEST, "Only one auth mechanism allowed")
        if grant is None or grant.uses == 0 or request.method != "GET":
            return _refusal(HTTPStatus.FORBIDDEN, "Request has expired")
        if grant.uses is not None:
            grant.uses -= 1
        reply = Reply()
        reply.set("Content-Type", grant.media_type)
        apply_range(reply, grant.content, request.headers.get("range"))
        return reply


def _refusal(status: HTTPStatus, reason: str) -> Reply:
    reply = Reply(status=status)
    reply.fill(f"<Error><Message>{reason}</Message></Error>".encode(), "application/xml")
    return reply
