"""A real registry that wants tokens: docker-registry 2.8.2 behind a token server."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from roadstead.oci.digest import Digest
from tests.support import sandbox
from tests.support.dockerregistry import start_docker_registry
from tests.support.images import Image
from tests.support.tokenserver import Account, TokenServer, start_token_server

PUSHER = "pusher"
MIRROR = "mirror"
_ACCOUNTS = {
    PUSHER: Account("may-push", frozenset({"pull", "push"})),
    MIRROR: Account("may-pull", frozenset({"pull"})),
}
# As the access log writes it: "GET /v2/library/app/blobs/sha256:… HTTP/1.1" 200
_REQUEST = re.compile(r'"(?P<method>[A-Z]+) (?P<path>/v2/\S*) HTTP/1\.1" (?P<status>\d{3}) ')
_BLOB_PATH = re.compile(r"/blobs/(sha256:[0-9a-f]{64})$")


@dataclass(frozen=True, slots=True)
class OriginRequest:
    """One request that the registry answered."""

    method: str
    path: str
    status: int


@dataclass(slots=True)
class Origin:
    """A running registry; only its own accounts may do anything."""

    url: str
    token_server: TokenServer
    log_file: Path
    resources: ExitStack

    @property
    def host(self) -> str:
        """Address and port."""
        return self.url.removeprefix("http://")

    def proxy_settings(self) -> dict[str, object]:
        """Write the ``proxy`` section of a mirror that may pull."""
        return {
            "remoteurl": self.url,
            "username": MIRROR,
            "password": _ACCOUNTS[MIRROR].password,
            # Another port of an address is another party.
            "trustedrealms": [self.token_server.realm.split("/")[2]],
        }

    def requests(self) -> list[OriginRequest]:
        """Read the access log."""
        return [
            OriginRequest(found["method"], found["path"], int(found["status"]))
            for found in _REQUEST.finditer(self.log_file.read_text(errors="replace"))
        ]

    def blob_fetches(self) -> Counter[Digest]:
        """Count the bodies sent of each blob, whole ones and parts."""
        return Counter(
            Digest.parse(found[1])
            for request in self.requests()
            if request.method == "GET" and request.status in {200, 206}
            if (found := _BLOB_PATH.search(request.path)) is not None
        )

    def push(self, image: Image, repository: str, tag: str) -> None:
        """Fill the registry with skopeo."""
        sandbox.run(
            *("skopeo", "copy", "--all", "--quiet", "--insecure-policy"),
            *("--dest-tls-verify=false", f"--dest-creds={PUSHER}:{_ACCOUNTS[PUSHER].password}"),
            f"oci:{image.layout}:{image.tag}",
            f"docker://{self.host}/{repository}:{tag}",
            home=self.log_file.parent,
        )

    def stop(self) -> None:
        """End registry and token server for good: their ports refuse connections."""
        self.resources.close()


@contextmanager
def start_origin(volume: Path) -> Iterator[Origin]:
    """Run the registry on ``volume``."""
    with TemporaryDirectory(prefix="origin-") as directory, ExitStack() as resources:
        log_file = Path(directory) / "log"
        tokens = resources.enter_context(start_token_server(Path(directory), _ACCOUNTS))
        url = resources.enter_context(
            start_docker_registry(volume, auth=tokens.registry_auth, log_file=log_file)
        )
        yield Origin(url, tokens, log_file, resources)
