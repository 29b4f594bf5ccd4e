"""Paths of the registry API as values."""

import tracemalloc

import pytest

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.server import endpoints
from roadstead.server.endpoints import Endpoint, parse_endpoint

HEX = "a" * 64
APP = RepositoryName("library/app")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/", endpoints.Base()),
        ("/v2/_catalog", endpoints.CatalogEndpoint()),
        ("/v2/library/app/tags/list", endpoints.TagsEndpoint(APP)),
        ("/v2/library/app/manifests/1.0", endpoints.ManifestEndpoint(APP, Tag("1.0"))),
        (
            f"/v2/library/app/manifests/sha256:{HEX}",
            endpoints.ManifestEndpoint(APP, Digest("sha256", HEX)),
        ),
        (f"/v2/library/app/blobs/sha256:{HEX}", endpoints.BlobEndpoint(APP, Digest("sha256", HEX))),
        (
            f"/v2/library/app/referrers/sha256:{HEX}",
            endpoints.ReferrersEndpoint(APP, Digest("sha256", HEX)),
        ),
        ("/v2/library/app/blobs/uploads/", endpoints.UploadEndpoint(APP)),
        ("/v2/library/app/blobs/uploads/some-id", endpoints.UploadEndpoint(APP)),
        (
            "/v2/manifests/manifests/manifests",
            endpoints.ManifestEndpoint(RepositoryName("manifests"), Tag("manifests")),
        ),
    ],
)
def test_endpoints_are_recognised(path: str, expected: Endpoint) -> None:
    """Every path of the spec's pull and discovery categories, and names that look like nouns."""
    assert parse_endpoint(path) == expected


@pytest.mark.parametrize(
    "path", ["/v2/app", "/v2/manifests/x", "/v2/a/b/c", "/v2/_oci/ext/discover"]
)
def test_other_paths_are_no_endpoint(path: str) -> None:
    """What the API does not have is None, to become a plain 404."""
    assert parse_endpoint(path) is None


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/v2/Library/app/manifests/1.0", "repository"),
        ("/v2/../../etc/manifests/1.0", "repository"),
        ("/v2//app/tags/list", "repository"),
        (f"/v2/{'a' * 256}/tags/list", "repository"),
        ("/v2/app/manifests/.hidden", "tag"),
        ("/v2/app/manifests/sha256:bad", "digest"),
        ("/v2/app/blobs/latest", "digest"),
        ("/v2/app/referrers/latest", "digest"),
    ],
)
def test_broken_names_are_named(path: str, part: str) -> None:
    """The error says which part of the path broke its grammar."""
    with pytest.raises(InvalidReferenceError) as caught:
        parse_endpoint(path)

    assert caught.value.part == part


def test_long_paths_are_not_remembered() -> None:
    """Made-up paths of the greatest length leave no memory behind."""
    tracemalloc.start()
    try:
        for number in range(50):
            assert parse_endpoint(f"/v2/{number}/other/{'x' * 60_000}") is None
        left, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert left < 10 * 60_000
