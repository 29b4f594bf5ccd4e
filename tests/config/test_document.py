"""YAML is read as distribution reads it: scalars are text until the schema types them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.config.document import (
    BareScalar,
    DocumentError,
    Plain,
    dump,
    parse_document,
    resolve,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 0123", {"a": "0123"}),
        ("a: 1e3", {"a": "1e3"}),
        ("a: 22:30", {"a": "22:30"}),
        ("a: yes", {"a": "yes"}),
        ("a: 2026-11-23", {"a": "2026-11-23"}),
        ("a: =", {"a": "="}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 1\na: 2", {"a": "2"}),
        ("1: x\non: y\n~: z", {"1": "x", "on": "y", "null": "z"}),
        ("a: 1\n---\nb: 2", {"a": "1"}),
        ("b: &x {c: 1}\na:\n  <<: *x", {"b": {"c": "1"}, "a": {"c": "1"}}),
        ("!!set {a}", ["a"]),
        ("!!binary aGk=", "hi"),
        ("", None),
        ("# nothing", None),
    ],
)
def test_documents_are_read(text: str, value: object) -> None:
    """Scalars keep their characters, keys are text, the last duplicate wins."""
    assert parse_document(text) == value


def test_only_a_bare_scalar_gets_a_type_in_a_free_form_value() -> None:
    """Quotes make text of a number; a date stays as it was written."""
    document = parse_document("{a: 1, b: '1', c: [true, 1.5, 2026-11-23], d: ~, e: word}")

    resolved = resolve(document)

    assert resolved == {"a": 1, "b": "1", "c": [True, 1.5, "2026-11-23"], "d": None, "e": "word"}


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a: 1\nb: [", "line 2"),
        ("a: 1\n  b: 2", "line 2, column 4"),
        ("password: *hunter2", "line 1"),
        ("password: !hunter2 x", "line 1"),
        ("password: @hunter2", "line 1, column 11"),
        ("a: \x07", "character 4"),
        ("&a [*a]", "itself"),
        ("[" * 5000, "deep"),
    ],
)
def test_errors_say_where_and_show_nothing_of_the_text(text: str, where: str) -> None:
    """What cannot be parsed is located, and a password in it stays unseen."""
    with pytest.raises(DocumentError) as caught:
        parse_document(text)

    assert where in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


_PLAIN: st.SearchStrategy[Plain] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner),
    max_leaves=10,
)


@given(_PLAIN)
def test_what_is_dumped_is_read_again(value: Plain) -> None:
    """Dumping, parsing and resolving gives the value itself."""
    assert resolve(parse_document(dump(value))) == value


def test_a_quoted_scalar_is_not_bare() -> None:
    """The parser tells the two ways of writing apart."""
    document = parse_document("[1, '1']")

    assert isinstance(document, list)
    assert [isinstance(item, BareScalar) for item in document] == [True, False]
