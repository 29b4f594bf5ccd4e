"""How commands talk to a running mirror: over its debug listener."""

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import typer

DEFAULT_URL = "http://localhost:5001"

MirrorURL = Annotated[
    str,
    typer.Option(
        "--mirror",
        envvar="ROADSTEAD_DEBUG_URL",
        help="URL of the mirror's debug listener (http.debug.addr).",
    ),
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class MirrorUnreachableError(Exception):
    """The mirror did not answer, or said no; the text is for people."""


def ask(url: str, path: str, **query: str) -> dict[str, Any]:
    """Get a document from a running mirror.

    Raises:
        MirrorUnreachableError: it did not answer with one.
    """
    _require_url(url)
    address = f"{url.rstrip('/')}{path}{'?' if query else ''}{urlencode(query)}"
    return _answer(url, Request(address), timeout_seconds=10)  # noqa: S310 - http only, see above


def call(url: str, path: str, arguments: Mapping[str, object]) -> dict[str, Any]:
    """Have a running mirror do something, and get the document of what it did.

    Raises:
        MirrorUnreachableError: it did not answer with one.
    """
    _require_url(url)
    request = Request(  # noqa: S310 - http only, checked above
        f"{url.rstrip('/')}{path}",
        data=json.dumps(arguments).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    # Evictions go through the whole store; nobody is helped by an end in the middle.
    return _answer(url, request, timeout_seconds=3600)


def _require_url(url: str) -> None:
    if not url.startswith(("http://", "https://")):
        message = f"{url} is no URL; write http://host:port"
        raise MirrorUnreachableError(message)


def _answer(url: str, request: Request, *, timeout_seconds: float) -> dict[str, Any]:
    try:
        with urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310 - see ask and call
            document: dict[str, Any] = json.load(answer)
            return document
    except HTTPError as error:
        message = _said(error) or f"{url} answered {error.code}"
        raise MirrorUnreachableError(message) from error
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        message = f"no mirror answers at {url} ({reason}); is http.debug.addr set?"
        raise MirrorUnreachableError(message) from error


def fail(error: MirrorUnreachableError) -> typer.Exit:
    """Print an error; the exit to raise for it."""
    typer.echo(str(error), err=True)
    return typer.Exit(1)


def _said(error: HTTPError) -> str:
    try:
        return str(json.load(error)["errors"][0]["message"])
    except (ValueError, LookupError, TypeError):
        return ""
