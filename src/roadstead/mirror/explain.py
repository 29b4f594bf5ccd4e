"""Why a reference would be answered the way it would be: looks, asks nobody, changes nothing."""

from dataclasses import dataclass

from roadstead.errors import RepositoryDeniedError, RoadsteadError
from roadstead.mirror.freshness import Decision
from roadstead.mirror.manifests import Manifests
from roadstead.mirror.usable import count_blobs
from roadstead.oci.digest import Digest
from roadstead.oci.reference import (
    Reference,
    RepositoryName,
    Tag,
    parse_reference,
    parse_repository,
)
from roadstead.storage.base import Store

_WORDS = {
    Decision.SERVE: ("hit", "held, and upstream need not be asked"),
    Decision.SERVE_STALE: ("stale", "held, and upstream has just failed to confirm it"),
    Decision.REVALIDATE: (
        "revalidate",
        "held, and upstream is asked whether it is current",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would become of a pull.

    ``by`` says what chose the upstream: path, ns, prefix, listener, host or default. ``outcome``
    is hit, revalidate, stale, refused, miss or denied, and ``reason`` says why. Blobs are those
    of the image, or of all held images of an index.
    """

    reference: str
    upstream: str = ""
    by: str = ""
    stored_as: str = ""
    outcome: str
    reason: str
    digest: str | None = None
    media_type: str | None = None
    age_seconds: float | None = None
    asked_again_in_seconds: float | None = None
    last_failure: str | None = None
    blobs_held: int = 0
    blobs_known: int = 0


def split_reference(text: str) -> tuple[str | None, RepositoryName, Reference]:
    """Split a reference as docker does: registry (None: the default), repository, tag or digest.

    Raises:
        InvalidReferenceError: a part of it breaks its grammar.
    """
    name, at, digest = text.partition("@")
    head, slash, last = name.rpartition("/")
    last, colon, tag = last.partition(":")
    repository = f"{head}{slash}{last}"
    reference = parse_reference(digest if at else (tag if colon else "latest"))
    first, slash, rest = repository.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, parse_repository(rest), reference
    return None, parse_repository(repository), reference


async def explain(
    text: str,
    *,
    manifests: Manifests,
    store: Store,
    repository: RepositoryName,
    reference: Reference,
    upstream: str,
    by: str,
) -> Explanation:
    """Explain one reference whose upstream is known."""
    examined = None
    if isinstance(reference, Digest):
        digest: Digest | None = reference
    else:
        examined = await manifests.examine(repository, Tag(reference))
        digest = examined.state.digest if examined is not None else None
    held = await manifests.held(repository, digest) if digest is not None else None
    if held is None:
        refusal = await manifests.refusal(repository, digest) if digest is not None else None
        return Explanation(
            reference=text,
            upstream=upstream,
            by=by,
            stored_as=repository,
            outcome="denied" if refusal else "miss",
            reason=str(refusal) if refusal else "not held: it is fetched from upstream",
        )
    outcome, reason = ("hit", "held by its digest, which never changes")
    age = asked_again = failure = None
    if examined is not None:
        state = examined.state
        outcome, reason = _WORDS[examined.decision]
        if state.is_immutable:
            reason = "held, and the tag never moves (immutabletags)"
        if examined.refusal is not None:
            outcome, reason = "refused", examined.refusal
        age, asked_again = examined.age_seconds, examined.asked_again_in_seconds
        failure = str(state.failure) if state.failure is not None else None
    blobs_held, blobs_known = await count_blobs(store, repository, held.content)
    return Explanation(
        reference=text,
        upstream=upstream,
        by=by,
        stored_as=repository,
        outcome=outcome,
        reason=reason,
        digest=str(held.descriptor.digest),
        media_type=held.descriptor.media_type,
        age_seconds=age,
        asked_again_in_seconds=asked_again,
        last_failure=failure,
        blobs_held=blobs_held,
        blobs_known=blobs_known,
    )


def denied(text: str, error: RoadsteadError) -> Explanation:
    """Explain a reference that no upstream is asked for."""
    upstream = error.upstream if isinstance(error, RepositoryDeniedError) else ""
    return Explanation(reference=text, upstream=upstream, outcome="denied", reason=str(error))
