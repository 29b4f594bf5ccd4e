"""``roadstead evict``, ``pin``, ``unpin``, ``pins``, ``purge`` and ``retention plan``."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from roadstead.cli.auditing import audited_command
from roadstead.cli.client import (
    DEFAULT_URL,
    AsJSON,
    MirrorUnreachableError,
    MirrorURL,
    call,
    fail,
)
from roadstead.cli.limits import span
from roadstead.cli.sizes import written
from roadstead.config.duration import parse_age
from roadstead.config.load import find_configuration, load
from roadstead.config.refusal import UnusableValueError
from roadstead.errors import RoadsteadError

app = typer.Typer(name="retention", help="What is kept, and what goes next.", no_args_is_help=True)

OnVolume = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Work on the volume of this configuration itself: for when no mirror is running.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done, and how much; change nothing.")
]
Pattern = Annotated[
    str, typer.Argument(help="Such as alpine:3.*, docker.io/library/** or ghcr.io/org/app@sha256:*")
]

_PLAN = "/debug/retention/plan"


@dataclass(frozen=True, slots=True)
class _Target:
    """A running mirror, or a volume."""

    mirror: str
    config: Path | None

    def __call__(self, path: str, **arguments: object) -> dict[str, Any]:
        try:
            if self.config is None:
                return call(self.mirror, path, arguments)
            return asyncio.run(_on_volume(self.config, path, arguments))
        except MirrorUnreachableError as error:
            raise fail(error) from error
        except (RoadsteadError, OSError, TimeoutError) as error:
            typer.echo(f"the volume cannot be worked on: {error}", err=True)
            raise typer.Exit(1) from error


@app.callback()
def _group() -> None:
    """Have commands of its own, even while there is only one."""


@app.command("plan")
def plan(
    *, mirror: MirrorURL = DEFAULT_URL, config: OnVolume = None, as_json: AsJSON = False
) -> None:
    """Say what the next run of retention would evict, and why."""
    _tell(_Target(mirror, config)(_PLAN), _print_plan, as_json=as_json)


def evict(
    patterns: Annotated[
        list[str], typer.Argument(help="Images, such as alpine:3.18, ghcr.io/org/** or '**'.")
    ],
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    mirror: MirrorURL = DEFAULT_URL,
    config: OnVolume = None,
    as_json: AsJSON = False,
) -> None:
    """Evict images from the mirror; upstream keeps them.

    Pinned images stay, and those that are being served or fetched. Data goes unless another
    image needs it.
    """
    target = _Target(mirror, config)
    if dry_run or not yes:
        planned = target("/debug/evict", patterns=patterns, dry_run=True)
        is_all = dry_run or not planned["images"]
        if is_all or not as_json:
            _tell(planned, _print_plan, as_json=as_json)
        if is_all:
            return
        typer.confirm(f"Evict {_count(planned['images'], 'image')}?", abort=True, err=True)
    document = target("/debug/evict", patterns=patterns, dry_run=False)
    _tell(document, _print_evicted, as_json=as_json)


def pin(
    pattern: Pattern,
    *,
    dry_run: DryRun = False,
    mirror: MirrorURL = DEFAULT_URL,
    config: OnVolume = None,
    as_json: AsJSON = False,
) -> None:
    """Keep images from being evicted: those held now, and what is pulled later."""
    document = _Target(mirror, config)("/debug/pin", pattern=pattern, dry_run=dry_run)
    _tell(document, _print_pinned, as_json=as_json)


def unpin(
    pattern: Pattern,
    *,
    dry_run: DryRun = False,
    mirror: MirrorURL = DEFAULT_URL,
    config: OnVolume = None,
    as_json: AsJSON = False,
) -> None:
    """Remove a pin that was set by command; says which images no other pin holds then."""
    document = _Target(mirror, config)("/debug/unpin", pattern=pattern, dry_run=dry_run)
    _tell(document, _print_unpinned, as_json=as_json)
    if not document["removed"]:
        typer.echo(f"there is no pin {document['pattern']}; `roadstead pins` lists them", err=True)
        raise typer.Exit(1)


def pins(
    *, mirror: MirrorURL = DEFAULT_URL, config: OnVolume = None, as_json: AsJSON = False
) -> None:
    """List the pins, those of the configuration and those set by command."""
    _tell(_Target(mirror, config)("/debug/pins"), _print_pins, as_json=as_json)


def purge(
    *,
    older_than: Annotated[
        str,
        typer.Option("--older-than", help="Only what nobody has written to for so long: 1h, 7d."),
    ] = "0s",
    dry_run: DryRun = False,
    mirror: MirrorURL = DEFAULT_URL,
    config: OnVolume = None,
    as_json: AsJSON = False,
) -> None:
    """Remove unfinished downloads that would be resumed at the next pull.

    Those under way stay. What nobody has resumed for a week goes by itself.
    """
    try:
        seconds = parse_age(older_than).total_seconds()
    except UnusableValueError as error:
        typer.echo(f"--older-than: {older_than} {error.reason}; {error.fix}", err=True)
        raise typer.Exit(2) from error
    document = _Target(mirror, config)("/debug/purge", older_than_seconds=seconds, dry_run=dry_run)
    _tell(document, _print_purged, as_json=as_json)


async def _on_volume(file: Path, path: str, arguments: Mapping[str, object]) -> dict[str, Any]:
    from roadstead.runtime.offline import volume_calls  # noqa: PLC0415 - slow to import

    settings = load(find_configuration(str(file), os.environ), os.environ).settings
    with audited_command(path.removeprefix("/debug/"), settings.log) as entry:
        entry.arguments = arguments
        async with volume_calls(settings) as calls:
            document = await calls[path](arguments, "command line")
        entry.take(document)
    return dict(document)


def _tell(
    document: Mapping[str, Any], describe: Callable[[Mapping[str, Any]], None], *, as_json: bool
) -> None:
    """Print what was done, or would be: for programs, or as ``describe`` does for people."""
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    else:
        describe(document)


def _print_evicted(document: Mapping[str, Any]) -> None:
    freed = written(document["freed_bytes"])
    typer.echo(f"{_count(document['evicted'], 'image')} evicted, {freed} freed")


def _print_pinned(document: Mapping[str, Any]) -> None:
    _print_images(document["images"])
    done = _done("pinned", document)
    held = f"{_count(document['images'], 'image')} held, {written(document['bytes'])}"
    typer.echo(f"{document['pattern']} {done}: {held}")


def _print_unpinned(document: Mapping[str, Any]) -> None:
    if document["removed"]:
        _print_images(document["images"])
        done = _done("unpinned", document)
        free = f"{_count(document['images'], 'image')} may go, {written(document['bytes'])}"
        typer.echo(f"{document['pattern']} {done}: {free}")


def _print_pins(document: Mapping[str, Any]) -> None:
    table = Table()
    for column in ("pattern", "pinned by", "ago"):
        table.add_column(column, overflow="fold")
    for one in document["pins"]:
        table.add_row(one["pattern"], one["by"], "" if one["at"] is None else _ago(one["at"]))
    Console().print(table)


def _print_purged(document: Mapping[str, Any]) -> None:
    files = _count(document["files"], "partial download")
    typer.echo(f"{files} {_done('removed', document)}, {written(document['freed_bytes'])}")


def _done(what: str, document: Mapping[str, Any]) -> str:
    return f"would be {what}" if document["dry_run"] else what


def _print_plan(document: Mapping[str, Any]) -> None:
    _print_images(document["images"])
    blobs = document["blobs"]
    if blobs:
        size = written(sum(one["freed_bytes"] for one in blobs))
        typer.echo(f"{_count(blobs, 'blob')} that no image needs would be evicted, {size}")
    for why, kept in document["kept"].items():
        typer.echo(f"{_count(kept['images'], 'image')} kept: {why}, {written(kept['bytes'])}")
    freed = written(document["freed_bytes"])
    typer.echo(f"{_count(document['images'], 'image')} would be evicted, {freed} freed")
    if document["missing_bytes"]:
        missing = written(document["missing_bytes"])
        typer.echo(f"{missing} more should go and are protected: a limit cannot hold", err=True)


def _print_images(images: list[dict[str, Any]]) -> None:
    if not images:
        return
    table = Table()
    for column in ("image", "digest", "last pull", "size", "why"):
        table.add_column(column, overflow="fold")
    for one in images:
        size = one.get("freed_bytes", one.get("bytes", 0))
        table.add_row(
            one["image"],
            one["digest"].partition(":")[2][:12],
            _ago(one["last_pull"]),
            written(size),
            one.get("reason", ""),
        )
    Console().print(table)


def _count(things: "int | list[Any]", name: str) -> str:
    count = things if isinstance(things, int) else len(things)
    return f"{count} {name}" if count == 1 else f"{count} {name}s"


def _ago(at: float) -> str:
    return f"{span(time.time() - at)} ago"
