"""``roadstead upstream-simulator``: an upstream that misbehaves on demand, to rehearse outages."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from roadstead.cli.sizes import written
from roadstead.simulator.manners import MANNERS
from roadstead.simulator.phrases import FORMS, parse_fault, parse_size
from roadstead.simulator.registry import RequestRecord
from roadstead.simulator.rehearsal import Script, play
from roadstead.simulator.stage import Account, Stage

_SHORT_DIGEST = len("sha256:") + 12
_FAULTS = "; ".join(
    f"{word}:{form.argument}" if form.argument else word for word, form in FORMS.items()
)

Images = Annotated[int, typer.Option("--images", min=1, max=1000, help="Number of images.")]
Layers = Annotated[int, typer.Option("--layers", min=1, max=100, help="Layers of each image.")]
LayerSize = Annotated[str, typer.Option("--layer-size", metavar="SIZE", help="Size of a layer.")]
Faults = Annotated[
    list[str] | None,
    typer.Option("--fault", metavar="FAULT", help=f"What goes wrong, repeatable: {_FAULTS}."),
]


def simulate(  # noqa: PLR0913 - one parameter per option
    *,
    address: Annotated[
        str, typer.Option("--address", help="Address at which the mirror reaches it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0: any free one.")] = 5050,
    manners: Annotated[
        str, typer.Option("--manners", metavar="NAME", help=f"One of {', '.join(MANNERS)}.")
    ] = "plain",
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, help="Pulls in six hours, as on Docker Hub.")
    ] = None,
    images: Images = 3,
    layers: Layers = 3,
    layer_size: LayerSize = "10MiB",
    fault: Faults = None,
    times: Annotated[
        int | None, typer.Option("--times", min=1, help="How often each fault acts; else always.")
    ] = None,
    user: Annotated[str | None, typer.Option("--user", help="The one who may pull.")] = None,
    password: Annotated[str | None, typer.Option("--password", help="Of that user.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a JSON document for each line.")
    ] = False,
) -> None:
    """Play a registry that misbehaves on demand, until Ctrl-C.

    It prints what it offers, how to configure a mirror of it, and every request with its outcome.
    Exit status: 0 at the end, 1 if an address cannot be bound, 2 for options that cannot be used.
    """
    if manners not in MANNERS:
        message = f"there are {', '.join(MANNERS)}"
        raise typer.BadParameter(message, param_hint="--manners")
    if (user is None) != (password is None):
        message = "--user and --password go together"
        raise typer.BadParameter(message)
    script = Script(
        manners=manners,
        address=address,
        port=port,
        images=images,
        layers=layers,
        layer_bytes=_parsed(parse_size, layer_size, "--layer-size"),
        limit=limit,
        account=None if user is None or password is None else Account(user, password),
        faults=[_parsed(parse_fault, text, "--fault") for text in fault or []],
        times=times,
    )
    try:
        asyncio.run(_run(script, as_json=as_json))
    except OSError as error:
        typer.echo(f"cannot start: {error}", err=True)
        raise typer.Exit(code=1) from None


def _parsed(parse: Callable[[str], Any], text: str, option: str) -> Any:  # noqa: ANN401 - as parsed
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


async def _run(script: Script, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with play(script) as stage:
        stage.follow(_Printer(as_json=as_json))
        offer = _offer(script, stage)
        typer.echo(json.dumps(offer) if as_json else _prose(offer))
        await stop.wait()


class _Printer:
    """Prints each request when its answer is over, or at once if that may take for ever."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def __call__(self, record: RequestRecord) -> None:
        stalls = any(label.startswith("stall") for label in record.faults)
        if record.ended is stalls:
            return
        typer.echo(json.dumps(_document(record)) if self._as_json else _line(record))


def _document(record: RequestRecord) -> dict[str, object]:
    return {
        "time": time.strftime("%H:%M:%S"),
        "method": record.method,
        "path": record.path,
        "kind": record.kind,
        "status": int(record.status),
        "sent_bytes": record.body_bytes_sent,
        "body_bytes": record.body_bytes,
        "faults": list(record.faults),
    }


def _line(record: RequestRecord) -> str:
    name = record.target.repository
    reference = record.target.reference[:_SHORT_DIGEST]
    if reference:
        name += f"{'@' if ':' in reference else ':'}{reference}"
    outcome = written(record.body_bytes_sent) if record.body_bytes_sent else ""
    if record.ended and record.body_bytes_sent < record.body_bytes:
        outcome = f"{outcome or '0 B'} of {written(record.body_bytes)}"
    faults = f"  <- {', '.join(record.faults)}" if record.faults else ""
    what = f"{record.kind} {name}".strip()
    clock = time.strftime("%H:%M:%S")
    return f"{clock}  {record.status:3d} {record.method:4} {what:<47} {outcome}{faults}".rstrip()


def _offer(script: Script, stage: Stage) -> dict[str, Any]:
    manners = MANNERS[script.manners]
    limit = stage.pull_limit
    proxy: dict[str, object] = {"remoteurl": stage.registry.url}
    if stage.trusted_realms:
        proxy["trustedrealms"] = sorted(stage.trusted_realms)
    if stage.account is not None:
        proxy |= {"username": stage.account.user, "password": stage.account.password}
    return {
        "manners": script.manners,
        "registry": manners.registry,
        "summary": manners.summary,
        "hosts": {
            "registry": stage.registry.url,
            **{str(role): host.url for role, host in stage.others.items()},
        },
        "images": [f"{repository}:latest" for repository in script.repositories],
        "layers": script.layers,
        "layer_bytes": script.layer_bytes,
        "pull_limit": None if limit is None else limit.limit,
        "faults": [fault.text for fault in script.faults],
        "times": script.times,
        "proxy": proxy,
    }


def _prose(offer: dict[str, Any]) -> str:
    images = offer["images"]
    listed = images[0] if len(images) == 1 else f"{images[0]} to {images[-1]}"
    often = "" if offer["times"] is None else f", {offer['times']} times each"
    limit = offer["pull_limit"]
    rows = {
        **offer["hosts"],
        "images": f"{listed}, {offer['layers']} layers of {written(offer['layer_bytes'])} each",
        "pull limit": "none" if limit is None else f"{limit} manifests in 6 hours, HEAD is free",
        "faults": ", ".join(offer["faults"]) + often if offer["faults"] else "none",
    }
    settings = [f"    {key}: {json.dumps(value)}" for key, value in offer["proxy"].items()]
    return "\n".join(
        [
            f"An upstream with the manners of {offer['registry']}:",
            f"{offer['summary']}.",
            "",
            *(f"  {name:<22}{value}" for name, value in rows.items()),
            "",
            "A mirror of it:",
            "",
            "  proxy:",
            *settings,
            "",
            "Requests follow; Ctrl-C ends.",
        ]
    )
