"""``roadstead status``: how a running mirror and its upstreams stand."""

import json
import time
from typing import Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from roadstead.cli.client import DEFAULT_URL, AsJSON, MirrorUnreachableError, MirrorURL, ask, fail
from roadstead.cli.limits import describe_retention, limits_table


def status(*, mirror: MirrorURL = DEFAULT_URL, as_json: AsJSON = False) -> None:
    """Show upstreams with health and remaining pulls, running fetches, totals and limits."""
    try:
        document = ask(mirror, "/debug/status")
    except MirrorUnreachableError as error:
        raise fail(error) from error
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    console, now = Console(), time.time()
    console.print(_upstreams(document["upstreams"], now))
    if document["flights"]:
        console.print(_flights(document["flights"]))
    console.print(_served(document["served"]))
    if document["workers"] > 1:
        console.print(f"Of {document['workers']} worker processes together.")
    if document["retention"]["limits"]:
        console.print(limits_table(document["retention"]))
    for line in describe_retention(document["retention"], now):
        console.print(line, highlight=False)
    console.print(describe_metadata(document["metadata"]))


def _upstreams(upstreams: list[dict[str, Any]], now: float) -> Table:
    table = Table(title="Upstreams", title_justify="left")
    for column in ("name", "endpoint", "account", "state", "pulls left", "reset"):
        table.add_column(column, overflow="fold")
    for upstream in upstreams:
        for member in upstream["members"]:
            limit, left = member["pulls_limit"], member["pulls_remaining"]
            reset = member["pulls_reset_at"]
            table.add_row(
                upstream["name"],
                member["endpoint"],
                member["account"],
                _state(member),
                "not told" if limit is None else f"{left} of {limit}",
                "" if reset is None else f"in {max(0, reset - now) / 60:.0f} min",
            )
    return table


def _state(member: dict[str, Any]) -> str:
    if member["healthy"]:
        return "well"
    return f"failing, next try in {member['next_probe_seconds']:.0f} s"


def _flights(flights: list[dict[str, Any]]) -> Table:
    table = Table(title="Being fetched", title_justify="left")
    for column in ("blob", "repository", "arrived", "of", "readers"):
        table.add_column(column)
    for flight in flights:
        size = flight["size_bytes"]
        table.add_row(
            flight["digest"][:19],
            ", ".join(flight["repositories"]),
            decimal(flight["available_bytes"]),
            "unknown" if size is None else decimal(size),
            str(flight["readers"]),
        )
    return table


def _served(served: dict[str, dict[str, int]]) -> Table:
    table = Table(title="Served since the start", title_justify="left")
    for column in ("", "requests", "hits", "misses", "from upstream", "to clients"):
        table.add_column(column)
    for kind, totals in served.items():
        table.add_row(
            kind,
            str(totals["Requests"]),
            str(totals["Hits"]),
            str(totals["Misses"]),
            decimal(totals["BytesPulled"]),
            decimal(totals["BytesPushed"]),
        )
    return table


def describe_metadata(metadata: dict[str, Any]) -> str:
    """Say in one line how the metadata database stands."""
    text = f"Metadata: {metadata['condition']}"
    if metadata["progress"] is not None:
        text += f", {metadata['progress']:.0%}"
    if metadata["repositories"] is not None:
        text += (
            f"; {metadata['repositories']} repositories, {metadata['manifests']} manifests, "
            f"{metadata['blobs']} blobs, {decimal(metadata['held_bytes'])}"
        )
    return text
