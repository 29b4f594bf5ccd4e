"""What a client of the mirror sees of one blob."""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import ClientError, ClientSession

from roadstead.oci.digest import Digest
from tests.support.rig import APP, Rig


@dataclass(frozen=True, slots=True)
class BlobAnswer:
    """Status and body; ``is_clean`` unless the connection broke off in the body."""

    status: int
    body: bytes
    is_clean: bool

    @property
    def is_whole(self) -> bool:
        """Whether a client takes this for the blob."""
        return self.is_clean and self.status == HTTPStatus.OK


async def get_blob(
    http: ClientSession, rig: Rig, digest: Digest, *, arriving: asyncio.Event | None = None
) -> BlobAnswer:
    """Ask for a blob; no redirect is followed, since a mirror sends none.

    ``arriving`` is set when the first bytes are here.
    """
    body = b""
    async with http.get(f"{rig.url}/v2/{APP}/blobs/{digest}", allow_redirects=False) as answer:
        try:
            while piece := await answer.content.read(65_536):
                body += piece
                if arriving is not None:
                    arriving.set()
        except ClientError:
            return BlobAnswer(answer.status, body, is_clean=False)
    return BlobAnswer(answer.status, body, is_clean=True)
