"""Which blobs are being served, so that eviction leaves them alone.

Their readers would lose nothing, for an open file survives its removal; but what somebody reads
now, others are likely to want.
"""

from roadstead.oci.digest import Digest


class BlobsInUse:
    """Counts the readers of each held blob. Changed on the event loop, asked from any thread."""

    def __init__(self) -> None:
        self._readers: dict[Digest, int] = {}

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._readers

    def begin(self, digest: Digest) -> None:
        """Note a reader."""
        self._readers[digest] = self._readers.get(digest, 0) + 1

    def end(self, digest: Digest) -> None:
        """Note that a reader has gone."""
        left = self._readers[digest] - 1
        if left:
            self._readers[digest] = left
        else:
            del self._readers[digest]

    def digests(self) -> list[Digest]:
        """List what is being served; on the event loop."""
        return list(self._readers)
