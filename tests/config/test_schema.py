"""The settings: defaults, conversions, and plain words for what cannot be used."""

import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from roadstead.config.address import SocketAddress
from roadstead.config.ciphers import ALWAYS_ON, OPENSSL_NAMES, openssl_cipher_list
from roadstead.config.document import parse_document
from roadstead.config.load import load
from roadstead.config.schema import Settings
from roadstead.config.schema_http import DebugSettings, HTTPSettings
from roadstead.secrecy import Secret
from tests.config.samples import MINIMAL, cases, examine_text, problem_texts


def settings(tmp_path: Path, text: str) -> Settings:
    """Load the minimal configuration with this text behind it."""
    found = examine_text(tmp_path, f"{MINIMAL}{text}")
    assert found.settings is not None, problem_texts(found)
    return found.settings


@pytest.mark.parametrize(("text", "problem"), cases("problems.txt"))
def test_what_cannot_be_used_is_said_in_plain_words(
    tmp_path: Path, text: str, problem: str
) -> None:
    """Path, reason, value without secrets, and fix; nothing of pydantic's shows."""
    found = examine_text(tmp_path, f"{MINIMAL}{text}")

    assert problem_texts(found) == [problem]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """Version, variables, refused keys and values are all looked at in one go."""
    found = examine_text(
        tmp_path,
        "version: 0.2\nstorage: s3\nlog: {level: x}\nhttp: {addr: x, tls: {key: k}}\n",
        {"REGISTRY_HEALTH_TCP_3_ADDR": "x", "REGISTRY_PROXY_TAGTTL": "soon"},
    )

    assert [problem.path for problem in found.problems] == [
        "version",
        "REGISTRY_HEALTH_TCP_3_ADDR",
        "storage.s3",
        "log.level",
        "http.addr",
        "http.tls",
        "proxy.tagttl",
    ]
    assert "[from REGISTRY_PROXY_TAGTTL]" in found.problems[-1].reason


def test_defaults_are_those_of_the_documentation() -> None:
    """What is not set has a value that bounds every wait."""
    default = load(None, {}).settings

    assert default.http.address == SocketAddress(None, 5000)
    assert default.http.draintimeout == timedelta(seconds=10)
    assert default.http.debug.address is None
    assert not default.http.tls.enabled
    assert default.proxy.remoteurl == "https://registry-1.docker.io"
    assert default.proxy.tagttl == timedelta(minutes=1)
    assert default.proxy.connecttimeout == timedelta(seconds=10)
    assert default.proxy.firstbytetimeout == timedelta(seconds=30)
    assert default.proxy.stalltimeout == timedelta(seconds=30)
    assert default.proxy.maxmanifestsize == 8 * 1024 * 1024
    assert default.proxy.maxtransfers == 32


@pytest.mark.parametrize("given", ["0", "-5", "0s"])
def test_zero_is_the_default_where_distribution_says_so(tmp_path: Path, given: str) -> None:
    """Page sizes and check intervals of zero are those of an unset key."""
    if given == "0s":
        found = settings(tmp_path, "health: {tcp: [{addr: 'a:1', interval: 0s, timeout: 0s}]}")
        assert found.health.tcp[0].interval == timedelta(seconds=10)
        assert found.health.tcp[0].timeout == timedelta(seconds=10)
        return
    found = settings(tmp_path, f"catalog: {{maxentries: {given}}}\ntags: {{maxtags: 0}}")
    assert found.catalog.maxentries == 1000
    assert found.tags.maxtags == 1000


def test_few_threads_are_raised_to_25() -> None:
    """As distribution does."""
    document = parse_document("storage: {filesystem: {maxthreads: 3}}")

    assert Settings.model_validate(document).storage.filesystem.maxthreads == 25


@pytest.mark.parametrize(
    ("given", "prefix"),
    [("/a/", "/a/"), ("/a", "/a/"), ("a/b", "/a/b/"), ("/", ""), ("''", "")],
)
def test_a_prefix_gets_its_slashes(tmp_path: Path, given: str, prefix: str) -> None:
    """A lone slash is no prefix."""
    assert settings(tmp_path, f"http: {{prefix: {given}}}").http.prefix == prefix


def test_listeners_are_addresses_or_sockets(tmp_path: Path) -> None:
    """An empty address is port 5000, never a random one."""
    assert settings(tmp_path, "http: {addr: ''}").http.address == SocketAddress(None, 5000)
    unix = settings(tmp_path, "http: {addr: /run/x.sock, net: unix}")
    assert unix.http.address == Path("/run/x.sock")
    assert DebugSettings(addr="[::1]:5001").address == SocketAddress("::1", 5001)


@pytest.mark.parametrize(
    ("text", "url", "username", "password"),
    [
        ("remoteurl: https://ghcr.io/", "https://ghcr.io", "", None),
        ("remoteurl: https://x/a/b/", "https://x/a/b", "", None),
        ("remoteurl: http://u:p%40q@x:5000/a", "http://x:5000/a", "u", "p@q"),
        ("remoteurl: https://u@x", "https://x", "u", None),
        ("{remoteurl: 'https://u:p@x', username: v, password: 0123}", "https://x", "v", "0123"),
        ("{username: v, password: 1e3}", "https://registry-1.docker.io", "v", "1e3"),
        ("{remoteurl: '', username: '', password: ''}", "https://registry-1.docker.io", "", None),
    ],
)
def test_user_information_leaves_the_url(
    tmp_path: Path, text: str, url: str, username: str, password: str | None
) -> None:
    """It becomes username and password unless these are set; the path stays."""
    proxy = settings(tmp_path, f"proxy:\n  {text}").proxy

    assert (proxy.remoteurl, proxy.username) == (url, username)
    assert proxy.password == (None if password is None else Secret(password))


def test_the_credential_helper_has_three_kinds_of_lifetime(tmp_path: Path) -> None:
    """Not set, zero, and a duration are told apart."""
    for text, lifetime in (("", None), (", lifetime: 0s", 0), (", lifetime: 5m", 300)):
        helper = settings(tmp_path, f"proxy: {{exec: {{command: helper{text}}}}}").proxy.exec
        expected = None if lifetime is None else timedelta(seconds=lifetime)
        assert helper is not None
        assert helper.lifetime == expected


def test_static_fields_keep_their_types(tmp_path: Path) -> None:
    """Free-form values are typed as YAML types them."""
    found = settings(tmp_path, "log: {level: DEBUG, fields: {a: 1, b: '1', c: [x, true]}}")

    assert found.log.fields == {"a": 1, "b": "1", "c": ["x", True]}
    assert found.log.level == "debug"


def test_settings_print_no_secret(tmp_path: Path) -> None:
    """Neither repr nor str of the whole shows the password."""
    found = settings(tmp_path, "proxy: {remoteurl: 'https://u:hunter2@x'}")

    assert "hunter2" not in f"{found!r}{found}"


def test_settings_cannot_be_changed() -> None:
    """All models are frozen."""
    with pytest.raises(ValueError, match="frozen"):
        HTTPSettings().addr = ":1"


def test_ciphers_are_translated() -> None:
    """Suites of TLS 1.3 are always on; without others the default stands."""
    default = openssl_cipher_list(())

    assert default.split(":")[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    assert len(default.split(":")) == 6
    assert openssl_cipher_list(tuple(ALWAYS_ON)) == default
    assert openssl_cipher_list(("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",)) == "ECDHE-RSA-AES128-SHA"
    assert len(set(OPENSSL_NAMES.values())) == len(OPENSSL_NAMES)


def test_openssl_knows_every_cipher() -> None:
    """The names are those of the library that will use them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(openssl_cipher_list(tuple(OPENSSL_NAMES)))

    offered = {cipher["name"] for cipher in context.get_ciphers()}
    assert set(OPENSSL_NAMES.values()) <= offered
