"""From a file and the environment to settings, with every problem found at once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from roadstead.config.compat import assess
from roadstead.config.document import DocumentError, Value, parse_document
from roadstead.config.environment import CONFIGURATION_PATH, origin, override
from roadstead.config.masking import describe
from roadstead.config.notice import Level, Notice
from roadstead.config.problems import problems_of
from roadstead.config.remarks import remarks
from roadstead.config.schema import Settings
from roadstead.errors import ConfigError, ConfigProblem

VERSION: Final = "0.1"

SHIPPED_PATHS: Final = (
    Path("/etc/distribution/config.yml"),
    Path("/etc/docker/registry/config.yml"),
)
"""Where the images of registry 3 and registry 2 have their configuration, newest first."""

BUILT_IN: Final = """\
version: 0.1
log:
  fields:
    service: registry
storage:
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
proxy:
  remoteurl: https://registry-1.docker.io
"""
"""The configuration without a file: that of the ``registry:2`` image, as a mirror of Docker Hub."""

BUILT_IN_SOURCE: Final = "built-in default"


@dataclass(frozen=True, slots=True)
class Examination:
    """All that can be said of a configuration; ``settings`` is None if there are problems.

    ``accepted`` lists the keys that were given and make no difference to a mirror.
    """

    source: str
    settings: Settings | None
    notices: list[Notice]
    problems: list[ConfigProblem]
    accepted: list[str]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A usable configuration, where it came from, and what to tell the operator about it."""

    settings: Settings
    notices: list[Notice]
    source: str


def find_configuration(
    argument: str | None,
    environ: Mapping[str, str],
    *,
    exists: Callable[[Path], bool] = Path.is_file,
) -> Path | None:
    """Choose the file: argument, REGISTRY_CONFIGURATION_PATH, the shipped paths, or None.

    None means the built-in default. What was named is not looked for: ``load`` reports it
    if it is missing, rather than running with another configuration.
    """
    named = argument or environ.get(CONFIGURATION_PATH)
    if named:
        return Path(named)
    return next((path for path in SHIPPED_PATHS if exists(path)), None)


def load(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Read the configuration from ``path`` (None: the built-in default) and ``environ``.

    Raises:
        ConfigError: it cannot be used; lists every problem.
    """
    examination = examine(path, environ)
    if examination.settings is None:
        raise ConfigError(examination.problems)
    return Loaded(
        settings=examination.settings,
        notices=examination.notices,
        source=examination.source,
    )


def examine(path: Path | None, environ: Mapping[str, str]) -> Examination:
    """Read the configuration and say all about it; never raises for what is in it."""
    source = BUILT_IN_SOURCE if path is None else str(path)
    try:
        document = _read(path)
    except ConfigError as error:
        return Examination(
            source=source, settings=None, notices=[], problems=error.problems, accepted=[]
        )
    problems = _version_problems(document)
    overridden = override(document, environ)
    deprecated = _adopt_loglevel(overridden.document)
    assessment = assess({**overridden.document, "version": VERSION})
    found = [*problems, *overridden.problems, *assessment.problems]
    notices = [*overridden.notices, *deprecated, *assessment.notices]
    settings: Settings | None = None
    try:
        settings = Settings.model_validate(assessment.document)
    except ValidationError as error:
        found += problems_of(error, assessment.document)
    else:
        notices += remarks(settings, assessment.document)
    return Examination(
        source=source,
        settings=None if found else settings,
        notices=notices,
        problems=[_attributed(problem, overridden.origins) for problem in found],
        accepted=assessment.accepted,
    )


def _read(path: Path | None) -> dict[str, Value]:
    name = BUILT_IN_SOURCE if path is None else str(path)
    try:
        document = parse_document(BUILT_IN if path is None else path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        fix = f"check the argument and {CONFIGURATION_PATH}"
        raise _unreadable(name, "there is no such file", fix) from error
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise _unreadable(name, reason, "check the file's type and permissions") from error
    except UnicodeDecodeError as error:
        raise _unreadable(name, "is not text in UTF-8", "save it as UTF-8") from error
    except DocumentError as error:
        raise _unreadable(name, f"is not YAML: {error}", "mend the line") from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise _unreadable(name, "has no keys at its top", "begin it with version: 0.1")
    return document


def _unreadable(name: str, reason: str, fix: str) -> ConfigError:
    return ConfigError([ConfigProblem(path=name, value="a file", reason=reason, fix=fix)])


def _version_problems(document: dict[str, Value]) -> list[ConfigProblem]:
    """Check the version of the file, with distribution's words."""
    version = document.get("version")
    if version == VERSION:
        return []
    text = version if isinstance(version, str) else ""
    return [
        ConfigProblem(
            path="version",
            value=describe("version", version),
            reason=f'unsupported version: "{text}"',
            fix="begin the file with version: 0.1",
        )
    ]


def _adopt_loglevel(document: dict[str, Value]) -> list[Notice]:
    """Move the deprecated ``loglevel`` to where it is used if ``log.level`` is not set."""
    level = document.pop("loglevel", None)
    log = document.get("log") or {}
    if level is None or not isinstance(log, dict):
        return []
    document["log"] = {"level": level, **{key: v for key, v in log.items() if v is not None}}
    return [Notice(Level.INFO, "loglevel", "is deprecated; log.level has taken its place")]


def _attributed(problem: ConfigProblem, origins: Mapping[str, str]) -> ConfigProblem:
    """Name the variable behind a problem, which the file does not show."""
    variable = origin(problem.path, origins)
    if variable is None:
        return problem
    return replace(problem, reason=f"{problem.reason} [from {variable}]")
