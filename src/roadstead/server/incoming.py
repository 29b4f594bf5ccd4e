"""One request on its way through the server: filled by handlers, then told to observers."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from multidict import CIMultiDict

from roadstead.mirror.routing import Hints
from roadstead.oci.reference import RepositoryName
from roadstead.server.errors import ErrorResponse
from roadstead.server.repeats import UPSTREAM, Repeatable
from roadstead.server.requestid import new_request_id
from roadstead.telemetry.answered import Exchange
from roadstead.telemetry.events import Outcome
from roadstead.telemetry.tracing import UNTRACED, Span


@dataclass(slots=True)
class Incoming:
    """A request, and what becomes of it.

    ``common_headers`` go onto the answer, whatever it is. ``hints`` say what the request tells
    about its upstream beside the repository. ``label`` is empty for a path that is no endpoint;
    ``content_digest`` and ``content_bytes`` are those of the content that was found, however
    much of it is sent; ``sent_bytes`` counts body bytes handed to the kernel; ``failure`` says
    what went wrong, be it answered with an error or with a broken connection, and ``error`` in
    one word (events.RequestFailed). ``stored_name`` is the repository's, once a mirror was
    found. ``caller`` says
    who it was proved to be; ``may_list``, unless None, says which repositories the catalog may
    tell it of; ``may_delete``, set for DELETE only, says whether it is an admin.
    ``repeatable`` says how the same answer may be given again; ``span`` is of the whole.
    """

    request: web.BaseRequest
    common_headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    started: float = field(default_factory=time.perf_counter)
    hints: Hints = field(default_factory=Hints)
    label: str = ""
    repository: str = ""
    stored_name: str = ""
    reference: str = ""
    digest: str = ""
    outcome: Outcome | None = None
    content_digest: str = ""
    content_bytes: int = 0
    sent_bytes: int = 0
    failure: str = ""
    error: str = ""
    caller: str = ""
    may_delete: bool = False
    may_list: Callable[[RepositoryName], bool] | None = None
    repeatable: Repeatable | None = None
    span: Span = UNTRACED

    @property
    def method(self) -> str:
        """The request's verb."""
        return self.request.method

    @property
    def is_head(self) -> bool:
        """Whether no body may be sent."""
        return self.request.method == "HEAD"

    def summary(self, response: web.StreamResponse | None) -> Exchange:
        """Sum up for the request logs; ``response`` is None if the server is stopping."""
        request = self.request
        headers = request.headers
        error = response if isinstance(response, ErrorResponse) else None
        return Exchange(
            peer=_peer(request),
            forwarded_for=headers.get("X-Forwarded-For", ""),
            request_id=new_request_id(),
            method=request.method,
            target=request.raw_path,
            protocol=f"HTTP/{request.version.major}.{request.version.minor}",
            host=headers.get("Host", ""),
            referer=headers.get("Referer", ""),
            user_agent=headers.get("User-Agent", ""),
            status=response.status if response is not None else 0,
            written_bytes=self.sent_bytes,
            content_type=response.headers.get("Content-Type", "") if response is not None else "",
            seconds=time.perf_counter() - self.started,
            handler=self.label,
            upstream=self.common_headers.get(UPSTREAM, ""),
            repository=self.repository,
            reference=self.reference,
            digest=self.digest,
            outcome=self.outcome,
            user=self.caller,
            content_digest=self.content_digest,
            content_bytes=self.content_bytes,
            error_code=error.code.name.lower().replace("_", " ") if error is not None else "",
            error_message=error.message if error is not None else self.failure,
            error_detail=self.failure if error and self.failure not in error.message else "",
        )


def _peer(request: web.BaseRequest) -> str:
    transport = request.transport
    name = transport.get_extra_info("peername") if transport is not None else None
    return str(name[0]) if isinstance(name, tuple) else "@"
