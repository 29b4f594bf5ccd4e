"""``roadstead demo`` on the command line."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from roadstead.cli import demo
from roadstead.demo import Report, Step

STEP = Step(
    name="upstream down",
    explanation="Served what is held.",
    requests=7,
    upstream_requests=0,
    upstream_bytes=0,
    client_bytes=180 * 1024 * 1024,
    seconds=0.5,
    outcome="stale, whole",
    broken="",
)


@pytest.mark.scale
def test_json_tells_it_all() -> None:
    """With --json one document tells each step and the verdict, and the exit status is 0."""
    command = [sys.executable, "-m", "roadstead", "demo", "--json"]
    done = subprocess.run(command, capture_output=True, check=False)

    document = json.loads(done.stdout)
    assert (done.returncode, document["kept"]) == (0, True)
    assert [step["name"] for step in document["steps"]] == [
        "cold pull",
        "warm pull",
        "upstream down",
        "20 at once",
    ]


def test_the_table_fits_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns nothing is cut off."""
    monkeypatch.setenv("COLUMNS", "80")

    demo.show(Report([STEP], pulls=4, pulls_without=46))

    text = capsys.readouterr().out
    assert "…" not in text
    assert "180 MiB" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_broken_promise_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """What went wrong stands below the table."""
    step = replace(STEP, broken="torn")

    demo.show(Report([step]))

    assert "Not as promised: torn" in capsys.readouterr().out
