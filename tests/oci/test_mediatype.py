"""Media types."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.oci import mediatype


@given(st.sampled_from(sorted(mediatype.MANIFESTS)), st.sampled_from(["", ";", "; charset=utf-8"]))
def test_parameters_are_stripped(media_type: str, parameters: str) -> None:
    """The essence of a type is the type, in small letters, whatever follows it."""
    assert mediatype.essence(media_type + parameters) == media_type
    assert mediatype.essence(f" {media_type.upper()} {parameters}") == media_type


@pytest.mark.parametrize("nothing", ["", " ", "; charset=utf-8"])
def test_a_missing_type_has_no_essence(nothing: str) -> None:
    """Parameters alone are no type."""
    assert mediatype.essence(nothing) == ""


def test_upstream_is_asked_for_everything_but_schema_1() -> None:
    """The Accept line names the present kinds, and takes the old ones last of all."""
    accepted = mediatype.UPSTREAM_ACCEPT.split(", ")
    assert accepted[-1] == "*/*"
    assert set(accepted[:-1]) == mediatype.MANIFESTS - {
        mediatype.DOCKER_SCHEMA1,
        mediatype.DOCKER_SCHEMA1_SIGNED,
    }
    assert set(mediatype.INDEXES) <= set(accepted)
