"""The manners of the registries that people mirror, one function each.

Source: facts/protocol.md, section 3; every row of its table is here.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from roadstead.simulator.faults import Headers, Html, Redirect, Status, Unsized
from roadstead.simulator.faults import RequestKind as Kind
from roadstead.simulator.habits import (
    CompressesConfigs,
    FallbackTagIsSubject,
    LacksSignatures,
    NeedsAccept,
    PullLimit,
    RedirectToTwin,
    SchemaOne,
    UnknownUntilFetched,
)
from roadstead.simulator.stage import IDENTITY_TOKEN_USER, Account, Role, Stage, open_hosts

DOCKER_HUB_LIMIT: Final = 100

_AZURE_ERROR = (
    b'<?xml version="1.0" encoding="utf-8"?><Error><Code>ResourceNotFound</Code>'
    b"<Message>The specified resource does not exist.</Message></Error>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How one registry behaves; ``account`` is what it does not work without.

    ``limit`` are the manifests that it gives in six hours, None for any number.
    """

    registry: str
    summary: str
    behave: Callable[[Stage], object]
    hosts: tuple[Role, ...] = ()
    account: Account | None = None
    limit: int | None = None


@contextlib.asynccontextmanager
async def open_stage(
    manners: Manners,
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    account: Account | None = None,
    limit: int | None = None,
    retry_after_seconds: int | None = None,
) -> AsyncIterator[Stage]:
    """Start a registry of these manners, and the hosts that it needs.

    ``account`` and ``limit`` replace those of the manners.

    Raises:
        OSError: an address cannot be bound.
    """
    async with open_hosts(manners.hosts, address=address, port=port) as stage:
        stage.account = account or manners.account
        wanted = manners.limit if limit is None else limit
        if wanted is not None:
            stage.pull_limit = PullLimit(limit=wanted, retry_after_seconds=retry_after_seconds)
            stage.registry.inject(stage.pull_limit, kind=Kind.MANIFEST)
        manners.behave(stage)
        if stage.registry.authentication is None:
            stage.ask_for_password()
        yield stage


def _plain(_stage: Stage) -> None:
    """Add nothing to the specification."""


def _docker_hub(stage: Stage) -> None:
    stage.ask_for_tokens("/token", service="registry.docker.io", at=Role.TOKENS)
    stage.keep_blobs_elsewhere()


def _ghcr(stage: Stage) -> None:
    stage.ask_for_tokens(
        "/token",
        service="ghcr.io",
        ping_scope="repository:user/image:pull",
        refusal=HTTPStatus.FORBIDDEN,
    )
    stage.keep_blobs_elsewhere()
    web = stage.others[Role.WEB]
    page = Redirect(f"{web.url}/packages", HTTPStatus.SEE_OTHER)
    stage.registry.inject(page, kind=Kind.REFERRERS)
    web.inject(Html(), times=1)
    web.inject(Status(429, body=b"<html>slow down</html>", content_type="text/html"), skip=1)


def _quay(stage: Stage) -> None:
    stage.ask_for_tokens("/v2/auth", service="quay.io")
    stage.keep_blobs_elsewhere(status=HTTPStatus.FOUND)
    stage.registry.inject(NeedsAccept(SchemaOne()), kind=Kind.MANIFEST)


def _gcr(stage: Stage) -> None:
    stage.ask_for_tokens("/v2/token", service="gcr.io")
    stage.registry.challenge_on_ping_only = True
    stage.redirect_blobs_within()


def _k8s(stage: Stage) -> None:
    region = stage.others[Role.REGION]
    region.repositories = stage.registry.repositories
    stage.registry.inject(RedirectToTwin(region.url), kind=Kind.MANIFEST)
    region.inject(LacksSignatures(region.repositories), kind=Kind.MANIFEST)
    stage.keep_blobs_elsewhere()


def _mcr(stage: Stage) -> None:
    stage.keep_blobs_elsewhere()
    stage.registry.inject(NeedsAccept(SchemaOne()), kind=Kind.MANIFEST)
    missing = Status(404, body=_AZURE_ERROR, content_type="application/xml")
    stage.registry.inject(missing, kind=Kind.TAGS)


def _ecr_public(stage: Stage) -> None:
    stage.ask_for_tokens("/token/", service="public.ecr.aws", scope="aws")
    stage.keep_blobs_elsewhere(method="GET")
    refused = Status(401, "UNAUTHORIZED", "Not Authorized")
    stage.registry.inject(refused, kind=Kind.BLOB, method="HEAD")


def _ecr(stage: Stage) -> None:
    stage.keep_blobs_elsewhere()
    stage.registry.inject(Headers(drop=("Docker-Content-Digest",)), kind=Kind.MANIFEST)


def _acr(stage: Stage) -> None:
    tokens = stage.ask_for_tokens("/oauth2/token", service="example.azurecr.io", offers_basic=True)
    tokens.field_name = "access_token"
    stage.keep_blobs_elsewhere()
    text = "OCI manifest found, but accept header does not support OCI manifests"
    stage.registry.inject(NeedsAccept(Status(404, "MANIFEST_UNKNOWN", text)), kind=Kind.MANIFEST)


def _gitlab(stage: Stage) -> None:
    stage.ask_for_tokens("/jwt/auth", service="container_registry", at=Role.TOKENS)
    stage.keep_blobs_elsewhere()
    stage.registry.api.referrers_enabled = False
    fallback = FallbackTagIsSubject(stage.registry.repositories)
    stage.registry.inject(fallback, kind=Kind.MANIFEST)


def _lscr(stage: Stage) -> None:
    stage.ask_for_tokens("/token", service="ghcr.io", at=Role.TOKENS)
    stage.keep_blobs_elsewhere()


def _nvcr(stage: Stage) -> None:
    tokens = stage.ask_for_tokens("/proxy_auth", service="")
    tokens.expired_realm = f"{stage.others[Role.STRANGER].url}/token"
    stage.keep_blobs_elsewhere()


def _redhat(stage: Stage) -> None:
    stage.keep_blobs_elsewhere(status=HTTPStatus.FOUND)
    stage.inject_into_bodies(CompressesConfigs())


def _istio(stage: Stage) -> None:
    stage.registry.inject(Unsized(), kind=Kind.BLOB, method="HEAD")


def _harbor(stage: Stage) -> None:
    stage.ask_for_tokens("/service/token", service="harbor-registry")
    for kind in (Kind.MANIFEST, Kind.BLOB):
        stage.registry.inject(UnknownUntilFetched(), kind=kind)


def _cloudsmith(stage: Stage) -> None:
    stage.ask_for_tokens("/v2/token", service="docker.cloudsmith.io", offers_basic=True)
    stage.keep_blobs_elsewhere()


_STORAGE = (Role.STORAGE,)
_TOKENS_AND_STORAGE = (Role.TOKENS, Role.STORAGE)

MANNERS: Final = {
    "plain": Manners(
        registry="any registry",
        summary="what the specification says, and nothing else",
        behave=_plain,
    ),
    "docker-hub": Manners(
        registry="registry-1.docker.io",
        summary="tokens from another host, a limit on pulls, blobs from a CDN",
        behave=_docker_hub,
        hosts=_TOKENS_AND_STORAGE,
        limit=DOCKER_HUB_LIMIT,
    ),
    "ghcr": Manners(
        registry="ghcr.io",
        summary="a dummy scope on /v2/, no token for what is unknown, referrers lead to a web page",
        behave=_ghcr,
        hosts=(Role.STORAGE, Role.WEB),
    ),
    "quay": Manners(
        registry="quay.io",
        summary="tokens at /v2/auth, schema 1 for whoever accepts nothing else",
        behave=_quay,
        hosts=_STORAGE,
    ),
    "gcr": Manners(
        registry="gcr.io, pkg.dev",
        summary="a challenge on /v2/ only, relative redirects",
        behave=_gcr,
    ),
    "k8s": Manners(
        registry="registry.k8s.io",
        summary="manifests and blobs redirect to a region, which lacks signatures",
        behave=_k8s,
        hosts=(Role.REGION, Role.STORAGE),
    ),
    "mcr": Manners(
        registry="mcr.microsoft.com",
        summary="no authentication, an XML error in place of tags",
        behave=_mcr,
        hosts=_STORAGE,
    ),
    "ecr-public": Manners(
        registry="public.ecr.aws",
        summary="the scope aws, 401 to HEAD of a blob",
        behave=_ecr_public,
        hosts=_STORAGE,
    ),
    "ecr": Manners(
        registry="ACCOUNT.dkr.ecr.REGION.amazonaws.com",
        summary="Basic as AWS, no digest header, storage that refuses Authorization",
        behave=_ecr,
        hosts=_STORAGE,
        account=Account("AWS", "password-of-12-hours"),
    ),
    "acr": Manners(
        registry="NAME.azurecr.io",
        summary="two challenges, tokens by POST for an identity token, 404 without Accept",
        behave=_acr,
        hosts=_STORAGE,
        account=Account(IDENTITY_TOKEN_USER, "refresh-token-of-3-hours"),
    ),
    "gitlab": Manners(
        registry="registry.gitlab.com",
        summary="tokens from another host, no referrers, a fallback tag that is the subject",
        behave=_gitlab,
        hosts=_TOKENS_AND_STORAGE,
    ),
    "lscr": Manners(
        registry="lscr.io",
        summary="another registry's tokens: a realm that has to be trusted",
        behave=_lscr,
        hosts=_TOKENS_AND_STORAGE,
    ),
    "nvcr": Manners(
        registry="nvcr.io",
        summary="no service in the challenge; an expired token is sent to another realm",
        behave=_nvcr,
        hosts=(Role.STORAGE, Role.STRANGER),
    ),
    "redhat": Manners(
        registry="registry.access.redhat.com",
        summary="compresses config blobs for whoever accepts gzip",
        behave=_redhat,
        hosts=_STORAGE,
    ),
    "istio": Manners(
        registry="registry.istio.io",
        summary="HEAD of a blob without its length",
        behave=_istio,
    ),
    "harbor": Manners(
        registry="a proxy cache of Harbor",
        summary="404 to HEAD of what nobody has fetched from it yet",
        behave=_harbor,
    ),
    "cloudsmith": Manners(
        registry="docker.cloudsmith.io",
        summary="offers Basic and Bearer, blobs from a CDN",
        behave=_cloudsmith,
        hosts=_STORAGE,
    ),
}
"""All manners by the name that ``roadstead upstream-simulator --manners`` takes."""
