"""``roadstead upstream-simulator`` on the command line."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roadstead.cli.main import app
from roadstead.cli.sizes import written
from roadstead.simulator.client import Pull, PullingClient
from roadstead.simulator.manners import MANNERS
from roadstead.simulator.phrases import parse_fault

GUIDE = Path(__file__).parents[2] / "docs" / "rehearsing-outages.md"


@contextmanager
def simulator(*options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run it with small images on free ports; end it by Ctrl-C, and require status 0."""
    command = [sys.executable, "-m", "roadstead", "upstream-simulator", "--port=0"]
    with subprocess.Popen(
        [*command, "--images=1", "--layers=1", "--layer-size=100kB", *options],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
    assert process.returncode == 0


def read_until(process: "subprocess.Popen[str]", last: str) -> list[str]:
    """Read lines of its output up to the one that contains ``last``."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if last in line:
            return lines
    message = f"{last!r} did not come: {lines}"
    raise AssertionError(message)


async def pull_from(url: str) -> Pull:
    """Pull the one image without a mirror."""
    async with PullingClient(url) as client:
        return await client.pull("library/app1", "latest")


async def test_it_offers_images_and_tells_of_requests() -> None:
    """The offer says where it is and how to mirror it; each request is a line."""
    with simulator("--fault=cut:1000", "--times=1") as process:
        offer = "\n".join(read_until(process, "Ctrl-C"))
        url = re.findall(r"remoteurl: \"(.*)\"", offer)[0]

        first = await pull_from(url)
        lines = read_until(process, "<- cut:1000")

    assert "the connection failed" in first.failure
    assert "library/app1:latest, 1 layers of 97.7 KiB each" in offer
    assert "cut:1000, 1 times each" in offer
    assert any("200 HEAD manifest library/app1:latest" in line for line in lines)
    assert all(len(line.partition("  <- ")[0]) <= 100 for line in lines)


async def test_json_is_one_document_for_each_line() -> None:
    """With --json the offer and every request are documents."""
    with simulator("--json", "--manners=plain", "--limit=5") as process:
        (line,) = read_until(process, "{")
        offer = json.loads(line)
        pull = await pull_from(offer["hosts"]["registry"])
        records = [json.loads(line) for line in read_until(process, '"kind": "blob"')]

    assert pull.failure == ""
    assert offer["pull_limit"] == 5
    assert [record["kind"] for record in records] == ["manifest"] * 3 + ["blob"]
    assert records[-1]["sent_bytes"] == records[-1]["body_bytes"]


async def test_an_account_is_asked_for() -> None:
    """With --user and --password nobody else may pull, and the settings name them."""
    with simulator("--json", "--user=alice", "--password=s3cret") as process:
        (line,) = read_until(process, "{")
        offer = json.loads(line)
        pull = await pull_from(offer["hosts"]["registry"])

    assert "was answered 401" in pull.failure
    assert offer["proxy"]["username"] == "alice"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--manners=nobody"], "docker-hub"),
        (["--fault=explode"], "wrong-bytes"),
        (["--layer-size=large"], "no number of bytes"),
        (["--user=alice"], "go together"),
    ],
)
def test_options_that_cannot_be_used_are_explained(options: list[str], said: str) -> None:
    """The exit status is 2 and the message names what fits."""
    result = CliRunner().invoke(app, ["upstream-simulator", *options], env={"COLUMNS": "200"})

    assert result.exit_code == 2
    assert said in result.output


def test_the_guide_names_what_exists() -> None:
    """Every fault and all manners in the guide can be played, and none is left out of it."""
    text = GUIDE.read_text(encoding="utf-8")
    faults = re.findall(r"--fault[ =]([\w:.-]+)", text)
    manners = set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))

    assert faults
    assert [parse_fault(fault).text for fault in faults] == faults
    assert set(MANNERS) <= manners


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (188743680, "180 MiB")],
)
def test_sizes_are_written_for_people(count: int, text: str) -> None:
    """The largest unit that fits, and no digits that nobody reads."""
    assert written(count) == text
