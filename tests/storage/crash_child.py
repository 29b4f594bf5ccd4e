"""A process that writes to a volume until it is killed; see test_crash.py."""

import asyncio
import hashlib
import sys
from itertools import count
from pathlib import Path

from roadstead.oci.digest import Digest
from roadstead.storage.filesystem import FilesystemStore
from tests.storage.blobs import ALPINE, LATEST

CHUNK_BYTES = 16 * 1024


def blob_content() -> bytes:
    """Make the 8 MiB that every child writes."""
    return hashlib.shake_128(b"").digest(8 << 20)


def fill(store: FilesystemStore) -> None:
    """Resume the blob, telling the offset after each chunk, and commit it."""
    content = blob_content()
    partial = store.partial_blob(Digest.of(content))
    _tell(partial.offset)
    while partial.offset < len(content):
        partial.write(content[partial.offset : partial.offset + CHUNK_BYTES])
        _tell(partial.offset)
    partial.commit(frozenset({ALPINE}))


async def churn(store: FilesystemStore) -> None:
    """Store manifests without end, moving one tag, telling each number that is stored."""
    for number in count():
        content = manifest_content(number)
        digest = Digest.of(content)
        await store.write_manifest(ALPINE, digest, content)
        await store.write_tag(ALPINE, LATEST, digest, float(number))
        _tell(number)


def manifest_content(number: int) -> bytes:
    """Make the manifest of that number, long enough to be cut in the middle."""
    return f'{{"number": {number}}}'.encode() + b" " * 20_000


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _, _task, _root = sys.argv
    _store = FilesystemStore(Path(_root))
    if _task == "fill":
        fill(_store)
    else:
        asyncio.run(churn(_store))
