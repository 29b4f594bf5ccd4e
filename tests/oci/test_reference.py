"""Repository names, tags and references."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import (
    MAX_NAME_LENGTH,
    RepositoryName,
    Tag,
    parse_reference,
    parse_repository,
    parse_tag,
    referrers_tag,
)
from tests.support.strategies import digests, repositories, tags


@given(repositories())
def test_names_of_the_grammar_are_accepted(name: RepositoryName) -> None:
    """A name comes back as it was given."""
    assert parse_repository(name) == name


@given(tags())
def test_tags_of_the_grammar_are_accepted(tag: Tag) -> None:
    """A tag comes back as it was given, alone and as a reference."""
    assert parse_tag(tag) == tag
    assert parse_reference(tag) == tag


@given(digests())
def test_a_colon_makes_a_digest(digest: Digest) -> None:
    """A reference with a colon is a digest and never a tag."""
    assert parse_reference(str(digest)) == digest
    with pytest.raises(InvalidReferenceError):
        parse_tag(str(digest))


@given(st.text("aZ0_-./\\ \n:%", max_size=12) | st.text(max_size=12))
def test_what_is_accepted_is_safe_in_a_path(text: str) -> None:
    """No accepted name or tag has an empty component, a leading dot or a strange character."""
    for parse in (parse_repository, parse_tag):
        try:
            accepted: str = parse(text)
        except InvalidReferenceError:
            continue
        assert accepted == text
        assert accepted.isascii()
        assert accepted.isprintable()
        assert not set(accepted) & set("\\ :%")
        assert not any(part in {"", ".", ".."} for part in accepted.split("/"))
        assert not accepted.startswith((".", "-", "/"))


@given(repositories())
def test_no_component_starts_with_an_underscore(name: RepositoryName) -> None:
    """The layout keeps its own directories apart from repositories by that."""
    with pytest.raises(InvalidReferenceError):
        parse_repository(f"{name}/_layers")
    with pytest.raises(InvalidReferenceError):
        parse_repository(f"_{name}")


@pytest.mark.parametrize(
    "text",
    ["", "/", "a/", "/a", "a//b", "A", "a_-b", "a___b", "a..b", "a._b", "-a", "a-", "a.", "a\n"],
)
def test_names_outside_the_grammar_are_refused(text: str) -> None:
    """Separators stand alone and between words; capitals and empty components do not occur."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_repository(text)
    assert (caught.value.part, caught.value.given) == ("repository", text)


@pytest.mark.parametrize("text", ["", ".a", "-a", "a/b", "a b", "a\n", "é", "a+b"])
def test_tags_outside_the_grammar_are_refused(text: str) -> None:
    """A tag starts with a word character and has no separator but dot and hyphen."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_tag(text)
    assert (caught.value.part, caught.value.given) == ("tag", text)


@pytest.mark.parametrize(
    ("parse", "longest"), [(parse_repository, MAX_NAME_LENGTH), (parse_tag, 128)]
)
def test_lengths_have_limits(parse: Callable[[str], str], longest: int) -> None:
    """The longest name or tag is accepted and one more character is not."""
    assert parse("a" * longest) == "a" * longest
    with pytest.raises(InvalidReferenceError):
        parse("a" * (longest + 1))


@given(digests())
def test_the_fallback_tag_is_a_tag(subject: Digest) -> None:
    """The referrers tag of every digest is in the grammar and holds 64 hex digits of it."""
    tag = referrers_tag(subject)
    assert parse_tag(tag) == tag
    assert tag == f"{subject.algorithm}-{subject.encoded[:64]}"
