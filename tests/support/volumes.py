"""Looking at, and laying out, the files of a volume."""

from pathlib import Path


def files_below(root: Path) -> dict[str, bytes]:
    """Return every file below ``root`` by its relative path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def put(path: Path, content: bytes) -> Path:
    """Write a file, making its directories."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
