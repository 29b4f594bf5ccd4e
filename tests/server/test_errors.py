"""Every error has a response, and every response the form of the spec."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead import errors
from roadstead.errors import RoadsteadError, UpstreamError
from roadstead.oci.errorcode import ErrorCode
from roadstead.server.errors import (
    MAX_RETRY_AFTER_SECONDS,
    STATUS_BY_ERROR,
    ErrorResponse,
    json_body,
    render_error,
)

SAMPLES: dict[type[RoadsteadError], RoadsteadError] = {
    type(sample): sample
    for sample in (
        RoadsteadError("odd"),
        errors.InvalidReferenceError("repository", "A B"),
        errors.InvalidCallError("dry_run is true or false"),
        errors.NamespaceConflictError("ghcr.io", "quay.io"),
        errors.RepositoryDeniedError("library/app", "docker.io"),
        errors.PlatformDeniedError(
            "library/app", "sha256:0", platforms=["linux/arm64"], listed=["linux/amd64"]
        ),
        errors.AccessError("no"),
        errors.AuthenticationRequiredError('Basic realm="mirror"'),
        errors.AccessDeniedError("not you"),
        errors.TooManyAttemptsError(30.0),
        errors.UnknownContentError("unknown"),
        errors.NamespaceUnknownError("ghcr.io"),
        errors.RepositoryUnknownError("library/app"),
        errors.ManifestUnknownError("library/app", "latest"),
        errors.BlobUnknownError("library/app", "sha256:0"),
        errors.ContentError("odd content"),
        errors.DigestMismatchError("sha256:0", "sha256:1"),
        errors.ManifestInvalidError("no JSON"),
        errors.ContentTooLargeError("the manifest", 5),
        errors.StorageError("odd store"),
        errors.StorageFullError("no space"),
        errors.StorageUnavailableError("no answer"),
        errors.StorageBusyError("another collects"),
        errors.MetadataError("locked"),
        errors.ImageLayoutError("no layout"),
        errors.ConfigError([errors.ConfigProblem("http.addr", "x", "has no port")]),
    )
}


def classes(root: type[RoadsteadError] = RoadsteadError) -> Iterator[type[RoadsteadError]]:
    """Yield every class of the tree."""
    yield root
    for child in root.__subclasses__():
        yield from classes(child)


def sample_of(kind: type[RoadsteadError]) -> RoadsteadError:
    """Make an error of a class; a new class needs a sample."""
    if issubclass(kind, UpstreamError):
        return kind("answered 599", upstream="registry.example", status=599)
    return SAMPLES[kind]


def entry_of(response: ErrorResponse) -> dict[str, object]:
    """Return the one error in a body."""
    assert isinstance(response.body, bytes)
    (entry,) = json.loads(response.body)["errors"]
    assert isinstance(entry, dict)
    return entry


def test_the_table_has_every_error_and_no_other() -> None:
    """A new class of errors needs a decision about its status."""
    assert set(STATUS_BY_ERROR) == set(classes())


@pytest.mark.parametrize("kind", list(classes()), ids=lambda kind: kind.__name__)
def test_every_error_renders(kind: type[RoadsteadError]) -> None:
    """Code and status as in the table; never cached; a challenge is our own (ADR 3)."""
    code, status = STATUS_BY_ERROR[kind]

    response = render_error(sample_of(kind))

    entry = entry_of(response)
    assert (entry["code"], response.status) == (code.name, status)
    assert entry["message"] == response.message
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    is_ours = kind is errors.AuthenticationRequiredError
    assert (response.status == 401) is is_ours
    assert ("WWW-Authenticate" in response.headers) is is_ours


@pytest.mark.parametrize("kind", list(classes(UpstreamError)), ids=lambda kind: kind.__name__)
def test_trouble_upstream_names_the_upstream(kind: type[RoadsteadError]) -> None:
    """The message is all that docker shows, so it says who failed and how."""
    message = str(entry_of(render_error(sample_of(kind)))["message"])

    assert "registry.example" in message
    assert "answered 599" in message


@pytest.mark.parametrize(
    ("part", "code", "status"),
    [
        ("repository", "NAME_INVALID", 400),
        ("tag", "MANIFEST_UNKNOWN", 404),
        ("digest", "DIGEST_INVALID", 400),
    ],
)
def test_each_part_of_a_reference_has_its_own_code(part: str, code: str, status: int) -> None:
    """What breaks the grammar is quoted back as detail."""
    response = render_error(errors.InvalidReferenceError(part, "<bad>"))

    entry = entry_of(response)
    assert (entry["code"], response.status, entry["detail"]) == (code, status, "<bad>")


@pytest.mark.parametrize(
    ("wanted", "sent"), [(None, "1"), (0.0, "1"), (0.2, "1"), (3.9, "3"), (3600.0, "5")]
)
def test_retry_after_is_whole_and_short(wanted: float | None, sent: str) -> None:
    """Clients sleep through it, so an hour's wait upstream is not passed on."""
    error = errors.UpstreamRateLimitedError("busy", upstream="host", retry_after_seconds=wanted)

    response = render_error(error)

    assert response.headers["Retry-After"] == sent
    assert int(sent) <= MAX_RETRY_AFTER_SECONDS


def test_no_detail_leaves_no_key() -> None:
    """The spec has it optional, and null would be read as a value."""
    assert set(entry_of(ErrorResponse(ErrorCode.UNKNOWN))) == {"code", "message"}


def test_html_in_an_error_is_escaped() -> None:
    """As Go's encoder does: what a client sent cannot become markup where JSON is shown."""
    body = json_body({"name": "<script>&</script>"})

    assert body == b'{"name":"\\u003cscript\\u003e\\u0026\\u003c/script\\u003e"}\n'


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_escaping_changes_no_value(document: dict[str, object]) -> None:
    """Whatever goes in comes out of any JSON parser, in one line of ASCII."""
    body = json_body(document)

    assert json.loads(body) == document
    assert body.isascii()
    assert body.count(b"\n") == 1
    assert not set(b"<>&") & set(body)
