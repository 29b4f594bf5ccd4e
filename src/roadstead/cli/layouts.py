"""``roadstead export`` and ``roadstead import``: images for machines without a network."""

import asyncio
import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from roadstead.cli.auditing import audited_command
from roadstead.cli.client import AsJSON
from roadstead.cli.sizes import written
from roadstead.cli.volume import (
    ConfigurationOption,
    byte_progress,
    failing_in_words,
    load_settings,
)
from roadstead.config.schema import Settings
from roadstead.errors import ImageLayoutError
from roadstead.maintenance.layouts.exporter import Export, combine, write_export
from roadstead.maintenance.layouts.importer import Importer, PlannedImage
from roadstead.maintenance.layouts.reading import layout_reader
from roadstead.maintenance.layouts.selection import Selector
from roadstead.oci.platform import Platform
from roadstead.runtime.volume import open_volume


def export_images(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE... DIR", help="Images, and where to write them.")
    ],
    *,
    platforms: Annotated[
        list[str] | None,
        typer.Option(
            "--platform", help="Only this platform, such as linux/arm64; may be repeated."
        ),
    ] = None,
    hard_links: Annotated[
        bool,
        typer.Option("--hard-links", help="Share files with the store instead of copying them."),
    ] = False,
    configuration: ConfigurationOption = None,
    as_json: AsJSON = False,
) -> None:
    """Write held images as an OCI image layout: a directory, or an archive if DIR ends in .tar.

    Images are named as docker names them (alpine, ghcr.io/org/app:1.2, with a digest too). All
    that is held of them goes along: every platform that is held whole, signatures, SBOMs.
    Upstream is not asked.
    """
    *names, target = images
    if not names:
        message = "name at least one image, and where to write it"
        raise typer.BadParameter(message)
    with failing_in_words():
        chosen = [_platform(text) for text in platforms or ()]
        started = time.perf_counter()
        export = asyncio.run(
            _export(load_settings(configuration), names, Path(target), chosen, hard_links)
        )
    _print_export(export, target, time.perf_counter() - started, as_json=as_json)


def import_layouts(
    layouts: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Image layouts: directories or archives.")
    ],
    *,
    rename: Annotated[
        str | None,
        typer.Option(
            "--as",
            metavar="REFERENCE",
            help="What the only image of the layout is, where its name does not say the registry.",
        ),
    ] = None,
    configuration: ConfigurationOption = None,
    as_json: AsJSON = False,
) -> None:
    """Take images of OCI image layouts into the store, verified while they are copied.

    Layouts of `roadstead export` say what their images are; those of skopeo and others often
    have only a tag, and need --as. A running mirror need not be stopped.
    """
    if rename is not None and len(layouts) > 1:
        message = "--as is for one layout at a time"
        raise typer.BadParameter(message)
    with failing_in_words():
        started = time.perf_counter()
        settings = load_settings(configuration)
        with audited_command("import", settings.log) as entry:
            entry.arguments = {"layouts": [str(path) for path in layouts]}
            imported = asyncio.run(_import(settings, layouts, rename))
            entry.images = len(imported)
            entry.size_bytes = sum(one.size_bytes for one in imported)
    _print_import(imported, time.perf_counter() - started, as_json=as_json)


async def _export(
    settings: Settings,
    names: list[str],
    target: Path,
    platforms: list[Platform],
    hard_links: bool,  # noqa: FBT001 - handed through
) -> Export:
    async with open_volume(settings, writes=False) as volume:
        selector = Selector(volume.store, platforms)
        images = [volume.namer.find(name) for name in names]
        export = combine([(image, await selector.select(image)) for image in images])
        with byte_progress() as progress:
            task = progress.add_task("exporting", total=export.size_bytes)
            await write_export(
                export,
                volume.store,
                target,
                report=partial(progress.advance, task),
                hard_links=hard_links,
            )
    return export


async def _import(
    settings: Settings, layouts: list[Path], rename: str | None
) -> list[PlannedImage]:
    imported = []
    async with open_volume(settings, writes=True) as volume:
        importer = Importer(volume.store, volume.namer)
        with byte_progress() as progress:
            for path in layouts:
                with layout_reader(path) as reader:
                    try:
                        planned = await importer.plan(reader, rename)
                    except ImageLayoutError as error:
                        message = f"{path} cannot be imported:\n{error}"
                        raise ImageLayoutError(message) from error
                    task = progress.add_task(
                        path.name, total=sum(one.size_bytes for one in planned)
                    )
                    await importer.perform(reader, planned, report=partial(progress.advance, task))
                imported += planned
    return imported


def _platform(text: str) -> Platform:
    try:
        return Platform.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _print_export(export: Export, target: str, seconds: float, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_export_document(export, target), indent=2))
        return
    for image in export.images:
        typer.echo(f"{image.name} {image.digest}")
        for one in image.left_out:
            typer.echo(f"  {one}")
        for companion in image.companions:
            typer.echo(f"  with {companion}")
    typer.echo(f"{written(export.size_bytes)} in {seconds:.1f} s to {target}")


def _export_document(export: Export, target: str) -> dict[str, Any]:
    return {
        "target": target,
        "size_bytes": export.size_bytes,
        "images": [
            {
                "name": image.name,
                "digest": str(image.digest),
                "companions": list(image.companions),
                "left_out": [
                    {
                        "digest": str(one.digest),
                        "platform": str(one.platform) if one.platform else None,
                        "reason": one.reason,
                    }
                    for one in image.left_out
                ],
            }
            for image in export.images
        ],
    }


def _print_import(imported: list[PlannedImage], seconds: float, *, as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "name": one.image.name,
                "stored_as": one.image.repository,
                "digest": str(one.digest),
                "size_bytes": one.size_bytes,
                "missing_manifests": one.missing,
            }
            for one in imported
        ]
        typer.echo(json.dumps({"images": rows}, indent=2))
        return
    for one in imported:
        typer.echo(f"{one.image.name} {one.digest}")
        if one.missing:
            typer.echo(f"  {one.missing} manifests of its index are not in the layout")
    size = sum({digest: size for one in imported for digest, size in one.blobs.items()}.values())
    number = "1 image" if len(imported) == 1 else f"{len(imported)} images"
    typer.echo(f"{number}, {written(size)} in {seconds:.1f} s")
