"""Which class a repository is counted in: a closed set of names, whatever clients ask for."""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from roadstead.config.schema import Settings
from roadstead.errors import ConfigError, ConfigProblem, InvalidReferenceError
from roadstead.maintenance.names import ImageNames
from roadstead.oci.imagepattern import ImagePattern
from roadstead.oci.reference import RepositoryName
from roadstead.runtime.plan import default_name, plan_upstreams
from roadstead.telemetry.metrics import OTHER

# Docker's own images, which every team pulls, beside all that is somebody's.
_DEFAULT: Final = {"library": ("docker.io/library/*",)}
# A client that asks for ever new repositories only has the patterns looked at again.
_REMEMBERED: Final = 10_000


def repository_classes(settings: Settings) -> Callable[[str], str]:
    """Return what says the class of a repository by its stored name.

    Raises:
        ConfigError: a pattern is none, or is for more than repositories.
    """
    upstreams = [one.rules for one in plan_upstreams(settings)]
    names = ImageNames(upstreams, default=default_name(settings))
    given = settings.http.debug.prometheus.classes
    classes = [
        (name, [_pattern(names, name, text) if given else ImagePattern(text) for text in patterns])
        for name, patterns in (given or _DEFAULT).items()
    ]

    @lru_cache(maxsize=_REMEMBERED)
    def classify(repository: str) -> str:
        full = names.full(RepositoryName(repository))
        for name, patterns in classes:
            if any(pattern.matches_name(full) for pattern in patterns):
                return name
        return OTHER

    return classify


def _pattern(names: ImageNames, name: str, text: str) -> ImagePattern:
    path = f"http.debug.prometheus.classes.{name}"
    try:
        pattern = names.pattern(text)
    except InvalidReferenceError as error:
        raise _problem(path, text, str(error), "use a pattern such as ghcr.io/org/**") from error
    if pattern.tag is not None or pattern.digest is not None:
        reason = "has a tag or a digest, and classes are of repositories"
        raise _problem(path, text, reason, f"use {pattern.name}")
    return pattern


def _problem(path: str, value: str, reason: str, fix: str) -> ConfigError:
    return ConfigError([ConfigProblem(path=path, value=value, reason=reason, fix=fix)])
