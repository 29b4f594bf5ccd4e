"""Calls that steer the mirror: a POST with a JSON object, for those who may.

This is the one place where such a call is authorised, and where it is noted who made it.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from aiohttp import web

from roadstead.errors import InvalidCallError, RoadsteadError
from roadstead.server.access.steering import SteeringGate
from roadstead.server.errors import json_body, render_error
from roadstead.telemetry.audit import audited

_PREFIX = "/debug/"

Arguments: TypeAlias = Mapping[str, Any]
Document: TypeAlias = Mapping[str, Any]
Call: TypeAlias = Callable[[Arguments, str], Awaitable[Document]]
"""Does what its arguments say, for a caller; raises RoadsteadError."""


class SteeringCalls:
    """Answers what is no GET on the debug listener."""

    def __init__(self, gate: SteeringGate, calls: Mapping[str, Call]) -> None:
        """``calls`` are by path."""
        self._gate = gate
        self._calls = calls

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        """Let the call through and answer with its document."""
        call = self._calls.get(request.path) if request.method == "POST" else None
        if call is None:
            return web.Response(status=404, text="404 page not found\n")
        name = request.path.removeprefix(_PREFIX)
        try:
            with audited(name, address=self._gate.client(request)) as entry:
                entry.caller = await self._gate.authorise(request)
                entry.arguments = await _arguments(request)
                document = await call(entry.arguments, entry.caller)
                entry.take(document)
        except RoadsteadError as error:
            return render_error(error)
        return web.Response(body=json_body(dict(document)), content_type="application/json")


async def _arguments(request: web.BaseRequest) -> Arguments:
    """Read the body: a JSON object, or nothing.

    Raises:
        InvalidCallError: it is something else.
    """
    body = await request.read()
    try:
        arguments = json.loads(body or b"{}")
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        message = "the body of a call is a JSON object"
        raise InvalidCallError(message)
    return arguments


def texts(arguments: Arguments, name: str) -> list[str]:
    """Return a list of texts with at least one; raises InvalidCallError."""
    given = arguments.get(name)
    if not isinstance(given, list) or not given or not all(isinstance(one, str) for one in given):
        message = f"{name} is a list of texts, with at least one"
        raise InvalidCallError(message)
    return given


def text(arguments: Arguments, name: str) -> str:
    """Return a text; raises InvalidCallError."""
    given = arguments.get(name)
    if not isinstance(given, str):
        message = f"{name} is a text"
        raise InvalidCallError(message)
    return given


def flag(arguments: Arguments, name: str) -> bool:
    """Return true or false, by default false; raises InvalidCallError."""
    given = arguments.get(name, False)
    if not isinstance(given, bool):
        message = f"{name} is true or false"
        raise InvalidCallError(message)
    return given


def seconds(arguments: Arguments, name: str) -> float:
    """Return a number of seconds, by default 0; raises InvalidCallError."""
    given = arguments.get(name, 0)
    if isinstance(given, bool) or not isinstance(given, int | float) or not given >= 0:
        message = f"{name} is a number of seconds"
        raise InvalidCallError(message)
    return float(given)
