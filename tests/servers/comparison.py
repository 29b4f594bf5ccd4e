"""Both mirrors on one origin, asked the same."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers.cases import COLD, WARM, Case
from tests.servers.exchange import Names, send
from tests.servers.samples import BLOBS, CONTENTS, DIGESTS, MANIFESTS, OTHER, REPOSITORY, TAGS, fill
from tests.support.dockerregistry import request, start_docker_registry
from tests.support.roadstead_process import start_roadstead

# The one of the shipped configuration, and one that Go's server never sets by itself.
_HEADERS = '{"X-Content-Type-Options": ["nosniff"], "X-Served-By": ["a mirror"]}'
_FILL_SECONDS = 20.0

Described = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Base URLs of the origin and of the two."""

    origin: str
    registry: str
    roadstead: str

    @property
    def both(self) -> tuple[str, str]:
        """The registry's first."""
        return self.registry, self.roadstead


@contextmanager
def start_both(root: Path) -> Iterator[Mirrors]:
    """Run the origin, filled, and both mirrors of it with the same configuration."""
    with ExitStack() as stack:
        origin = stack.enter_context(start_docker_registry(root / "origin"))
        fill(origin)
        registry = start_docker_registry(
            root / "registry", proxy_remoteurl=origin, extra_env={"REGISTRY_HTTP_HEADERS": _HEADERS}
        )
        document = {
            "storage": {"filesystem": {"rootdirectory": str(root / "roadstead")}},
            "proxy": {"remoteurl": origin},
        }
        roadstead = start_roadstead(document, environment={"REGISTRY_HTTP_HEADERS": _HEADERS})
        yield Mirrors(origin, stack.enter_context(registry), stack.enter_context(roadstead).url)


def compare(mirrors: Mirrors) -> dict[str, tuple[Described, Described]]:
    """Ask both for each case; return their answers, the registry's first, by the case's name."""
    names = Names(CONTENTS, DIGESTS, origin=urlsplit(mirrors.origin).netloc)
    found = dict(_ask(mirrors, COLD, names))
    for base_url in mirrors.both:
        pull_everything(base_url)
    found |= _ask(mirrors, WARM, names)
    return found


def pull_everything(base_url: str) -> None:
    """Make a mirror hold all that the origin has."""
    for tag in TAGS:
        assert request("GET", f"{base_url}/v2/{REPOSITORY}/manifests/{tag}").status == 200
    for name in MANIFESTS:
        url = f"{base_url}/v2/{REPOSITORY}/manifests/{DIGESTS[name]}"
        assert request("GET", url).status == 200
    for name in BLOBS:
        _pull_blob(f"{base_url}/v2/{REPOSITORY}/blobs/{DIGESTS[name]}")
    assert request("GET", f"{base_url}/v2/{OTHER}/manifests/latest").status == 200
    _pull_blob(f"{base_url}/v2/{OTHER}/blobs/{DIGESTS['layer']}")


def _pull_blob(url: str) -> None:
    """Ask until it comes from the volume: the registry fills it apart from the answer.

    Under load registry 2.8.2 may answer an error while it fills; Roadstead may not.
    """
    deadline = time.monotonic() + _FILL_SECONDS
    while "Accept-Ranges" not in (answer := request("GET", url)).headers:
        told = f"{url}: {answer.status} {answer.body[:200]!r}"
        assert answer.status == 200 or answer.headers.get("Server") != "roadstead", told
        assert time.monotonic() < deadline, f"not kept: {told}"


def _ask(
    mirrors: Mirrors, cases: Iterable[Case], names: Names
) -> Iterator[tuple[str, tuple[Described, Described]]]:
    for case in cases:
        target = names.spell(case.target)
        headers = [(name, names.spell(value)) for name, value in case.headers]
        theirs, ours = (
            names.describe(
                send(base_url, case.method, target, headers=headers, body=case.body),
                is_head=case.is_head,
            )
            for base_url in mirrors.both
        )
        yield case.name, (theirs, ours)
