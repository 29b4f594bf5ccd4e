"""Documents: links lead somewhere, and nothing tells about one machine."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

_ROOT = Path(__file__).parents[1]
# Generated or private; everything else is what a stranger gets.
_SKIPPED = frozenset({"__pycache__", "data", "dist", "results", "htmlcov"})
_TEXT = frozenset({".md", ".py", ".toml", ".yml", ".yaml", ".json", ".cfg", ".ini", ".txt", ".sh"})
_NAMES = frozenset({"Makefile", "Dockerfile", "run", ".gitignore"})

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
# In parts, so that this file does not contain what it looks for.
_INDEX_HOST = re.compile("|".join(("pypi" + r"\.org", "python" + "hosted", "index" + r"[-_]url\b")))
_MACHINE_PATH = re.compile(r"(?<![\w.*$}/-])/(?:work|home|Users)/\w")


def files() -> Iterator[Path]:
    """Yield every file that was written by hand."""
    for path in sorted(_ROOT.rglob("*")):
        parts = path.relative_to(_ROOT).parts
        hidden = any(part.startswith(".") and part != ".ci" for part in parts[:-1])
        if hidden or _SKIPPED.intersection(parts) or not path.is_file():
            continue
        if path.suffix in _TEXT or path.name in _NAMES:
            yield path


def documents() -> list[Path]:
    """Return every Markdown file."""
    return [path for path in files() if path.suffix == ".md"]


def name_of(path: Path) -> str:
    """Name a test case by the file's path in the repository."""
    return str(path.relative_to(_ROOT))


def anchors(document: Path) -> set[str]:
    """Return what a fragment can point at: headings, as GitHub and GitLab slug them."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_relative_links_resolve(document: Path) -> None:
    """Each relative link leads to a file in the repository, and its fragment to a heading."""
    text = _FENCE.sub("", document.read_text(encoding="utf-8"))
    broken = []
    for link in _LINK.findall(text) + _REFERENCE.findall(text):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, fragment = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        inside = target.is_relative_to(_ROOT) and target.exists()
        if not inside or (fragment and fragment not in anchors(target)):
            broken.append(link)

    assert not broken


def test_no_file_names_a_package_index_or_a_machine() -> None:
    """No file depends on where, or with which index, it was written."""
    found = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if _INDEX_HOST.search(line) or _MACHINE_PATH.search(line)
    ]

    assert not found


def test_short_documents_stay_short() -> None:
    """Documents that are to be read in one go keep their limits, in lines."""
    limits = {"README.md": 150, "CONTRIBUTING.md": 100, "ARCHITECTURE.md": 250}
    limits |= {name_of(path): 80 for path in documents() if path.parent.name == "adr"}

    lengths = {
        name: len((_ROOT / name).read_text(encoding="utf-8").splitlines())
        for name in limits
        if (_ROOT / name).exists()
    }

    assert {n: length for n, length in lengths.items() if length > limits[n]} == {}


def test_every_decision_is_in_the_index() -> None:
    """The index of decisions lists each of them once, in order."""
    folder = _ROOT / "docs" / "adr"
    listed = re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", (folder / "README.md").read_text("utf-8"))

    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))
