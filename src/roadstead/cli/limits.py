"""How a mirror stands against its limits, for people: a part of ``roadstead status``."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.filesize import decimal
from rich.table import Table

Document = Mapping[str, Any]

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def limits_table(retention: Document) -> Table:
    """Show the size limits that are set, and what counts against them now."""
    table = Table(title="Limits", title_justify="left")
    for column in ("of", "used", "limit", "left"):
        table.add_column(column, overflow="fold")
    for limit in retention["limits"]:
        used, most = limit["used_bytes"], limit["max_bytes"]
        table.add_row(
            limit["upstream"] or "everything",
            "not known yet" if used is None else f"{decimal(used)} ({used / most:.0%})",
            decimal(most),
            "" if used is None else decimal(max(0, most - used)),
        )
    return table


def describe_retention(retention: Document, now: float) -> Iterator[str]:
    """Say in one line each what protects, what ran, what runs next, and what cannot hold."""
    disk = retention["disk"]
    if disk is not None:
        stays = decimal(disk["min_free_bytes"])
        free, total = decimal(disk["free_bytes"]), decimal(disk["total_bytes"])
        yield f"Disk: {free} free of {total}, of which {stays} are to stay free"
    if retention["pins"]:
        yield f"Pins: {retention['pins']}, see `roadstead pins`"
    yield f"Retention: {_last(retention['last_run'], now)}, {_next(retention['next_run'], now)}"
    short = retention["shortfall"]
    if short is not None:
        since = f"found {span(now - short['found_at'])} ago"
        yield f"A limit cannot hold ({since}): {short['reason']}"


def span(seconds: float) -> str:
    """Write a time in the largest unit that fits, up to days."""
    seconds = max(0.0, seconds)
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def _last(run: Document | None, now: float) -> str:
    if run is None:
        return "has not run yet"
    images = "1 image" if run["images"] == 1 else f"{run['images']} images"
    freed = decimal(run["freed_bytes"])
    return f"last ran {span(now - run['at'])} ago ({run['trigger']}; {images}, {freed} freed)"


def _next(at: float | None, now: float) -> str:
    return "runs when room is needed" if at is None else f"next run in {span(at - now)}"
