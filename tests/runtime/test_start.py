"""What a start costs: modules that the first answer does not need are not imported for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.roadstead_process import clean_environment, start_roadstead

# Each takes from 10 ms to a second, and none is needed to answer from what is held.
_HEAVY = frozenset(
    {
        "alembic",
        "click",
        "cryptography",
        "importlib_metadata",
        "jwt",
        "opentelemetry",
        "prometheus_client",
        "pygments",
        "redis",
        "rich",
        "roadstead.cli.main",
        "roadstead.demo",
        "roadstead.simulator",
        "roadstead.telemetry.exposition",
        "roadstead.upstream.transfer",
        "sqlalchemy",
        "structlog",
        "typer",
        "urllib3",
    }
)
_FIRST_ANSWER = """
import asyncio, json, sys
from pathlib import Path
from roadstead.cli import entry, privileges, serving
from roadstead.config.load import load
from roadstead.runtime import running

async def answer():
    async with running(load(Path(sys.argv[1]), {})) as mirror:
        reader, writer = await asyncio.open_connection("127.0.0.1", mirror.port)
        writer.write(b"GET /v2/ HTTP/1.1\\r\\nHost: m\\r\\nConnection: close\\r\\n\\r\\n")
        answer = await reader.read()
        writer.close()
        return answer.split()[1].decode(), sorted(sys.modules)

print(json.dumps(asyncio.run(answer())))
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """Give the file of a mirror as it is without much configuration."""
    path = tmp_path / "config.yml"
    document = {
        "version": 0.1,
        "log": {"accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "store")}},
        "http": {"addr": "127.0.0.1:0"},
    }
    path.write_text(json.dumps(document))
    return path


def test_first_answer_needs_no_heavy_module(configuration: Path) -> None:
    """Until the first answer is out, none of the modules that take long has been imported."""
    ended = subprocess.run(
        [sys.executable, "-c", _FIRST_ANSWER, str(configuration)],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    status, modules = json.loads(ended.stdout)

    assert status == "200"
    assert _HEAVY.intersection(modules) == set()


def test_stop_right_after_the_start_is_clean(configuration: Path) -> None:
    """What is imported after the first answers does not disturb a quick end."""
    with start_roadstead(json.loads(configuration.read_text())) as mirror:
        mirror.stop()
        assert "level=error" not in mirror.log
        assert "Traceback" not in mirror.log
