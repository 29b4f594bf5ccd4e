"""What a reader copies from docs/credentials.md works."""

import re
from pathlib import Path

import pytest

from roadstead.config.notice import Level
from tests.config.samples import MINIMAL, examine_text

DOCUMENT = Path(__file__).parents[2] / "docs" / "credentials.md"
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_example_is_a_configuration(tmp_path: Path, example: str) -> None:
    """Behind the required lines every example loads, and nothing in it is without effect."""
    found = examine_text(tmp_path, MINIMAL + example)

    assert found.problems == []
    assert [str(each) for each in found.notices if each.level is Level.WARNING] == []


def test_there_are_examples() -> None:
    """The document is found and read."""
    assert len(EXAMPLES) > 10
