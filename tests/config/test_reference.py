"""The documentation lists every key as the program treats it."""

from pathlib import Path

from roadstead.config.compat import KEYS
from roadstead.config.load import SHIPPED_PATHS
from roadstead.config.reference import compatibility_table
from tests.config.samples import examine_text

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_table_of_the_documentation_is_that_of_the_program() -> None:
    """After a change of the table, paste the output of ``roadstead config keys`` there."""
    text = DOCUMENT.read_text("utf-8")
    table = text.partition("<!-- table: begin -->\n")[2].partition("<!-- table: end -->")[0]

    assert table == compatibility_table()


def test_every_key_has_a_row() -> None:
    """Status, default and meaning stand beside each path."""
    table = compatibility_table()

    assert [key.path for key in KEYS if f"| `{key.path}` | {key.status} | " not in table] == []


def test_our_own_keys_show_their_defaults() -> None:
    """Defaults come from the models."""
    assert "| `proxy.tagttl` | works | `1m` | " in compatibility_table()
    assert "| `proxy.maxmanifestsize` | works | `8388608` | " in compatibility_table()


def test_the_documentation_names_the_paths_and_an_example_that_loads(tmp_path: Path) -> None:
    """What a reader copies works."""
    text = DOCUMENT.read_text("utf-8")
    example = text.partition("```yaml\n")[2].partition("```")[0]

    assert all(str(path) in text for path in SHIPPED_PATHS)
    found = examine_text(tmp_path, example)
    assert (found.problems, found.notices) == ([], [])
