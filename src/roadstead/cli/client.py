"""How commands talk to a running mirror: over its debug listener."""

import json
from typing import Annotated, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

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
    if not url.startswith(("http://", "https://")):
        message = f"{url} is no URL; write http://host:port"
        raise MirrorUnreachableError(message)
    address = f"{url.rstrip('/')}{path}{'?' if query else ''}{urlencode(query)}"
    try:
        with urlopen(address, timeout=10) as answer:  # noqa: S310 - http only, checked above
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
