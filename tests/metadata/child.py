"""A process that pulls into a volume, to run beside others or to be killed; see test_processes."""

import asyncio
import sys
from itertools import count
from pathlib import Path

from roadstead.oci.reference import RepositoryName
from tests.metadata.opened import opened, store_of
from tests.metadata.volumes import Image, hold


async def run(root: Path, name: str, limit: int) -> None:
    """Hold images, one after another, telling each number; 0 is no limit."""
    async with opened(root) as database:
        store = store_of(root, database)
        for number in count():
            if limit and number == limit:
                break
            image = Image(f"{name} {number}")
            await hold(store, image, RepositoryName(f"{name}/app{number}"))
            database.touch(RepositoryName(f"{name}/app{number}"), image.top, 9e9 + number)
            sys.stdout.write(f"{number}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    _, _root, _name, _limit = sys.argv
    asyncio.run(run(Path(_root), _name, int(_limit)))
