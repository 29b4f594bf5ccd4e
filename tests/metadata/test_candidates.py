"""Reading candidates page by page: every statement is a look-up, however much is held."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from roadstead.metadata import candidates
from roadstead.metadata.graph import above, below
from roadstead.metadata.recording import record_layer, record_manifest
from roadstead.metadata.records import EVERYTHING, ManifestRecord, PointsAt
from roadstead.metadata.schema import metadata
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName

BASE = Digest.of(b"a base layer")
IMAGES = 60


@pytest.fixture
def connection() -> Iterator[sa.Connection]:
    """Give a database with images that share a layer."""
    engine = sa.create_engine("sqlite://")
    with engine.begin() as made:
        metadata.create_all(made)
        for number in range(IMAGES):
            repository = RepositoryName(f"library/app{number}")
            own = Digest.of(b"layer %d" % number)
            for digest in (BASE, own):
                record_layer(made, repository, digest, 1000, float(number))
            points_at = PointsAt("application/json", blobs=(BASE, own))
            top = Digest.of(b"manifest %d" % number)
            record_manifest(made, ManifestRecord(repository, top, 100, float(number), points_at))
        yield made
    engine.dispose()


def test_no_statement_goes_through_a_table(connection: sa.Connection) -> None:
    """SQLite's plans name no table that is scanned: a page takes no longer where more is held."""
    statements: list[tuple[str, Any]] = []

    @sa.event.listens_for(connection, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:  # noqa: ANN401 - the event's own
        statements.append((statement, parameters))

    candidates.candidates(connection, EVERYTHING, after=(0.0, 0, 0), until=1e9, limit=10, shared={})
    pairs = [(1, 1), (2, 2)]
    assert list(above(connection, pairs)) == list(below(connection, pairs)) == []
    told = list(statements)
    assert len(told) > 8
    for statement, parameters in told:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        scanned = [row[3] for row in plan if row[3].startswith("SCAN")]
        assert [one for one in scanned if "CONSTANT ROW" not in one] == [], statement


def test_what_many_images_share_is_counted_once(connection: sa.Connection) -> None:
    """And the count goes along with every image of every page."""
    shared: dict[int, int] = {}
    after: candidates.Cursor | None = None
    seen = 0
    while True:
        page, after = candidates.candidates(
            connection, EVERYTHING, after=after, until=1e9, limit=25, shared=shared
        )
        for image in page:
            assert {blob.holders for blob in image.blobs if blob.digest == BASE} == {IMAGES}
            assert {blob.holders for blob in image.blobs if blob.digest != BASE} == {1}
        seen += len(page)
        if after is None:
            break
    assert seen == IMAGES
    assert list(shared.values()) == [IMAGES]
