"""Third-party libraries: declared, explained, and each kept in its place."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_PACKAGE = _ROOT / "src" / "roadstead"


@dataclass(frozen=True)
class Row:
    """One line of the table in docs/dependencies.md."""

    library: str
    modules: frozenset[str]
    packages: frozenset[str]
    reason: str


def documented() -> list[Row]:
    """Return the rows of the table."""
    text = (_ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    return [
        Row(
            library=library,
            modules=frozenset(re.findall(r"`(\w+)`", modules)),
            packages=frozenset(re.findall(r"`(\w+)`", packages)),
            reason=reason,
        )
        for library, modules, packages, reason in cells[1:]
    ]


def imports() -> Iterator[tuple[str, str]]:
    """Yield the package of ours and the top-level module of every third-party import."""
    for path in _PACKAGE.rglob("*.py"):
        package = path.relative_to(_PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for module in _modules(node):
                if module != "roadstead" and module not in sys.stdlib_module_names:
                    yield package, module


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module is not None:
        return [node.module.partition(".")[0]]
    return []


def test_declared_dependencies_are_those_documented() -> None:
    """Every dependency in pyproject.toml has a row with a reason, and no row is left over."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [entry for extra in project["optional-dependencies"].values() for entry in extra]
    declared = [re.split(r"[<>=!~\[; ]", entry)[0] for entry in (*project["dependencies"], *extras)]

    rows = documented()

    assert sorted(row.library for row in rows) == sorted(declared)
    assert all(row.reason for row in rows)


def test_each_library_is_imported_where_it_belongs() -> None:
    """A library is imported in exactly the packages that its row names."""
    found: dict[str, set[str]] = {}
    library_of = {module: row.library for row in documented() for module in row.modules}
    for package, module in imports():
        found.setdefault(library_of.get(module, module), set()).add(package)

    assert found == {row.library: set(row.packages) for row in documented()}


def test_http_library_stays_at_the_edges() -> None:
    """Policy, storage and the nouns know no HTTP library."""
    users = {package for package, module in imports() if module in {"aiohttp", "yarl"}}

    assert users <= {"server", "upstream", "simulator"}
