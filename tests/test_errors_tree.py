"""The tree of errors, as drawn and as it is."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import roadstead
from roadstead import errors
from roadstead.errors import RoadsteadError

_LINE = re.compile(r"(?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+Error)\b")
_INDENT = len("├── ")


def drawn() -> Iterator[tuple[str, str]]:
    """Yield each class of the drawing with the one that it hangs on."""
    parents: list[str] = []
    for line in (errors.__doc__ or "").split("\n\n")[1].splitlines():
        found = _LINE.match(line)
        assert found is not None, line
        level = len(found["branch"]) // _INDENT
        parents[level:] = [found["name"]]
        if level > 0:
            yield found["name"], parents[level - 1]


def defined(root: type[RoadsteadError] = RoadsteadError) -> Iterator[tuple[str, str]]:
    """Yield each subclass with its base."""
    for child in root.__subclasses__():
        yield child.__name__, root.__name__
        yield from defined(child)


def test_the_drawing_is_the_tree() -> None:
    """Every error of the package is drawn, in its place and in the order of definition."""
    for module in pkgutil.walk_packages(roadstead.__path__, "roadstead."):
        # The second is a script that Alembic runs.
        if not module.name.endswith(("__main__", "migrations.env")):
            importlib.import_module(module.name)
    here = {name for name, cls in vars(errors).items() if isinstance(cls, type)}

    ours = [(name, base) for name, base in defined() if not name.startswith("_")]

    assert list(drawn()) == ours
    assert {name for name, _ in ours} <= here


def test_every_name_says_that_it_is_an_error() -> None:
    """As the module promises."""
    assert [name for name, _ in defined() if not name.endswith("Error")] == []
