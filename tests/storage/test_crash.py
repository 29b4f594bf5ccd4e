"""What kill -9 leaves behind."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from roadstead.oci.digest import Digest
from roadstead.storage.filesystem import FilesystemStore
from roadstead.storage.layout import Layout
from roadstead.storage.partial import current_boot_id
from tests.storage.blobs import ALPINE, LATEST, read_blob
from tests.storage.crash_child import CHUNK_BYTES, blob_content, manifest_content

pytestmark = pytest.mark.crash


_TOP = Path(__file__).parents[2]


def _command(task: str, root: Path) -> list[str]:
    return [sys.executable, "-m", "tests.storage.crash_child", task, str(root)]


def _run_to_the_end(task: str, root: Path) -> None:
    subprocess.run(_command(task, root), cwd=_TOP, check=True, stdout=subprocess.DEVNULL)


def _run_and_kill(task: str, root: Path, *, after_lines: int) -> list[int]:
    """Let a child work until it has told that many numbers, kill it, return all it told."""
    with subprocess.Popen(
        _command(task, root), cwd=_TOP, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        told = [child.stdout.readline() for _ in range(after_lines)]
        child.kill()
        told += child.stdout.readlines()
    # The last line may be cut by the kill.
    return [int(line) for line in told if line.endswith("\n")]


async def test_a_killed_transfer_is_resumed_where_it_stopped(tmp_path: Path) -> None:
    """After each kill nothing damaged is visible, and no byte that was written is lost."""
    content = blob_content()
    digest = Digest.of(content)
    random = Random(20)  # noqa: S311 - chooses moments to kill at, guards nothing
    path = Layout(tmp_path).partial(current_boot_id(), digest)
    reached = 0
    for _ in range(6):
        told = _run_and_kill("fill", tmp_path, after_lines=random.randint(1, 60))
        assert told[0] >= reached
        reached = told[-1]
        if reached == len(content):
            break
        assert await FilesystemStore(tmp_path).stat_blob(ALPINE, digest) is None
        found = path.read_bytes()
        assert len(found) - reached in range(CHUNK_BYTES + 1)
        assert content.startswith(found)

    _run_to_the_end("fill", tmp_path)
    store = FilesystemStore(tmp_path)
    assert await store.stat_blob(ALPINE, digest) == len(content)
    assert read_blob(store, digest) == content
    assert not path.exists()


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """A stored manifest and its tag are whole after a kill at any moment of the next write."""
    random = Random(4)  # noqa: S311 - chooses moments to kill at, guards nothing
    store = FilesystemStore(tmp_path)
    for _ in range(5):
        told = _run_and_kill("churn", tmp_path, after_lines=random.randint(1, 20))

        for number in told:
            content = manifest_content(number)
            assert await store.read_manifest(ALPINE, Digest.of(content)) == content
        held = await store.resolve_tag(ALPINE, LATEST)
        assert held is not None
        assert await store.read_manifest(ALPINE, held.digest) is not None
        assert await store.list_tags(ALPINE) == [LATEST]
