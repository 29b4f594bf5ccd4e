"""``roadstead explain``: what would become of a pull, and why."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from roadstead.cli.client import DEFAULT_URL, AsJSON, MirrorUnreachableError, MirrorURL, ask, fail

_LABELS = {
    "outcome": "outcome",
    "reason": "because",
    "upstream": "upstream",
    "by": "chosen by",
    "stored_as": "stored as",
    "digest": "digest",
    "media_type": "type",
    "age_seconds": "confirmed",
    "asked_again_in_seconds": "asked again",
    "last_failure": "last failure",
}


def explain(
    reference: Annotated[str, typer.Argument(help="Such as ghcr.io/org/app:1.0 or alpine.")],
    *,
    mirror: MirrorURL = DEFAULT_URL,
    as_json: AsJSON = False,
) -> None:
    """Say which upstream a reference goes to, what is held of it, and when upstream is asked."""
    try:
        document = ask(mirror, "/debug/explain", reference=reference)
    except MirrorUnreachableError as error:
        raise fail(error) from error
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    table = Table(title=reference, show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    # A digest that is cut is of no use.
    table.add_column(overflow="fold")
    for key, label in _LABELS.items():
        if document.get(key) not in (None, ""):
            table.add_row(label, _shown(key, document[key]))
    if document.get("blobs_known"):
        table.add_row("blobs held", f"{document['blobs_held']} of {document['blobs_known']}")
    Console().print(table)


def _shown(key: str, value: Any) -> str:  # noqa: ANN401 - a value of JSON
    if key == "age_seconds":
        return f"{value:.0f} s ago"
    if key == "asked_again_in_seconds":
        return f"in {value:.0f} s" if value > 0 else "at the next request"
    return str(value)
