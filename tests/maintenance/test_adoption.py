"""distribution's schedule on an adopted volume."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.maintenance.adoption import adopt_schedule, read_schedule
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName
from tests.maintenance.rows import APP, data

EXPIRES = "2026-11-30T12:00:00.123456789+01:00"
EXPIRES_AT = 1_796_036_400.123456
WEEK = 168 * 3600.0


class Seeds:
    """Remembers the times that it was given."""

    def __init__(self) -> None:
        self.given: list[tuple[RepositoryName, Digest, float]] = []

    async def seed_pull(self, repository: RepositoryName, digest: Digest, at: float) -> None:
        """Take a time."""
        self.given.append((repository, digest, at))


def entry(kind: int, expires: object = EXPIRES, key: str = "") -> dict[str, object]:
    """Write one entry as distribution does."""
    key = key or f"{APP}@{data('manifest')}"
    return {key: {"Key": key, "ExpiryData": expires, "EntryType": kind}}


async def adopt(file: Path, *, now: float = EXPIRES_AT) -> list[tuple[str, Digest, float]]:
    """Adopt a file."""
    seeds = Seeds()
    count = await adopt_schedule(file, seeds, ttl_seconds=WEEK, clock=lambda: now)
    assert count == len(seeds.given)
    return [(str(repository), digest, at) for repository, digest, at in seeds.given]


async def test_a_manifest_was_wanted_when_it_was_fetched(tmp_path: Path) -> None:
    """That is the time of its expiry less the ttl; blobs follow their images."""
    file = tmp_path / "scheduler-state.json"
    file.write_text(json.dumps(entry(1) | entry(0, key=f"{APP}@{data('layer')}")))
    ((repository, digest, at),) = await adopt(file)
    assert (repository, digest, round(at)) == (APP, data("manifest"), round(EXPIRES_AT - WEEK))
    assert await adopt(file, now=1000.0) == [(APP, data("manifest"), 1000.0)]
    assert file.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        "\x00\xff",
        json.dumps({"a": 1}),
        json.dumps(entry(1, expires="never")),
        json.dumps(entry(1, expires="2026-11-30T12:00:00")),
        json.dumps(entry(1, expires=None)),
        json.dumps(entry(1, key="library/app")),
        json.dumps(entry(1, key=f"../../etc@{data('manifest')}")),
    ],
)
async def test_a_broken_schedule_says_nothing(tmp_path: Path, text: str) -> None:
    """Distribution panics at an empty one; here the volume is adopted all the same."""
    file = tmp_path / "scheduler-state.json"
    file.write_bytes(text.encode("latin-1"))
    assert await adopt(file) == []


async def test_there_need_be_none(tmp_path: Path) -> None:
    """Most volumes have no schedule."""
    assert await adopt(tmp_path / "scheduler-state.json") == []


@given(st.text())
def test_no_text_makes_it_fail(text: str) -> None:
    """It was written by another program, maybe while the power went."""
    list(read_schedule(text))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)
    )
)
def test_no_document_makes_it_fail(document: object) -> None:
    """Nor does JSON that means something else."""
    list(read_schedule(json.dumps(document)))
