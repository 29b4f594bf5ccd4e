"""Secrets do not get into messages, whatever their key or URL looks like."""

import pytest

from roadstead.config.document import Value
from roadstead.config.masking import describe, is_secret_name, mask_tree, mask_url


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "sentinelpassword",
        "secretkey",
        "http.secret",
        "Authorization",
        "X-Api-Key",
        "accesskey",
        "accountkey",
        "connectionstring",
        "REGISTRY_PROXY_PASSWORD",
        "Cookie",
        "token",
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    """Keys, headers and variables that hold secrets are recognised."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["http.tls.key", "proxy.remoteurl", "X-Content-Type-Options"])
def test_other_names_are_not_masked(name: str) -> None:
    """Paths of key files and common keys can be read in messages."""
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://user:hunter2@host/x", "https://***@host/x"),
        ("https://user:hun/ter2@host/x", "https://***@host/x"),
        ("https://host/x?a=1&token=hunter2", "https://host/x?a=1&token=***"),
        ("https://host/x?X-Amz-Credential=hunter2&b=2", "https://host/x?X-Amz-Credential=***&b=2"),
        ("plain", "plain"),
    ],
)
def test_urls_lose_their_secrets(text: str, masked: str) -> None:
    """User information and secret parameters go, the rest stays."""
    assert mask_url(text) == masked


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("proxy.password", "hunter2", "***"),
        ("proxy.remoteurl", "user:hunter2@host", "'***@host'"),
        ("proxy", {"password": "hunter2"}, "a section"),
        ("http.tls.clientcas", ["x"], "a list"),
        ("http.tls.clientcas", [], "an empty list"),
        ("proxy", {}, "an empty section"),
        ("proxy", None, "nothing"),
        ("log.level", "x" * 200, "'" + "x" * 80 + "...'"),
    ],
)
def test_values_are_described_without_their_secrets(path: str, value: Value, shown: str) -> None:
    """A description is short and shows nothing that is in a section."""
    assert describe(path, value) == shown


def test_free_form_values_are_masked_at_any_depth() -> None:
    """Names decide inside maps and lists alike; what is unset stays unset."""
    value = mask_tree({"a": [{"token": "x", "b": 1}], "secret": None, "u": "http://u:p@h"})

    assert value == {"a": [{"token": "***", "b": 1}], "secret": None, "u": "http://***@h"}
