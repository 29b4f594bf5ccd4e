"""docs/compatibility.md shows the table that the comparison checks."""

from pathlib import Path

from tests.servers.cases import CASES
from tests.servers.differences import DIFFERENCES
from tests.servers.document import BEGIN, END, table

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"


def test_the_document_has_the_table() -> None:
    """After a change, paste the output of ``python -m tests.servers.document`` there."""
    text = DOCUMENT.read_text("utf-8")

    assert text.partition(BEGIN)[2].partition(END)[0] == table()
    assert f"sends {len(CASES)} requests" in text


def test_every_name_means_one_request() -> None:
    """Differences refer to requests by their names."""
    names = [case.name for case in CASES]

    assert len(set(names)) == len(names)


def test_every_difference_differs_and_has_a_reason() -> None:
    """A row that says the same twice, or nothing, is of no use."""
    assert [
        entry
        for entry in DIFFERENCES
        if not entry.reason or any(entry.registry[p] == entry.roadstead[p] for p in entry.registry)
    ] == []
