"""The debug listener: health, variables and metrics (facts/registry.md 5.1), without auth."""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from roadstead.server.errors import json_body


class DebugApp:
    """The request handler of ``http.debug.addr``."""

    def __init__(
        self,
        *,
        health: Callable[[], Mapping[str, str]],
        variables: Callable[[], Mapping[str, Any]],
        metrics: Callable[[], tuple[bytes, str]],
        metrics_path: str | None,
    ) -> None:
        """Take what to show.

        ``health`` maps each failing check to its error; ``metrics`` gives a body and its
        content type; ``metrics_path`` is None when Prometheus is not enabled.
        """
        self._health = health
        self._variables = variables
        self._metrics = metrics
        self._metrics_path = metrics_path

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=404, text="404 page not found\n")
        if request.path == self._metrics_path:
            body, content_type = self._metrics()
            return web.Response(body=body, headers={"Content-Type": content_type})
        if request.path == "/debug/health":
            failing = dict(self._health())
            return web.Response(
                status=503 if failing else 200,
                body=json_body(failing),
                content_type="application/json",
            )
        if request.path == "/debug/vars":
            return web.Response(
                body=json_body(dict(self._variables())), content_type="application/json"
            )
        return web.Response(status=404, text="404 page not found\n")
