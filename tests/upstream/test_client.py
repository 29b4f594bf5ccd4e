"""Manifests, tags and referrers arrive right, or the true reason why not does."""

import asyncio
from dataclasses import replace

import pytest

from roadstead.errors import (
    ContentTooLargeError,
    DigestMismatchError,
    ManifestInvalidError,
    ManifestUnknownError,
    RepositoryUnknownError,
    UpstreamDeniedError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRateLimitedError,
    UpstreamTimeoutError,
    UpstreamUnauthorizedError,
    UpstreamUnavailableError,
    UpstreamUnreachableError,
)
from roadstead.oci import mediatype
from roadstead.oci.digest import Digest
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.simulator.faults import (
    Cut,
    Fault,
    Gzipped,
    Headers,
    Html,
    Redirect,
    RedirectToStorage,
    RequestKind,
    Stall,
    Status,
    Substitute,
    Unsized,
    WrongBytes,
)
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.upstream.base import ManifestHead, TagPage
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.retry import Retries
from tests.upstream.conftest import SHORT, Pauses, connect

APP = RepositoryName("library/app")
LATEST = Tag("latest")
PAGE = b"<html>not here</html>"


async def test_head_tells_digest_type_and_size(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """A HEAD costs one request and tells what the manifest is."""
    image = registry.add_image(APP, tag=LATEST)

    head = await upstream.head_manifest(APP, LATEST)

    assert head == ManifestHead(image.manifest_digest, image.media_type, len(image.content))
    assert [record.method for record in registry.requests] == ["HEAD"]


@pytest.mark.parametrize(
    "fault",
    [
        Status(405),
        Status(400),
        Headers(drop=("Docker-Content-Digest",)),
        Headers(put={"Docker-Content-Digest": "sha256:nonsense"}),
        Redirect("https://cdn.example/x"),
    ],
)
async def test_a_head_that_says_nothing_is_none(
    registry: ScriptedRegistry, upstream: RegistryUpstream, fault: Fault
) -> None:
    """Where HEAD is refused, or has no digest, there is no answer rather than a wrong one."""
    registry.add_image(APP, tag=LATEST)
    registry.inject(fault, method="HEAD")

    assert await upstream.head_manifest(APP, LATEST) is None


async def test_a_redirected_head_is_not_followed(
    registry: ScriptedRegistry, upstream: RegistryUpstream, elsewhere: ScriptedRegistry
) -> None:
    """What the redirect itself tells counts; its target, signed for GET, is not asked."""
    image = registry.add_image(APP, tag=LATEST)
    digest = str(image.manifest_digest)
    fault = Status(307, headers={"Location": elsewhere.url, "Docker-Content-Digest": digest})
    registry.inject(fault, method="HEAD")

    head = await upstream.head_manifest(APP, LATEST)

    assert head == ManifestHead(image.manifest_digest, None, None)
    assert elsewhere.requests == []


async def test_a_manifest_arrives_verbatim(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """By tag and by digest the bytes are those that were pushed, with their type and digest."""
    index = registry.add_index(APP, tag=LATEST)

    by_tag = await upstream.get_manifest(APP, LATEST)
    by_digest = await upstream.get_manifest(APP, index.manifest_digest)

    assert by_tag == by_digest
    assert by_tag.content == index.content
    assert by_tag.descriptor == index.descriptor


async def test_every_type_is_accepted_and_no_compression(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """The full Accept list, identity and our name go with each request."""
    registry.add_image(APP, tag=LATEST)

    await upstream.get_manifest(APP, LATEST)

    headers = registry.requests[0].headers
    assert headers["accept"] == mediatype.UPSTREAM_ACCEPT
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("roadstead/")
    assert "authorization" not in headers


async def test_a_manifest_without_the_digest_header_is_hashed(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """Private ECR leaves the header out; the bytes say it as well."""
    image = registry.add_image(APP, tag=LATEST)
    registry.inject(Headers(drop=("Docker-Content-Digest", "Content-Type")))

    fetched = await upstream.get_manifest(APP, LATEST)

    assert fetched.descriptor == image.descriptor


async def test_an_encoded_manifest_is_decoded(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """A registry that compresses unasked gives the same manifest."""
    image = registry.add_image(APP, tag=LATEST)
    registry.inject(Gzipped())

    fetched = await upstream.get_manifest(APP, LATEST)

    assert fetched.content == image.content


async def test_wrong_bytes_are_refused(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """Bytes that do not match the digest asked for, or announced, are an error."""
    image = registry.add_image(APP, tag=LATEST)
    registry.inject(WrongBytes(position=5))

    for reference in (LATEST, image.manifest_digest):
        with pytest.raises(DigestMismatchError):
            await upstream.get_manifest(APP, reference)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Html(), ManifestInvalidError),
        (Status(401, code="UNAUTHORIZED", message="who?"), UpstreamUnauthorizedError),
        (Status(403, code="DENIED"), UpstreamDeniedError),
        (Status(404, code="NAME_UNKNOWN"), ManifestUnknownError),
        (Status(404, body=PAGE, content_type="text/html"), ManifestUnknownError),
        (Status(429, code="TOOMANYREQUESTS"), UpstreamRateLimitedError),
        (Status(500, body=PAGE), UpstreamUnavailableError),
        (Status(502), UpstreamUnavailableError),
        (Status(204), UpstreamProtocolError),
        (Cut(after=0), UpstreamUnreachableError),
        (Cut(after=5), UpstreamUnreachableError),
        (Cut(after=5, reset=True), UpstreamUnreachableError),
        (Stall(), UpstreamTimeoutError),
        (Stall(after=5), UpstreamTimeoutError),
        (Redirect("/v2/library/app/manifests/latest"), UpstreamProtocolError),
        (Redirect("ftp://elsewhere.example/x"), UpstreamProtocolError),
        (Redirect("https://user:pw@elsewhere.example/x"), UpstreamProtocolError),
    ],
)
async def test_each_failure_is_its_own_error(
    registry: ScriptedRegistry, fault: Fault, kind: type[Exception]
) -> None:
    """Nothing but a 404 is a miss, and nothing hangs."""
    image = registry.add_image(APP, tag=LATEST)
    registry.inject(fault)

    async with connect(registry.url, retries=Retries(attempts=1)) as upstream:
        with pytest.raises(kind) as caught:
            await upstream.get_manifest(APP, LATEST)

    assert type(caught.value) is kind
    assert str(image.manifest_digest) not in str(caught.value)


@pytest.mark.parametrize("content", [b'{"hello": "world"}', b"no JSON", b"[]"])
async def test_what_is_no_manifest_is_refused(
    registry: ScriptedRegistry, upstream: RegistryUpstream, content: bytes
) -> None:
    """Right bytes that are no manifest are an error of their own."""
    registry.add_manifest(APP, content, "application/json", tag=LATEST)

    with pytest.raises(ManifestInvalidError):
        await upstream.get_manifest(APP, LATEST)


async def test_a_cut_manifest_that_ends_cleanly_is_refused(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """Without a length a cut body looks complete; its digest tells."""
    image = registry.add_image(APP, tag=LATEST)
    registry.inject(Unsized())
    registry.inject(Cut(after=len(image.content) - 1))

    with pytest.raises(DigestMismatchError):
        await upstream.get_manifest(APP, image.manifest_digest)


@pytest.mark.parametrize("sized", [True, False])
async def test_a_huge_manifest_is_refused(registry: ScriptedRegistry, *, sized: bool) -> None:
    """The limit holds whether or not the length is announced."""
    digest = registry.add_manifest(APP, b"{" + bytes(5_000), mediatype.OCI_MANIFEST)
    if not sized:
        registry.inject(Unsized(chunked=True))

    async with connect(registry.url, max_manifest_bytes=4_096) as upstream:
        with pytest.raises(ContentTooLargeError):
            await upstream.get_manifest(APP, digest)


async def test_the_rate_limit_keeps_upstreams_wish(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """Retry-After and upstream's words reach the error, and the call is not repeated."""
    registry.add_image(APP, tag=LATEST)
    fault = Status(429, "TOOMANYREQUESTS", "pull rate limit", headers={"Retry-After": "7"})
    registry.inject(fault)

    with pytest.raises(UpstreamRateLimitedError, match="pull rate limit") as caught:
        await upstream.get_manifest(APP, LATEST)

    assert caught.value.retry_after_seconds == 7
    assert caught.value.upstream == registry.host
    assert len(registry.requests) == 1


async def test_passing_trouble_is_waited_out(registry: ScriptedRegistry) -> None:
    """Two failures that pass cost two growing pauses, and the third attempt succeeds."""
    image = registry.add_image(APP, tag=LATEST)
    registry.inject(Status(503), times=1)
    registry.inject(Cut(after=3), skip=1, times=1)
    pauses = Pauses()

    retries = Retries(first_delay_seconds=1, sleep=pauses, jitter=lambda: 0.5)
    async with connect(registry.url, retries=retries) as upstream:
        fetched = await upstream.get_manifest(APP, LATEST)

    assert fetched.content == image.content
    assert pauses.seconds == [0.75, 1.5]


async def test_trouble_that_stays_is_given_up(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """After three attempts the error is raised."""
    registry.inject(Status(500))
    registry.add_image(APP, tag=LATEST)

    with pytest.raises(UpstreamUnavailableError):
        await upstream.get_manifest(APP, LATEST)

    assert len(registry.requests) == 3


async def test_an_absent_upstream_is_unreachable_at_once(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """A refused connection is an error with the host in it, and it is over when it is back."""
    image = registry.add_image(APP, tag=LATEST)
    await registry.stop()
    with pytest.raises(UpstreamUnreachableError, match=registry.host):
        await upstream.head_manifest(APP, LATEST)

    await registry.start()
    assert (await upstream.get_manifest(APP, LATEST)).content == image.content


async def test_a_silent_upstream_costs_no_more_than_the_total(registry: ScriptedRegistry) -> None:
    """An upstream that accepts and never answers is given up within the bound, retries included."""
    registry.pause()
    loop = asyncio.get_running_loop()
    started = loop.time()

    async with connect(registry.url, timeouts=replace(SHORT, total=0.3)) as upstream:
        with pytest.raises(UpstreamTimeoutError, match=r"0\.3 s"):
            await upstream.get_manifest(APP, LATEST)

    assert loop.time() - started < 2


async def test_redirected_manifests_are_followed(
    registry: ScriptedRegistry, elsewhere: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """registry.k8s.io redirects manifests; each fetch asks for the redirect anew."""
    image = registry.add_image(APP, tag=LATEST)
    registry.inject(RedirectToStorage(elsewhere, uses=1), method="GET")

    for _ in range(2):
        fetched = await upstream.get_manifest(APP, LATEST)
        assert fetched.content == image.content
        assert fetched.descriptor.media_type == image.media_type

    assert elsewhere.count(kind=RequestKind.STORAGE) == 2


async def test_a_chain_of_redirects_ends(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """A loop is followed ten times and no more."""
    registry.add_image(APP, tag=LATEST)
    registry.inject(Redirect("latest"))

    with pytest.raises(UpstreamProtocolError, match="more than 10"):
        await upstream.get_manifest(APP, LATEST)

    assert len(registry.requests) == 11


async def test_a_proxy_of_the_environment_is_used(
    registry: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HTTP_PROXY carries requests for hosts that NO_PROXY does not name."""
    image = registry.add_image(APP, tag=LATEST)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", registry.url)
    monkeypatch.setenv("NO_PROXY", "direct.invalid")

    async with connect("http://registry.invalid") as upstream:
        fetched = await upstream.get_manifest(APP, LATEST)
        assert fetched.content == image.content
        assert registry.requests[0].headers["host"] == "registry.invalid"
        transfer = await asyncio.to_thread(upstream.open_blob, APP, image.layers[0].digest, 0)
        assert await asyncio.to_thread(transfer.read) == image.layers[0].read()
        transfer.close()
    async with connect("http://direct.invalid") as upstream:
        with pytest.raises(UpstreamUnreachableError):
            await upstream.get_manifest(APP, LATEST)


async def test_tags_come_in_pages(registry: ScriptedRegistry, upstream: RegistryUpstream) -> None:
    """Limit and start go upstream, and the Link header says whether there is more."""
    for tag in ("c", "a", "b"):
        registry.add_image(APP, tag=tag)

    assert await upstream.list_tags(APP, limit=None, after=None) == TagPage(
        ["a", "b", "c"], has_more=False
    )
    assert await upstream.list_tags(APP, limit=2, after=None) == TagPage(["a", "b"], has_more=True)
    assert await upstream.list_tags(APP, limit=2, after="b") == TagPage(["c"], has_more=False)


async def test_an_upstream_that_ignores_paging_is_cut(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """All tags in one answer become the page that was asked for."""
    registry.add_image(APP, tag="a")
    everything = b'{"name": "library/app", "tags": ["a", "b", "c", "d"]}'
    registry.inject(Substitute(everything, "application/json"))

    page = await upstream.list_tags(APP, limit=2, after="a")

    assert page == TagPage(["b", "c"], has_more=True)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Status(404), RepositoryUnknownError),
        (Html(), UpstreamProtocolError),
        (Substitute(b"[1]", "application/json"), UpstreamProtocolError),
        (Substitute(b'{"tags": "a"}', "application/json"), UpstreamProtocolError),
        (Status(403), UpstreamDeniedError),
    ],
)
async def test_failures_of_tags_are_told_apart(
    registry: ScriptedRegistry, upstream: RegistryUpstream, fault: Fault, kind: type[Exception]
) -> None:
    """A 404 is an unknown repository, and nonsense is no empty list."""
    registry.add_image(APP, tag="a")
    registry.inject(fault)

    with pytest.raises(kind):
        await upstream.list_tags(APP, limit=None, after=None)


async def test_null_tags_are_an_empty_list(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """Some registries send null where there are none."""
    registry.add_image(APP, tag="a")
    registry.inject(Substitute(b'{"tags": null}', "application/json"))

    assert await upstream.list_tags(APP, limit=None, after=None) == TagPage([], has_more=False)


async def test_referrers_of_all_pages_are_listed(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """Every page is fetched, whatever their number."""
    image = registry.add_image(APP, tag=LATEST)
    registry.api.page_size = 2
    signatures = [
        registry.add_image(APP, layers=[bytes([number])], subject=image.descriptor)
        for number in range(5)
    ]

    found = await upstream.list_referrers(APP, image.manifest_digest)

    assert found is not None
    assert [entry["digest"] for entry in found] == [
        str(signature.manifest_digest) for signature in signatures
    ]
    assert registry.count(kind=RequestKind.REFERRERS) == 3


async def test_endless_referrers_end(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """An upstream whose pages lead in a circle is left after fifty."""
    registry.add_image(APP, tag=LATEST)
    registry.inject(Headers(put={"Link": '<?start=0>; rel="next"'}))

    with pytest.raises(UpstreamProtocolError, match="50 pages"):
        await upstream.list_referrers(APP, Digest.of(b""))

    assert registry.count(kind=RequestKind.REFERRERS) == 50


@pytest.mark.parametrize("fault", [Status(404), Status(405), Html(), Redirect("/v2/", status=303)])
async def test_a_missing_referrers_api_is_none(
    registry: ScriptedRegistry, upstream: RegistryUpstream, fault: Fault
) -> None:
    """404, 405, a web page and a redirect to something else mean that there is no such API."""
    image = registry.add_image(APP, tag=LATEST)
    registry.inject(fault, kind=RequestKind.REFERRERS)

    assert await upstream.list_referrers(APP, image.manifest_digest) is None


async def test_failing_referrers_are_no_empty_list(
    registry: ScriptedRegistry, upstream: RegistryUpstream
) -> None:
    """An upstream in trouble has an unknown number of referrers, not none."""
    image = registry.add_image(APP, tag=LATEST)
    registry.inject(Status(503), kind=RequestKind.REFERRERS)

    with pytest.raises(UpstreamError):
        await upstream.list_referrers(APP, image.manifest_digest)
