"""A widespread guide to registry:2, from its first command to its last, with our image in it.

Set ``ROADSTEAD_TRANSCRIPT`` to a file to keep what was typed and printed; docs/brief-run.md is
such a file.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.clients.guide import Machine, Typed, machine
from tests.support.certificates import Authority

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1200)]

_COMPOSE = Path(__file__).parents[2] / "deploy/compose"
_LONGEST_OUTPUT = 40

_DAEMON_JSON = """\
sudo tee /etc/docker/daemon.json <<EOF
{
  "registry-mirrors": ["http://mirror-host:5000"]
}
EOF"""
_CLEANUP = """\
#!/bin/bash
# cleanup-mirror.sh - Remove old cached images and run garbage collection

REGISTRY_CONTAINER="registry-mirror"
MAX_AGE_DAYS=30

echo "Starting cache cleanup at $(date)"

# Run garbage collection inside the registry container
docker exec ${REGISTRY_CONTAINER} /bin/registry garbage-collect \\
  /etc/docker/registry/config.yml --delete-untagged

# Log the current cache size
CACHE_SIZE=$(docker exec ${REGISTRY_CONTAINER} du -sh /var/lib/registry | awk '{print $1}')
echo "Cache size after cleanup: ${CACHE_SIZE}"
"""
_CRON = (
    'echo "0 3 * * 0 /path/to/cleanup-mirror.sh >> /var/log/mirror-cleanup.log 2>&1" | crontab -'
)
_METRICS = """
  debug:
    addr: :5001
    prometheus:
      enabled: true
"""
_ACCOUNT = """\
  username: your-dockerhub-username
  password: your-dockerhub-access-token
"""


@pytest.fixture
def guide() -> Iterator[Machine]:
    """Set up the machine, and write the transcript at the end if it is wanted."""
    with TemporaryDirectory(prefix="rs-") as directory, machine(Path(directory)) as made:
        yield made
        wanted = os.environ.get("ROADSTEAD_TRANSCRIPT")
        if wanted:
            Path(wanted).write_text(_document(made))


def _document(made: Machine) -> str:
    lines = []
    for entry in made.transcript:
        if isinstance(entry, Typed):
            output = entry.output.replace(str(made.home), "~").splitlines()
            if len(output) > _LONGEST_OUTPUT:
                output = [*output[:5], "...", *output[-(_LONGEST_OUTPUT - 6) :]]
            command = entry.command.replace(str(made.home), "~").replace("\n", "\n> ")
            lines.append("\n".join(["```console", f"$ {command}", *output, "```"]))
        else:
            lines.append(entry)
    return "\n\n".join(lines) + "\n"


def test_the_guide(guide: Machine) -> None:
    """Every command of it, in its order; each setup with nothing but ``image:`` changed."""
    folder = guide.home / "mirror"
    folder.mkdir()
    for name in ("docker-compose.yml", "config.yml", "docker-compose-multiple.yml"):
        shutil.copy(_COMPOSE / name, folder)
    _set_up(guide, folder)
    _configure_docker(guide)
    _pull(guide)
    _look_after(guide, folder)
    _monitor(guide, folder)
    _authenticate(guide, folder)
    _fail(guide, folder)
    _mirror_three(guide, folder)
    _add_tls(guide, folder)


def _set_up(guide: Machine, folder: Path) -> None:
    guide.heading("## Setting Up the Registry Mirror")
    guide.type("docker compose up -d", folder=folder)
    guide.until("curl -sf http://localhost:5000/v2/")
    assert guide.type("curl -sS http://localhost:5000/v2/") == "{}"
    assert '{"repositories":[]}' in guide.type("curl -sS http://localhost:5000/v2/_catalog")


def _configure_docker(guide: Machine) -> None:
    guide.heading("## Configuring Docker Clients")
    guide.type(_DAEMON_JSON)
    guide.type("sudo systemctl restart docker")
    shown = guide.type('docker info 2>/dev/null | grep -A 5 "Registry Mirrors"')
    assert "http://mirror-host:5000/" in shown


def _pull(guide: Machine) -> None:
    guide.heading("## Testing the Mirror")
    guide.until("curl -sf http://localhost:5000/v2/")
    guide.type("docker pull nginx:alpine")
    assert "library/nginx" in guide.type("curl -sS http://mirror-host:5000/v2/_catalog")
    asked = guide.upstream_requests()
    assert asked > 0
    guide.type("docker image rm nginx:alpine", quiet=True)
    guide.type("docker pull nginx:alpine")
    # A tag may be confirmed once more; no content is fetched again.
    assert guide.upstream_requests() <= asked + 1


def _look_after(guide: Machine, folder: Path) -> None:
    guide.heading("## Cache Management")
    assert "/var/lib/registry" in guide.type("docker exec registry-mirror du -sh /var/lib/registry")
    guide.type("curl -s http://localhost:5000/v2/_catalog | python3 -m json.tool")
    tags = guide.type(
        "curl -s http://localhost:5000/v2/library/nginx/tags/list | python3 -m json.tool"
    )
    assert '"alpine"' in tags
    (folder / "cleanup-mirror.sh").write_text(_CLEANUP)
    guide.type("chmod +x cleanup-mirror.sh", folder=folder)
    cleaned = guide.type("./cleanup-mirror.sh", folder=folder)
    assert "Cache size after cleanup: " in cleaned
    assert "eligible for deletion" in cleaned
    guide.type(_CRON)
    assert "0 3 * * 0 " in guide.type("crontab -l")
    guide.type("docker image rm nginx:alpine", quiet=True)
    asked = guide.upstream_requests()
    guide.type("docker pull nginx:alpine", quiet=True)
    assert guide.upstream_requests() <= asked + 1, "the clean-up removed what is in use"


def _monitor(guide: Machine, folder: Path) -> None:
    guide.heading("## Monitoring the Mirror")
    config = folder / "config.yml"
    headers = "    X-Content-Type-Options: [nosniff]\n"
    config.write_text(config.read_text().replace(headers, headers + _METRICS.lstrip("\n")))
    compose = folder / "docker-compose.yml"
    # The guide forgets to publish the port that it then scrapes.
    published = '      - "5000:5000"\n'
    compose.write_text(compose.read_text().replace(published, f'{published}      - "5001:5001"\n'))
    guide.type("docker compose up -d --force-recreate", folder=folder)
    guide.until("curl -sf http://localhost:5000/v2/")
    guide.type("docker image rm nginx:alpine", quiet=True)
    guide.type("docker pull nginx:alpine", quiet=True)
    shown = guide.type("curl -sS http://localhost:5001/metrics | grep registry_proxy")
    assert "registry_proxy_hits_total" in shown
    assert "registry_proxy_misses_total" in shown
    guide.type(
        "curl -sS http://localhost:5001/metrics | grep ^registry_storage_blob_upload_bytes_total"
    )


def _authenticate(guide: Machine, folder: Path) -> None:
    guide.heading("## Authenticating to Docker Hub")
    config = folder / "config.yml"
    url = "  remoteurl: https://registry-1.docker.io\n"
    config.write_text(config.read_text().replace(url, url + _ACCOUNT))
    guide.type("docker compose up -d --force-recreate", folder=folder)
    guide.until("curl -sf http://localhost:5000/v2/")
    guide.type("docker image rm nginx:alpine", quiet=True)
    guide.type("docker pull nginx:alpine", quiet=True)
    assert "your-dockerhub-access-token" not in guide.run("docker logs registry-mirror").stdout


def _fail(guide: Machine, folder: Path) -> None:
    guide.heading("## Handling Mirror Failures")
    check = 'curl -f http://localhost:5000/v2/ || echo "Mirror is down"'
    status = "docker inspect registry-mirror --format '{{.State.Status}}'"
    assert "Mirror is down" not in guide.type(check)
    assert guide.type(status) == "running\n"
    guide.type("docker compose stop", folder=folder)
    assert "Mirror is down" in guide.type(check)
    assert guide.type(status) == "exited\n"
    guide.type("docker image rm nginx:alpine", quiet=True)
    guide.type("docker pull nginx:alpine")
    guide.type("docker compose down", folder=folder)


def _mirror_three(guide: Machine, folder: Path) -> None:
    guide.heading("## Mirroring Multiple Registries")
    compose = "docker compose -f docker-compose-multiple.yml"
    guide.type(f"{compose} up -d", folder=folder)
    for port in (5000, 5001, 5002):
        guide.until(f"curl -sf http://localhost:{port}/v2/")
    for image in ("5000/library/nginx:alpine", "5001/org/tool:1.0", "5002/org/other:2.0"):
        guide.type(f"docker pull localhost:{image}")
    guide.type(f"{compose} down", folder=folder)


def _add_tls(guide: Machine, folder: Path) -> None:
    guide.heading("## Adding TLS to the Mirror")
    certs = folder / "certs"
    certs.mkdir()
    authority = Authority(certs)
    issued = authority.issue("mirror", subject_names="DNS:mirror-host,DNS:localhost")
    assert issued.key.stat().st_mode & 0o077 == 0, "as openssl leaves it: for its owner only"
    for name in ("docker-compose-tls.yml", "config-tls.yml"):
        shutil.copy(_COMPOSE / name, folder)
    guide.type("docker compose -f docker-compose-tls.yml up -d", folder=folder)
    ask = f"curl -sS --cacert {certs}/authority.crt https://localhost:5000/v2/"
    guide.until(ask)
    assert guide.type(ask) == "{}"
    trusted = "/etc/docker/certs.d/mirror-host:5000"
    guide.type(f"mkdir -p {trusted} && cp {certs}/authority.crt {trusted}/ca.crt")
    guide.type("docker pull mirror-host:5000/library/nginx:alpine")
    guide.type("docker compose -f docker-compose-tls.yml down", folder=folder)
