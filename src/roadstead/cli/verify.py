"""``roadstead verify``: whether what is held is what it should be."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from roadstead.cli.auditing import audited_command
from roadstead.cli.client import AsJSON
from roadstead.cli.serve import Configuration
from roadstead.cli.sizes import written
from roadstead.cli.volume import byte_progress, failing_in_words, load_settings
from roadstead.config.schema import Settings
from roadstead.maintenance.verification.hashing import Pace
from roadstead.maintenance.verification.verifier import (
    BrokenLink,
    DamagedData,
    VerifiableStore,
    Verifier,
)
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from roadstead.runtime.volume import open_volume
from roadstead.storage.base import HeldData, Quarantined


@dataclass(slots=True)
class _Findings:
    blobs: int = 0
    size_bytes: int = 0
    damaged: list[DamagedData] = field(default_factory=list)
    links: list[BrokenLink] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return not self.damaged and not self.links


def verify(
    configuration: Configuration = None,
    *,
    repository: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Only what such repositories hold, by their names in the store: 'ghcr.io/*'.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell; put nothing into quarantine.")
    ] = False,
    quarantined: Annotated[
        bool, typer.Option("--quarantined", help="List what is in quarantine, and hash nothing.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Hash everything that is held again, and look where links lead.

    Damaged data goes into quarantine; the next pull fetches it again. A running mirror need not
    be stopped. Exit status: 0 if all is well, 1 if something is wrong.
    """
    with failing_in_words():
        settings = load_settings(configuration)
        if quarantined:
            _print_quarantined(asyncio.run(_quarantined(settings)), as_json=as_json)
            return
        started = time.perf_counter()
        with audited_command("verify", settings.log) as entry:
            entry.arguments = {"repository": repository or "", "damaged": 0}
            findings = asyncio.run(_verify(settings, repository, dry_run=dry_run))
            entry.arguments |= {"damaged": len(findings.damaged)}
            entry.size_bytes, entry.is_dry_run = findings.size_bytes, dry_run
    if as_json:
        typer.echo(json.dumps(_document(findings), indent=2))
    else:
        _print(findings, time.perf_counter() - started, dry_run=dry_run)
    raise typer.Exit(0 if findings.is_well else 1)


async def _quarantined(settings: Settings) -> list[Quarantined]:
    async with open_volume(settings, writes=False) as volume:
        return volume.store.quarantined()


async def _verify(settings: Settings, pattern: str | None, *, dry_run: bool) -> _Findings:
    async with open_volume(settings, writes=not dry_run) as volume:

        def wanted(repository: RepositoryName) -> bool:
            names = (repository, volume.namer.full(repository))
            return pattern is None or any(fnmatchcase(name, pattern) for name in names)

        verifier = Verifier(volume.store, pace=Pace(), quarantines=not dry_run)
        only = await asyncio.to_thread(verifier.digests, wanted) if pattern is not None else None
        return await asyncio.to_thread(_look, volume.store, verifier, wanted, only)


def _look(
    store: VerifiableStore,
    verifier: Verifier,
    wanted: Callable[[RepositoryName], bool],
    only: set[Digest] | None,
) -> _Findings:
    findings = _Findings()
    with byte_progress() as progress:
        total = sum(held.size_bytes for held in _data(store, only))
        task = progress.add_task("verifying", total=total)
        for held in _data(store, only):
            damaged = verifier.check(held)
            findings.blobs += 1
            findings.size_bytes += held.size_bytes
            if damaged is not None:
                findings.damaged.append(damaged)
            progress.advance(task, held.size_bytes)
        progress.update(task, description="following links")
        findings.links += verifier.links(wanted)
    return findings


def _data(store: VerifiableStore, only: set[Digest] | None) -> Iterable[HeldData]:
    return (held for held in store.walk.data() if only is None or held.digest in only)


def _print(findings: _Findings, seconds: float, *, dry_run: bool) -> None:
    for one in findings.damaged:
        fate = "quarantined" if one.quarantined else "left where it is"
        typer.echo(f"damaged ({one.damage}): {one.digest}, {written(one.size_bytes)}, {fate}")
    for link in findings.links:
        typer.echo(f"{link.breach}: {link.what} {link.name} in {link.repository}")
    counted = f"{findings.blobs} blobs, {written(findings.size_bytes)} in {seconds:.1f} s"
    if findings.is_well:
        typer.echo(f"{counted}: all is well")
        return
    typer.echo(
        f"{counted}; damaged: {len(findings.damaged)}, "
        f"links that lead nowhere: {len(findings.links)}"
    )
    if not dry_run:
        typer.echo("The next pull of each fetches it again.")


def _document(findings: _Findings) -> dict[str, Any]:
    return {
        "blobs": findings.blobs,
        "size_bytes": findings.size_bytes,
        "damaged": [{**asdict(one), "digest": str(one.digest)} for one in findings.damaged],
        "broken_links": [asdict(link) for link in findings.links],
    }


def _print_quarantined(found: list[Quarantined], *, as_json: bool) -> None:
    if as_json:
        rows = [{**asdict(one), "digest": str(one.digest)} for one in found]
        typer.echo(json.dumps({"quarantined": rows}, indent=2))
        return
    if not found:
        typer.echo("nothing is in quarantine")
        return
    table = Table(title="In quarantine", title_justify="left")
    for column in ("since", "damage", "size", "file"):
        table.add_column(column, overflow="fold")
    for one in found:
        since = datetime.fromtimestamp(one.since, UTC).isoformat(timespec="seconds")
        table.add_row(since, one.damage, written(one.size_bytes), one.path)
    Console().print(table)
