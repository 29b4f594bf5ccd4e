"""``roadstead garbage-collect``, and ``registry garbage-collect`` with distribution's flags."""

import asyncio
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from roadstead.cli.auditing import audited_command
from roadstead.cli.serve import Configuration
from roadstead.cli.serving import tell_problems
from roadstead.cli.sizes import written
from roadstead.config.load import find_configuration, load
from roadstead.config.schema import Settings
from roadstead.errors import ConfigError, StorageError
from roadstead.maintenance.collection import Collected, Collection, Stage
from roadstead.runtime.observability import log_to_stderr
from roadstead.runtime.volume import recorded_store
from roadstead.telemetry.linewriter import LineWriter

USAGE = """\
Usage:
  registry garbage-collect <config> [flags]

Removes what nothing needs, from a volume that may be in use: layers that no held
manifest of their repository needs, data without a link, damaged links, leftovers.

Flags:
  -m, --delete-untagged   also remove manifests that a tag has left: those that a tag
                          once pointed at and none points at now, with the children and
                          referrers that nothing else needs. Manifests that were only
                          ever pulled by digest stay (distribution removes them).
  -d, --dry-run           say what would be removed, and change nothing
  -q, --quiet             print no line for each manifest and blob
  -h, --help              print this text
"""

_FLAGS = {
    "--dry-run": "d",
    "--delete-untagged": "m",
    "--quiet": "q",
    "--help": "h",
}


def collect(
    configuration: Configuration = None,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-d", help="Say what would go; change nothing.")
    ] = False,
    delete_untagged: Annotated[
        bool,
        typer.Option(
            "--delete-untagged",
            "-m",
            help="Also remove manifests that a tag once pointed at and none points at now, with "
            "what came along with them alone. What was only ever pulled by digest stays.",
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No line for each manifest and blob.")
    ] = False,
) -> None:
    """Remove what nothing needs from the volume, also while it is being served.

    Exit status: 0 when done, 1 for a configuration or a volume that cannot be used, or
    while another collection is running.
    """
    raise typer.Exit(
        run(configuration, dry_run=dry_run, delete_untagged=delete_untagged, quiet=quiet)
    )


def run_as_registry(arguments: Sequence[str]) -> int:
    """Carry out ``registry garbage-collect``; flags stand before or behind the file."""
    flags: set[str] = set()
    files: list[str] = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name in _FLAGS:
            if not equals or value.lower() in ("1", "t", "true"):
                flags.add(_FLAGS[name])
        elif argument.startswith("-") and not argument.startswith("--") and argument != "-":
            flags.update(argument[1:])
        else:
            files.append(argument)
    unknown = sorted(flags - set(_FLAGS.values()))
    if unknown or len(files) > 1 or any(file.startswith("-") for file in files):
        wrong = f"-{unknown[0]}" if unknown else files[-1]
        sys.stderr.write(f"unknown flag or argument: {wrong}\n\n{USAGE}")
        return 1
    if "h" in flags:
        sys.stdout.write(USAGE)
        return 0
    return run(
        files[0] if files else None,
        dry_run="d" in flags,
        delete_untagged="m" in flags,
        quiet="q" in flags,
    )


def run(configuration: str | None, *, dry_run: bool, delete_untagged: bool, quiet: bool) -> int:
    """Collect the garbage of the volume that a configuration names; return the exit status."""
    path = find_configuration(configuration, os.environ)
    try:
        settings = load(path, os.environ).settings
    except ConfigError as error:
        tell_problems(path, error)
        return 1
    root = Path(settings.storage.filesystem.rootdirectory)
    with _shown_progress(settings, quiet=quiet) as progress:

        async def collect() -> Collected:
            async with recorded_store(root) as store:
                collection = Collection(
                    store,
                    say=_nothing if quiet else LineWriter(sys.stdout).write,
                    progress=progress,
                    delete_untagged=delete_untagged,
                )
                return await asyncio.to_thread(collection.run, dry_run=dry_run)

        try:
            with audited_command("garbage-collect", settings.log) as entry:
                entry.arguments = {"delete-untagged": delete_untagged}
                collected = asyncio.run(collect())
                entry.size_bytes, entry.is_dry_run = collected.swept.freed_bytes, dry_run
        except StorageError as error:
            sys.stderr.write(f"failed to garbage collect: {error}\n")
            return 1
    if not dry_run:
        sys.stderr.write(f"{_summary(collected)}\n")
    return 1 if collected.unreadable else 0


def _summary(collected: Collected) -> str:
    swept = collected.swept
    text = (
        f"removed {swept.manifests} manifests, {swept.layer_links} layer links and "
        f"{swept.blobs} blobs; {written(swept.freed_bytes)} freed"
    )
    if swept.spared:
        text += f"; {swept.spared} kept because they were needed meanwhile"
    if collected.unreadable:
        text += (
            f"; no blob was removed, because {collected.unreadable} repositories could not be read"
        )
    return text


@contextmanager
def _shown_progress(
    settings: Settings, *, quiet: bool
) -> Iterator[Callable[[Stage, float, float | None], None]]:
    """Show a bar where nothing else is written to the terminal; else log each removal."""
    console = Console(stderr=True)
    if not console.is_terminal or (sys.stdout.isatty() and not quiet):
        log_to_stderr(settings.log, str(uuid.uuid4()))
        yield lambda _stage, _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console) as bars:
        tasks: dict[Stage, TaskID] = {}

        def show(stage: Stage, done: float, total: float | None) -> None:
            if stage not in tasks:
                for task in bars.tasks:
                    bars.update(task.id, total=task.completed)
                    bars.stop_task(task.id)
                tasks[stage] = bars.add_task(str(stage), total=None)
            bars.update(tasks[stage], completed=done, total=total)

        yield show


def _nothing(_line: str) -> None:
    """Say nothing."""
