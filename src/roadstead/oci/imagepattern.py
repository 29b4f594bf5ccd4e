"""Patterns over images, for pins and evictions: ``docker.io/library/alpine:3.*``.

``*`` stands for any characters but a slash, ``**`` for any at all, ``?`` for one that is no
slash. A tag or a digest may follow, as a pattern too; without one, all images of the
repositories are meant, also those that have no tag any more.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from roadstead.errors import InvalidReferenceError
from roadstead.oci.digest import Digest
from roadstead.oci.reference import Tag

_NAME = re.compile(r"[a-z0-9._*?/:-]+")
_TAG = re.compile(r"[\w.*?-]+", re.ASCII)
_DIGEST = re.compile(r"[a-z0-9*?+.-]+:[a-f0-9*?]+|\*{1,2}")


@dataclass(frozen=True, slots=True)
class ImagePattern:
    """A pattern, in its three parts; ``tag`` and ``digest`` are None where none was given."""

    name: str
    tag: str | None = None
    digest: str | None = None

    @staticmethod
    def parse(text: str) -> "ImagePattern":
        """Read ``NAME``, ``NAME:TAG`` or ``NAME@DIGEST``, each part with wildcards or without.

        Raises:
            InvalidReferenceError: the text can match no image.
        """
        rest, at, digest = text.partition("@")
        head, slash, last = rest.rpartition("/")
        last, colon, tag = last.partition(":")
        name = f"{head}{slash}{last}"
        well_formed = (
            _NAME.fullmatch(name) is not None
            and not name.startswith("/")
            and not name.endswith("/")
            and "//" not in name
            and (not colon or _TAG.fullmatch(tag) is not None)
            and (not at or _DIGEST.fullmatch(digest) is not None)
        )
        if not well_formed:
            part = "pattern"
            raise InvalidReferenceError(part, text)
        return ImagePattern(name, tag if colon else None, digest if at else None)

    def matches(self, name: str, tags: Iterable[Tag], digests: Iterable[Digest]) -> bool:
        """Say whether it means an image: by full name, its tags, and what it goes by as digest."""
        return (
            _matches(self.name, name)
            and (self.tag is None or any(_matches(self.tag, tag) for tag in tags))
            and (self.digest is None or any(_matches(self.digest, str(one)) for one in digests))
        )

    def matches_name(self, name: str) -> bool:
        """Say whether it may mean an image of the repository ``name``."""
        return _matches(self.name, name)

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        return f"{self.name}{tag}{'' if self.digest is None else f'@{self.digest}'}"


def _matches(pattern: str, text: str) -> bool:
    return _compiled(pattern).fullmatch(text) is not None


def _compiled(pattern: str) -> re.Pattern[str]:
    # re keeps what it compiled last.
    pieces = (_WILDCARDS.get(piece, re.escape(piece)) for piece in _PIECES.findall(pattern))
    return re.compile("".join(pieces))


_PIECES = re.compile(r"\*\*|\*|\?|[^*?]+")
_WILDCARDS = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
