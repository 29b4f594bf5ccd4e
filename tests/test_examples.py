"""Every example is read by the parser of whoever will read it, and says what is documented."""

import configparser
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from roadstead.config.document import parse_document
from roadstead.config.load import examine, load
from roadstead.config.schema_http import HTTPSettings
from roadstead.errors import ConfigError

_ROOT = Path(__file__).parents[1]
_EXAMPLES = _ROOT / "examples"
_CLIENTS = _EXAMPLES / "clients"
_UNIT = _ROOT / "deploy/systemd/roadstead.service"


def read_unit(text: str) -> configparser.RawConfigParser:
    """Read a systemd unit; a key that stands twice keeps its last value."""
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign] # the documented way
    parser.read_string(text)
    return parser


_READERS: Mapping[str, Callable[[str], object]] = {
    ".yml": parse_document,
    ".yaml": parse_document,
    ".toml": tomllib.loads,
    ".conf": tomllib.loads,
    # nginx's; tests/runtime/test_nginx.py runs it.
    "roadstead.conf": str,
    ".json": json.loads,
    ".service": read_unit,
    ".md": str,
}


def test_the_limits_of_the_example_are_those_of_the_clean_up_script() -> None:
    """Its weekly cron line and its 30 days are two lines of configuration."""
    retention = load(_EXAMPLES / "retention.yml", {}).settings.retention
    assert retention.schedule == "0 3 * * 0"
    assert retention.maxage == timedelta(days=30)
    assert retention.maxsize == 100 * 1000**3


def files(root: Path = _EXAMPLES) -> list[Path]:
    """Return every example."""
    return sorted(path for path in root.rglob("*") if path.is_file())


def configurations() -> list[Path]:
    """Return the examples that configure Roadstead."""
    found = [path for path in files() if path.suffix == ".yml"]
    return [path for path in found if "version: 0.1" in path.read_text("utf-8")]


def name_of(path: Path) -> str:
    """Name a test case."""
    return str(path.relative_to(_EXAMPLES))


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_every_example_is_of_a_known_form(path: Path) -> None:
    """It has a parser here, and that parser finds something in it."""
    reader = _READERS.get(path.name) or _READERS[path.suffix]
    assert reader(path.read_text("utf-8"))


@pytest.mark.parametrize("path", configurations(), ids=name_of)
def test_every_configuration_loads_without_a_word(path: Path) -> None:
    """No problem, and no notice: no unknown key, nothing ignored, nothing deprecated."""
    found = examine(path, {})

    assert (found.problems, found.notices) == ([], [])


def test_a_typing_error_would_be_found(tmp_path: Path) -> None:
    """The test above can fail: a misspelt key of an example is noticed."""
    text = (_EXAMPLES / "tls.yml").read_text("utf-8").replace("minimumtls", "minimumtsl")
    path = tmp_path / "tls.yml"
    path.write_text(text)

    assert examine(path, {}).notices


def test_all_examples_are_listed() -> None:
    """The table leads to each of them, or to its folder."""
    listed = re.findall(r"\]\(([^)]+)\)", (_EXAMPLES / "README.md").read_text("utf-8"))
    targets = [_EXAMPLES / link for link in listed]

    missing = [
        name_of(path)
        for path in files()
        if not any(path == target or target in path.parents for target in targets)
    ]

    assert missing == ["README.md"]


@pytest.mark.parametrize("path", files(_CLIENTS), ids=name_of)
def test_examples_for_clients_stand_in_their_document(path: Path) -> None:
    """What docs/clients.md shows is what is shipped, to the letter."""
    document = (_ROOT / "docs" / "clients.md").read_text("utf-8")

    assert f"\n{path.read_text('utf-8')}```\n" in document


def test_the_unit_starts_what_it_checks() -> None:
    """The configuration is checked before it is served, by commands that exist."""
    service = read_unit(_UNIT.read_text("utf-8"))["Service"]
    check, serve = service["ExecStartPre"].split(), service["ExecStart"].split()

    assert check[1:-1] == ["config", "check"]
    assert serve[1:-1] == ["serve"]
    assert (check[0], check[-1]) == (serve[0], serve[-1])


def test_the_unit_leaves_time_to_finish() -> None:
    """Systemd kills later than the mirror gives up on downloads under way."""
    service = read_unit(_UNIT.read_text("utf-8"))["Service"]
    patience = timedelta(seconds=int(service["TimeoutStopSec"].removesuffix("s")))

    assert patience > HTTPSettings().draintimeout


def test_the_unit_keeps_its_data_where_it_may_write() -> None:
    """The state directory is the store; the variable is one that works."""
    service = read_unit(_UNIT.read_text("utf-8"))["Service"]
    variable, _, value = service["Environment"].partition("=")

    settings = load(None, {variable: value}).settings

    assert settings.storage.filesystem.rootdirectory == value
    assert value == f"/var/lib/{service['StateDirectory']}"


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """No key is unknown to it, and little is left open: exposure below 2.0 of 10."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    # Its program is not installed here.
    unit = tmp_path / _UNIT.name
    unit.write_text(_UNIT.read_text("utf-8").replace("/opt/roadstead/bin/roadstead", "/bin/true"))

    verified = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    assessed = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
    )

    assert unit.name not in verified.stderr
    assert assessed.returncode == 0, assessed.stdout


def test_a_helper_and_an_account_are_told_apart() -> None:
    """Each of the two examples with credentials has the one kind and not the other."""
    account = load(_EXAMPLES / "credentials.yml", {}).settings.proxy
    helper = load(_EXAMPLES / "credential-helper.yml", {}).settings.proxy

    assert account.username
    assert account.password is not None
    assert account.exec is None
    assert helper.exec is not None
    assert helper.exec.lifetime == timedelta(hours=6)
    with pytest.raises(ConfigError):
        load(_EXAMPLES / "absent.yml", {})
