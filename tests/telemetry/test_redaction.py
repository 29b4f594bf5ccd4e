"""Credentials are masked, and what is no credential stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.telemetry.redaction import redact, redact_value

SECRET = "hunter2-Zm9v"


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://user:{SECRET}@registry.example/v2/ failed",
        f"https://{SECRET}@registry.example/v2/",
        f"https://user:p@ss{SECRET}@registry.example/v2/",
        f"Authorization: Bearer {SECRET}",
        f"authorization: basic {SECRET}==",
        f"AUTHORIZATION={SECRET}",
        f"Proxy-Authorization: Negotiate {SECRET}",
        f"{{'Authorization': 'Basic {SECRET}'}}",
        f"{{b'Authorization': b'Basic {SECRET}'}}",
        f"<CIMultiDict('Host': 'a', 'Authorization': 'Bearer {SECRET}')>",
        f"sent bearer {SECRET} to it",
        f"Cookie: {SECRET}",
        f"X-Registry-Auth: {SECRET}",
        f"/v2/token?account=me&token={SECRET}&service=x",
        f"/auth?access_token={SECRET}",
        f"/auth?refresh_token={SECRET}&client_secret={SECRET}",
        f"grant_type=password&username=u&password={SECRET}",
        f'password="{SECRET} {SECRET}"',
        f"/b?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={SECRET}&X-Amz-Expires=1",
        f"/b?X-Amz-Signature={SECRET}",
        f"/b?x-amz-security-token={SECRET}",
        f"/b?X-Goog-Signature={SECRET}&X-Goog-Credential={SECRET}",
        f"/b?sv=2024&sig={SECRET}&se=1",
        f"/b?Expires=1&Signature={SECRET}&Key-Pair-Id=K1",
        f"/b?verify=1700000000-{SECRET}",
        f'{{"token": "{SECRET}", "expires_in": 300}}',
        f'{{"access_token":"{SECRET}"}}',
        f"{{'password': '{SECRET}'}}",
        f"got eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.{SECRET} from it",
    ],
)
def test_credential_is_masked(text: str) -> None:
    """Each shape in which a credential can stand in a text is masked."""
    masked = redact(text)

    assert SECRET not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/v2/library/nginx/manifests/alpine?ns=docker.io",
        "mirror.example:5000/library/nginx@sha256:" + "a" * 64,
        "listening on [::]:5000, tls",
        'Bearer realm="https://auth.example/token",service="registry.example"',
        "cannot get a token: connection refused",
        "/b?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires=1200",
        "GET http://mirror.example/v2/cert-manager/key-vault/tags/list?n=5",
    ],
)
def test_other_text_is_untouched(text: str) -> None:
    """What an operator needs to read is not masked."""
    assert redact(text) == text


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("password", "hunter2", "***"),
        ("password", 12345, "***"),
        ("proxy.password", "hunter2", "***"),
        ("http.request.authorization", "x", "***"),
        ("access_token", ["a", "b"], "***"),
        ("status", 200, 200),
        ("verify", False, False),
        ("token", None, None),
        ("error", ValueError("https://u:hunter2@h/"), "https://***@h/"),
        (
            "headers",
            {"Authorization": "hunter2", "Host": "h"},
            {"Authorization": "***", "Host": "h"},
        ),
        ("uris", ("https://u:hunter2@h/", 1), ["https://***@h/", 1]),
    ],
)
def test_fields_are_masked_by_name_and_content(name: str, value: object, expected: object) -> None:
    """A field is masked whole by its name, or in parts by what is in it, at any depth."""
    assert redact_value(name, value) == expected


@given(
    prefix=st.text(alphabet="abc /:=&?\"'-.{}", max_size=20),
    key=st.sampled_from(["token=", "X-Amz-Signature=", "Authorization: Bearer ", "https://u:"]),
)
def test_context_does_not_hide_a_credential(prefix: str, key: str) -> None:
    """Whatever stands before it on its own word, a credential is masked."""
    end = "@host/" if key.startswith("https") else ""

    assert SECRET not in redact(f"{prefix} {key}{SECRET}{end}")
