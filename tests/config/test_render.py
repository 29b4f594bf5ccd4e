"""The effective configuration is one that loads again, and shows no secret."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from roadstead.config.compat import assess
from roadstead.config.document import parse_document
from roadstead.config.load import load
from roadstead.config.render import effective, render
from roadstead.config.schema import Settings
from tests.config.samples import MINIMAL, SAMPLES, complete, document_of, examine_text, settings_of

# A secret is written masked, and neither an account nor a shared header is complete without one.
_SECRET = ("password", "accounts", "access.headers", "notifications.endpoints[0].headers")
_PRINTABLE = sorted(path for path in SAMPLES if not any(part in path for part in _SECRET))


@given(st.sets(st.sampled_from(_PRINTABLE)))
def test_what_is_rendered_loads_as_the_same_settings(chosen: set[str]) -> None:
    """Every value is written so that it is read as what it was."""
    settings = settings_of(document_of(complete(chosen)), {})

    document = parse_document(render(settings))

    assert isinstance(document, dict)
    assert Settings.model_validate(assess(document).document) == settings


def test_secrets_are_masked_wherever_they_are(tmp_path: Path) -> None:
    """Passwords, user information, headers and fields by their names."""
    found = examine_text(
        tmp_path,
        f"{MINIMAL}"
        "log: {fields: {apitoken: hunter2, nested: [{secret: hunter2}]}}\n"
        "http: {headers: {X-Secret: hunter2}}\n"
        "proxy: {remoteurl: 'https://u:hunter2@x'}\n"
        "health: {http: [{uri: 'https://u:hunter2@x/?token=hunter2',"
        " headers: {Authorization: hunter2}}]}\n",
    )
    assert found.settings is not None

    text = render(found.settings)

    assert "hunter2" not in text
    assert text.count("***") == 7


def test_what_is_not_set_is_left_out() -> None:
    """There is no null in the effective configuration."""
    shown = effective(load(None, {}).settings)

    assert isinstance(shown, dict)
    proxy = shown["proxy"]
    assert isinstance(proxy, dict)
    assert "password" not in proxy
    assert proxy["tagttl"] == "1m"
