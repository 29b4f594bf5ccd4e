"""The table knows every key, and a document is sorted by it."""

from pathlib import Path

import pytest

from roadstead.config.compat import KEYS, is_idle
from roadstead.config.document import Value, parse_document
from roadstead.config.key import Status
from roadstead.config.notice import Level
from roadstead.config.reference import bare_path, meant_by, model_defaults
from roadstead.errors import ConfigProblem
from tests.config.samples import MINIMAL, examine_text, notice_texts, problem_texts


def test_the_models_have_exactly_the_keys_that_work() -> None:
    """A working key without a setting, or a setting without a row, cannot happen."""
    sections = {"health.file", "health.http", "health.tcp"}
    working = {bare_path(key.path) for key in KEYS if key.status is Status.WORKS}

    assert working - sections - {"loglevel"} == set(model_defaults())


def test_every_path_stands_in_the_table_once() -> None:
    """No key has two rows."""
    paths = [key.path for key in KEYS]

    assert len(paths) == len(set(paths))


def test_keys_share_the_fate_of_the_key_that_explains_them() -> None:
    """A row that points to another has its status."""
    assert all(meant_by(key).status is key.status for key in KEYS)


def test_every_refusal_has_a_fix() -> None:
    """Who is refused is told what to do."""
    assert all(meant_by(key).fix for key in KEYS if key.status is Status.REFUSED)


@pytest.mark.parametrize("driver", ["s3", "s3aws", "gcs", "azure", "oss", "swift", "inmemory"])
@pytest.mark.parametrize("form", ["storage: {D: {bucket: b}}", "storage: D", "storage: {D: }"])
def test_other_drivers_are_refused_in_every_form(tmp_path: Path, driver: str, form: str) -> None:
    """A driver is refused with its settings, without them, and as a bare name."""
    found = examine_text(tmp_path, f"version: 0.1\n{form.replace('D', driver)}")

    assert [problem.path for problem in found.problems] == [f"storage.{driver}"]
    assert "filesystem" in found.problems[0].fix


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("", "no storage configuration provided"),
        ("storage:", "no storage configuration provided"),
        ("storage: {delete: {enabled: true}}", "no storage configuration provided"),
        ("storage: []", "no storage configuration provided"),
        (
            "storage: {s3: {}, filesystem: {}, delete: {}}",
            "must provide exactly one storage type. Provided: [filesystem s3]",
        ),
        ("storage: {filesytem: {}}", "is not a storage driver"),
    ],
)
def test_storage_has_exactly_one_driver(tmp_path: Path, storage: str, message: str) -> None:
    """The texts are those of distribution."""
    found = examine_text(tmp_path, f"version: 0.1\n{storage}")

    assert [problem.reason for problem in found.problems] == [message]
    assert found.problems[0].fix


@pytest.mark.parametrize("storage", ["filesystem", "{filesystem: }", "{filesystem: {}}"])
def test_a_driver_without_settings_has_its_defaults(tmp_path: Path, storage: str) -> None:
    """The driver's name is enough."""
    found = examine_text(tmp_path, f"version: 0.1\nstorage: {storage}")

    assert found.settings is not None
    assert found.settings.storage.filesystem.rootdirectory == "/var/lib/registry"


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ("htpasswd", "auth.htpasswd.realm: is required"),
        ("{htpasswd: }", "auth.htpasswd.path: is required"),
        ("{htpasswd: {realm: x, path: ''}}", "auth.htpasswd.path: must not be empty"),
        ("{silly: {}}", "auth.silly.realm: is required"),
        ("silly", "auth.silly.service: is required"),
        ("{ldap: {}}", "auth.ldap: is no way to authenticate"),
        ("htpassword", "did you mean htpasswd?"),
    ],
)
def test_authentication_is_never_ignored(tmp_path: Path, auth: str, message: str) -> None:
    """Whoever wanted the mirror closed does not get an open one, however little was set."""
    found = examine_text(tmp_path, f"{MINIMAL}auth: {auth}")

    assert found.settings is None
    assert any(message in text for text in problem_texts(found))


def test_two_ways_to_authenticate_are_refused(tmp_path: Path) -> None:
    """The text is that of distribution."""
    found = examine_text(tmp_path, f"{MINIMAL}auth: {{token: {{}}, none: {{}}}}")

    assert [problem.reason for problem in found.problems] == [
        "must provide exactly one type. Provided: [none token]"
    ]


@pytest.mark.parametrize("auth", ["none", "{none: }", "{}", ""])
def test_no_authentication_is_fine(tmp_path: Path, auth: str) -> None:
    """The one provider that admits everybody is accepted, and so is nothing at all."""
    assert not examine_text(tmp_path, f"{MINIMAL}auth: {auth}").problems


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("redis: {addr: x}", "redis"),
        ("middleware: {storage: [{name: redirect}]}", "middleware"),
        ("log: {hooks: [{type: mail}]}", "log.hooks"),
        ("http: {h2c: {enabled: true}}", "http.h2c"),
        ("proxy: {cachewritetimeout: 1m}", "proxy.cachewritetimeout"),
        ("compatibility: {schema1: {enabled: true}}", "compatibility"),
        ("reporting: {newrelic: {name: x}}", "reporting"),
    ],
)
def test_what_is_ignored_is_named_once_with_the_reason(
    tmp_path: Path, text: str, path: str
) -> None:
    """One warning for a whole section, whatever is in it."""
    found = examine_text(tmp_path, f"{MINIMAL}{text}")

    warnings = [notice for notice in found.notices if notice.level is Level.WARNING]
    assert [notice.path for notice in warnings] == [path]
    assert "is ignored: " in warnings[0].text
    assert not found.problems


@pytest.mark.parametrize(
    "text",
    [
        "redis: ",
        "redis: {db: 0, tls: {certificate: ''}}",
        "http: {h2c: {enabled: false}}",
        "http: {tls: {letsencrypt: {hosts: []}}}",
        "proxy: {ttl: 0}",
        "notifications: {endpoints: [], events: {includereferences: false}}",
    ],
)
def test_what_asks_for_nothing_is_not_named(tmp_path: Path, text: str) -> None:
    """An unsupported key with an empty value is no reason to worry anybody."""
    found = examine_text(tmp_path, f"{MINIMAL}{text}")

    assert not found.problems
    assert not [notice for notice in found.notices if notice.level is Level.WARNING]


def test_harmless_keys_are_accepted_in_silence(tmp_path: Path) -> None:
    """They are listed for who asks, but neither warned about nor checked."""
    found = examine_text(
        tmp_path,
        "version: 0.1\n"
        "storage: {filesystem: {}, redirect: {disable: true},\n"
        "  maintenance: {uploadpurging: {age: 7d}}, tag: {}}\n"
        "http: {secret: hunter2, http2: {disabled: true}}\n"
        "validation: {disabled: true}\n",
    )

    assert found.settings is not None
    assert not [notice for notice in found.notices if notice.level is Level.WARNING]
    assert found.accepted == [
        "storage.redirect.disable",
        "storage.maintenance.uploadpurging.age",
        "http.secret",
        "http.http2.disabled",
        "validation",
    ]


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ("letsencrypt: {cachefile: /x}", "http.tls.letsencrypt"),
        ("letsencrypt: {hosts: a.example}", "http.tls.letsencrypt"),
        ("letsencrypt: {directoryurl: 'http://x'}", "http.tls.letsencrypt.directoryurl"),
        ("certificate: c, key: k, letsencrypt: {cachefile: /x, hosts: a.example}", "http.tls"),
    ],
)
def test_half_of_lets_encrypt_is_refused(tmp_path: Path, keys: str, path: str) -> None:
    """Without all of it the mirror would serve plain HTTP, so it is not ignored."""
    found = examine_text(tmp_path, f"{MINIMAL}http: {{tls: {{{keys}}}}}")

    assert [problem.path for problem in found.problems] == [path]


@pytest.mark.parametrize(
    ("text", "notice"),
    [
        ("htp: {addr: x}", "htp: is not a known key and has no effect; did you mean http?"),
        ("proxy: {remoteURL: x}", "did you mean proxy.remoteurl?"),
        ("remoteurl: x", "did you mean proxy.remoteurl?"),
        ("storage2: {}", "did you mean storage?"),
        ("health: {tcp: [{addr: 'a:1', adr: x}]}", "health.tcp[0].adr: is not a known key"),
        ("qqq: {}", "qqq: is not a known key and has no effect"),
    ],
)
def test_unknown_keys_are_named_with_a_suggestion(tmp_path: Path, text: str, notice: str) -> None:
    """They never fail the start, as in distribution, but they are not silent."""
    found = examine_text(tmp_path, f"{MINIMAL}{text}")

    assert not found.problems
    assert any(notice in line for line in notice_texts(found))


@pytest.mark.parametrize(
    ("text", "idle"),
    [("[0, {a: false, b: ''}, ~]", True), ("{a: [x]}", False), ("0s", True), ("1", False)],
)
def test_idleness_is_looked_for_at_every_depth(text: str, idle: bool) -> None:  # noqa: FBT001  # a parameter of the table above
    """A value is idle if all that it is made of is."""
    value: Value = parse_document(text)

    assert is_idle(value) is idle


def test_a_problem_reads_as_one_line() -> None:
    """Path, reason, value and fix stand in one sentence."""
    problem = ConfigProblem(path="a.b", value="'x'", reason="must be y", fix="use y")

    assert str(problem) == "a.b: must be y (given: 'x'); use y"
