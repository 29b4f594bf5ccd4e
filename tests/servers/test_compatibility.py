"""Roadstead beside registry 2.8.2 in proxy mode: the same requests, header by header."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.servers.cases import CASES
from tests.servers.comparison import Described, compare, start_both
from tests.servers.differences import expected_difference
from tests.servers.exchange import difference

pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def answers() -> Iterator[dict[str, tuple[Described, Described]]]:
    """Give both answers to each request; asked once, in order."""
    with TemporaryDirectory() as directory, start_both(Path(directory)) as mirrors:
        yield compare(mirrors)


@pytest.mark.parametrize("case", [case.name for case in CASES])
def test_the_differences_are_those_that_are_documented(
    answers: dict[str, tuple[Described, Described]], case: str
) -> None:
    """No more and no fewer than the table has: each part of both answers is compared."""
    registry, roadstead = answers[case]

    assert difference(registry, roadstead) == expected_difference(case)
