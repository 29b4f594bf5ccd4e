"""The debug listener: health, readiness, variables, metrics (facts/registry.md 5.1), status."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from roadstead.errors import RoadsteadError
from roadstead.server.calls import SteeringCalls
from roadstead.server.errors import json_body, render_error


class DebugApp:
    """The request handler of ``http.debug.addr``."""

    def __init__(  # noqa: PLR0913 - each has a name where it is composed
        self,
        *,
        health: Callable[[], tuple[bool, Mapping[str, str]]],
        ready: Callable[[str], tuple[bool, Mapping[str, Any]]],
        variables: Callable[[], Mapping[str, Any]],
        metrics: Callable[[], tuple[bytes, str]],
        metrics_path: str | None,
        status: Callable[[], Awaitable[Mapping[str, Any]]],
        explain: Callable[[str], Awaitable[Mapping[str, Any]]],
        steering: SteeringCalls,
        refresh: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Take what to show.

        ``health`` says whether all is well enough to serve, and maps each failing check to its
        error; ``ready`` says whether the mirror should
        get requests, given the upstreams that the caller requires; ``metrics`` gives a body and its
        content type; ``metrics_path`` is None when Prometheus is not enabled; ``status`` and
        ``explain`` are documents for the commands of these names; ``steering`` answers what
        changes something; ``refresh`` is awaited before anything is shown.
        """
        self._refresh = refresh
        self._health = health
        self._ready = ready
        self._variables = variables
        self._metrics = metrics
        self._metrics_path = metrics_path
        self._status = status
        self._explain = explain
        self._steering = steering

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.method not in ("GET", "HEAD"):
            return await self._steering(request)
        if self._refresh is not None:
            await self._refresh()
        if request.path == self._metrics_path:
            body, content_type = self._metrics()
            return web.Response(body=body, headers={"Content-Type": content_type})
        match request.path:
            case "/livez":
                return _json({"live": True})
            case "/readyz":
                ready, document = self._ready(request.query.get("upstreams", ""))
                return _json(document, status=200 if ready else 503)
            case "/debug/health":
                healthy, failing = self._health()
                return _json(failing, status=200 if healthy else 503)
            case "/debug/vars":
                return _json(self._variables())
            case "/debug/status":
                return _json(await self._status())
            case "/debug/explain":
                return await self._explanation(request.query.get("reference", ""))
            case _:
                return web.Response(status=404, text="404 page not found\n")

    async def _explanation(self, reference: str) -> web.Response:
        try:
            return _json(await self._explain(reference))
        except RoadsteadError as error:
            return render_error(error)


def _json(document: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=json_body(dict(document)), content_type="application/json"
    )
