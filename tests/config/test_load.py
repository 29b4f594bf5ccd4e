"""The configuration is found in a fixed order, and read with every problem named."""

from pathlib import Path

import pytest

from roadstead.config.load import BUILT_IN_SOURCE, SHIPPED_PATHS, find_configuration, load
from roadstead.errors import ConfigError
from tests.config.samples import MINIMAL, examine_text, notice_texts, problem_texts

REGISTRY_2 = """\
version: 0.1
log: {fields: {service: registry}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: /var/lib/registry}
http:
  addr: :5000
  headers: {X-Content-Type-Options: [nosniff]}
health:
  storagedriver: {enabled: true, interval: 10s, threshold: 3}
"""
REGISTRY_3 = """\
version: 0.1
log: {level: debug, fields: {service: registry, environment: development}}
storage:
  delete: {enabled: true}
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: /var/lib/registry}
  tag: {concurrencylimit: 5}
http:
  addr: :5000
  debug:
    addr: :5001
    prometheus: {enabled: true, path: /metrics}
health:
  storagedriver: {enabled: true, interval: 10s, threshold: 3}
"""


@pytest.mark.parametrize(
    ("argument", "variable", "existing", "found"),
    [
        ("/a", "/b", {*SHIPPED_PATHS}, "/a"),
        (None, "/b", {*SHIPPED_PATHS}, "/b"),
        (None, None, {*SHIPPED_PATHS}, "/etc/distribution/config.yml"),
        (None, "", {SHIPPED_PATHS[1]}, "/etc/docker/registry/config.yml"),
        (None, None, set(), None),
    ],
)
def test_the_configuration_is_found(
    argument: str | None, variable: str | None, existing: set[Path], found: str | None
) -> None:
    """Argument, variable, the path of registry 3, that of registry 2, built-in."""
    environ = {} if variable is None else {"REGISTRY_CONFIGURATION_PATH": variable}

    path = find_configuration(argument, environ, exists=existing.__contains__)

    assert path == (None if found is None else Path(found))


@pytest.mark.parametrize("text", [REGISTRY_2, REGISTRY_3])
def test_the_shipped_defaults_load_without_a_warning(tmp_path: Path, text: str) -> None:
    """Both images' configurations work, and one notice says what is mirrored."""
    found = examine_text(tmp_path, text)

    assert not found.problems
    assert [notice.path for notice in found.notices] == ["proxy.remoteurl"]
    assert "mirror of Docker Hub" in found.notices[0].text


def test_the_built_in_default_has_nothing_to_say() -> None:
    """Without a file there is a mirror of Docker Hub, and no notice."""
    loaded = load(None, {})

    assert loaded.source == BUILT_IN_SOURCE
    assert not loaded.notices
    assert loaded.settings.http.headers == {"X-Content-Type-Options": ("nosniff",)}
    assert loaded.settings.health.storagedriver.threshold == 3


@pytest.mark.parametrize(
    ("version", "given"),
    [
        ("version: 0.2", "0.2"),
        ("version: '1'", "1"),
        ("version: 0.10", "0.10"),
        ("", ""),
        ("version: [0.1]", ""),
        ("Version: 0.1", ""),
    ],
)
def test_other_versions_are_refused_in_distributions_words(
    tmp_path: Path, version: str, given: str
) -> None:
    """The text is one that people search for."""
    found = examine_text(tmp_path, MINIMAL.replace("version: 0.1", version))

    assert [problem.reason for problem in found.problems] == [f'unsupported version: "{given}"']


@pytest.mark.parametrize("version", ["version: 0.1", "version: '0.1'"])
def test_version_0_1_may_be_a_number_or_a_text(tmp_path: Path, version: str) -> None:
    """Both are the same characters."""
    assert not examine_text(tmp_path, MINIMAL.replace("version: 0.1", version)).problems


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    """What was asked for is never replaced by another configuration."""
    path = tmp_path / "missing.yml"

    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert [problem.path for problem in caught.value.problems] == [str(path)]
    assert "there is no such file" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a: [", "is not YAML: line 1, column 5"),
        (b"- a", "has no keys at its top"),
        (b"word", "has no keys at its top"),
        (b"a: \xff", "is not text in UTF-8"),
    ],
)
def test_files_that_are_no_configuration_are_refused(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    """The reason is that of the file, and there is just one."""
    path = tmp_path / "config.yml"
    path.write_bytes(content)

    with pytest.raises(ConfigError) as caught:
        load(path, {})

    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].reason.startswith(reason)


def test_an_empty_file_lacks_everything(tmp_path: Path) -> None:
    """It is not the built-in default."""
    found = examine_text(tmp_path, "# nothing yet")

    assert [problem.path for problem in found.problems] == ["version", "storage"]


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    """Docker makes one when the file to mount does not exist."""
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    path = tmp_path / "config.yml"
    path.write_text(f"\ufeff{MINIMAL}", "utf-8")

    assert load(path, {}).settings.storage.filesystem.rootdirectory == "/data"


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("loglevel: debug", "debug"),
        ("loglevel: debug\nlog: {level: warn}", "warn"),
        ("loglevel: debug\nlog: {level: }", "debug"),
        ("loglevel: debug\nlog: ", "debug"),
        ("loglevel: ", "info"),
    ],
)
def test_the_deprecated_level_counts_if_the_other_is_not_set(
    tmp_path: Path, text: str, level: str
) -> None:
    """As in distribution, but with a notice."""
    found = examine_text(tmp_path, f"{MINIMAL}{text}")

    assert found.settings is not None
    assert found.settings.log.level == level
    assert any("deprecated" in line for line in notice_texts(found)) is ("debug" in text)


def test_a_second_driver_by_variable_names_both_and_the_variable(tmp_path: Path) -> None:
    """Distribution panics."""
    found = examine_text(tmp_path, MINIMAL, {"REGISTRY_STORAGE_S3_BUCKET": "b"})

    assert len(found.problems) == 1
    assert "Provided: [filesystem s3] [from REGISTRY_STORAGE_S3_BUCKET]" in found.problems[0].reason


def test_no_problem_shows_a_secret(tmp_path: Path) -> None:
    """Wherever a password was put wrongly, it is not printed."""
    found = examine_text(
        tmp_path,
        "version: 0.1\n"
        "storage: {s3: {secretkey: hunter2}}\n"
        "auth: {token: {secret: hunter2}}\n"
        "proxy: {remoteurl: 'u:hunter2@x', password: {a: hunter2}, passwrd: hunter2}\n"
        "health: {http: [{uri: 'ftp://u:hunter2@x/?token=hunter2', interval: 1}]}\n"
        "redis: {password: hunter2}\n",
        {"REGISTRY_PROXY_TAGTTL": "x", "REGISTRY_HTTP_TLS": "{hunter2"},
    )

    told = problem_texts(found) + notice_texts(found)
    assert len(told) >= 8
    assert not [line for line in told if "hunter2" in line]
