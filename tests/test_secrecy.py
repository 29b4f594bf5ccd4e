"""A secret shows its mask everywhere but where it is revealed on purpose."""

from hypothesis import given
from hypothesis import strategies as st

from roadstead.secrecy import MASK, Secret


@given(st.text())
def test_no_way_of_printing_shows_the_text(text: str) -> None:
    """str, repr, format, and the repr of a container all give the mask."""
    secret = Secret(text)

    assert {str(secret), repr(secret), f"{secret}", f"{secret!r:>3}"} == {MASK}
    assert repr([secret]) == f"[{MASK}]"


def test_a_secret_equals_only_a_secret_of_the_same_text() -> None:
    """Comparison works on the text, and never with a plain text."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a").__eq__("a") is NotImplemented
    assert Secret("a").reveal() == "a"
