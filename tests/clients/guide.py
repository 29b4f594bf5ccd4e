"""A machine on which the guide's commands can be typed as they stand there.

Everything that a command writes outside its folder (``/etc/docker``, ``/run``, the crontab) lies in
a mount namespace, and ends with it. The registries of the guide are played by one docker-registry
with a certificate for their names, on the address of Docker's bridge; a name server tells
containers of it. What a minimal machine lacks (sudo, systemd) is played by two small scripts.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import sandbox
from tests.support.certificates import Authority
from tests.support.dockerregistry import start_docker_registry
from tests.support.images import write_image

REGISTRIES = ("registry-1.docker.io", "ghcr.io", "quay.io")
IMAGES = ("library/nginx:alpine", "org/tool:1.0", "org/other:2.0")

_ROOT = Path(__file__).parents[2]
_CACHE = Path("~/.cache/roadstead").expanduser()
_BRIDGE = "172.17.0.1"
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_HIDDEN = ("/etc/docker", "/run", "/var/spool/cron/crontabs")
_PATIENCE_SECONDS = 600.0

_SUDO = '#!/bin/sh\nexec "$@"\n'
_SYSTEMCTL = """\
#!/bin/sh
# systemctl restart docker
[ "$1 $2" = "restart docker" ] || exit 1
kill "$(cat {home}/pid)"
while [ -e {home}/pid ]; do sleep 0.1; done
{dockerd} </dev/null >>{home}/dockerd.log 2>&1 &
until docker info >/dev/null 2>&1; do sleep 0.1; done
"""


@dataclass(frozen=True, slots=True)
class Typed:
    """A command as it was typed, and all that it printed."""

    command: str
    output: str


@dataclass(slots=True)
class Machine:
    """A shell in the namespace; ``transcript`` keeps what was typed and printed."""

    home: Path
    holder: int
    upstream_log: Path
    transcript: list[Typed | str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Begin a section of the transcript."""
        self.transcript.append(text)

    def type(self, command: str, *, folder: Path | None = None, quiet: bool = False) -> str:
        """Type a command; it must succeed. A ``quiet`` one does not stand in the transcript.

        Raises:
            AssertionError: it failed; the message holds what it said.
        """
        done = self.run(command, folder)
        if not quiet:
            self.transcript.append(Typed(command, done.stdout))
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def run(self, command: str, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Run a command in the namespace; standard output holds its error output too."""
        # Entering a namespace forgets the working directory.
        script = f"cd {folder or self.home}\n{command}"
        return subprocess.run(
            ["nsenter", f"--mount=/proc/{self.holder}/ns/mnt", "sh", "-c", script],
            env=_environment(self.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )

    def until(self, command: str) -> str:
        """Run a command until it succeeds, for up to half a minute, as an operator would."""
        deadline = time.monotonic() + 30
        done = self.run(command)
        while done.returncode != 0 and time.monotonic() < deadline:
            time.sleep(0.2)
            done = self.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def upstream_requests(self) -> int:
        """Count what the registries have answered so far."""
        return self.upstream_log.read_text(errors="replace").count(' HTTP/1.1" ')


@contextmanager
def machine(home: Path) -> Iterator[Machine]:
    """Set up the machine, with the image ``roadstead`` built and nothing running."""
    sandbox.require(
        *("nsenter", "docker", "dockerd", "containerd", "debootstrap", "dnsmasq", "crontab"),
        *("docker-registry", "skopeo", "curl", "openssl"),
    )
    compose = _compose()
    with ExitStack() as stack:
        authority = Authority(home)
        bundle = home / "bundle.crt"
        bundle.write_bytes(_BUNDLE.read_bytes() + authority.certificate.file.read_bytes())
        _write_programs(home, compose)
        holder = stack.enter_context(_namespace(home))
        made = Machine(home, holder, home / "upstream.log")
        made.run(f"{_dockerd(home)} </dev/null >>{home}/dockerd.log 2>&1 &")
        stack.callback(lambda: made.run(f"kill $(cat {home}/pid); sleep 2"))
        made.until("docker info")
        stack.enter_context(_name_server(home))
        stack.enter_context(_registries(made, authority))
        _build_image(made, bundle)
        yield made


def _environment(home: Path) -> dict[str, str]:
    return {
        "PATH": f"{home}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(home),
        "SSL_CERT_FILE": f"{home}/bundle.crt",
        "DOCKER_BUILDKIT": "0",
    }


def _compose() -> Path:
    found = shutil.which("docker-compose", path=f"{_CACHE}/bin:/usr/libexec/docker/cli-plugins")
    if found is None:
        sandbox.require("docker-compose, the plug-in of version 2,")
    return Path(str(found))


def _dockerd(home: Path) -> str:
    return (
        f"dockerd --data-root {home}/data --exec-root {home}/exec --pidfile {home}/pid "
        f"--storage-driver vfs --dns {_BRIDGE}"
    )


def _write_programs(home: Path, compose: Path) -> None:
    folder = home / "bin"
    folder.mkdir()
    for name, text in (
        ("sudo", _SUDO),
        ("systemctl", _SYSTEMCTL.format(home=home, dockerd=_dockerd(home))),
    ):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    plugins = home / ".docker/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(compose)
    names = " ".join(REGISTRIES)
    (home / "hosts").write_text(f"127.0.0.1 localhost mirror-host\n{_BRIDGE} {names}\n")


@contextmanager
def _namespace(home: Path) -> Iterator[int]:
    """Hold a mount namespace open, and give the process that is in it."""
    mounts = " && ".join(f"mount -t tmpfs roadstead-test {path}" for path in _HIDDEN)
    script = f"mkdir -p /etc/docker && {mounts} && mount --bind {home}/hosts /etc/hosts"
    holder = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", f"{script} && touch {home}/mounted && exec sleep 7200"]
    )
    try:
        deadline = time.monotonic() + 10
        while not (home / "mounted").exists():
            assert holder.poll() is None, "the namespace could not be set up"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield holder.pid
    finally:
        holder.kill()
        holder.wait()


@contextmanager
def _name_server(home: Path) -> Iterator[None]:
    """Tell containers where the registries are; all other names go to the machine's server."""
    process = subprocess.Popen(
        [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-hosts"),
            *("--bind-interfaces", f"--listen-address={_BRIDGE}", f"--pid-file={home}/dns.pid"),
            *(f"--address=/{name}/{_BRIDGE}" for name in REGISTRIES),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _registries(made: Machine, authority: Authority) -> Iterator[None]:
    """Fill a registry, and run it under the names of the three of the guide."""
    home = made.home
    volume = home / "upstream"
    image = write_image(home / "layout", tag="1.0")
    with start_docker_registry(volume) as url:
        for name in IMAGES:
            sandbox.run(
                *("skopeo", "copy", "--all", "--quiet", "--insecure-policy"),
                *("--dest-tls-verify=false", f"oci:{image.layout}:{image.tag}"),
                f"docker://{url.removeprefix('http://')}/{name}",
                home=home,
            )
    names = ",".join(f"DNS:{name}" for name in REGISTRIES)
    certificate = authority.issue("upstream", subject_names=names)
    # JSON is YAML.
    configuration = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(volume)}},
        "http": {
            "addr": f"{_BRIDGE}:443",
            "tls": {"certificate": str(certificate.file), "key": str(certificate.key)},
        },
    }
    (home / "upstream.yml").write_text(json.dumps(configuration))
    with made.upstream_log.open("wb") as output:
        process = subprocess.Popen(
            ["docker-registry", "serve", home / "upstream.yml"], stdout=output, stderr=output
        )
    try:
        for name in REGISTRIES:
            made.until(f"curl -fsS https://{name}/v2/")
        yield
    finally:
        process.terminate()
        process.wait()


def _build_image(made: Machine, bundle: Path) -> None:
    """Build the image as docs/deploying.md says, on a base made by debootstrap."""
    base = _CACHE / "debian-bookworm.tar"
    if not base.exists():
        rootfs = made.home / "rootfs"
        made.type(
            f"debootstrap --variant=minbase --include={_PACKAGES} bookworm {rootfs} && "
            f"rm -rf {rootfs}/var/cache/apt/archives/*.deb {rootfs}/var/lib/apt/lists/* && "
            f"mkdir -p {_CACHE} && tar -C {rootfs} -cf {base}.new . && mv {base}.new {base} && "
            f"rm -rf {rootfs}",
            quiet=True,
        )
    made.type(f"docker import {base} debian-python:plain", quiet=True)
    context = made.home / "base"
    context.mkdir()
    shutil.copy(bundle, context / "bundle.crt")
    # Where this machine's pip finds packages; both files may say nothing.
    settings = Path("/etc/pip.conf")
    (context / "pip.conf").write_text(settings.read_text() if settings.exists() else "")
    (context / "Dockerfile").write_text(
        f"FROM debian-python:plain\nCOPY bundle.crt {_BUNDLE}\nCOPY pip.conf /etc/pip.conf\n"
    )
    made.type("docker build --tag debian-python:bookworm .", folder=context, quiet=True)
    made.type(
        "docker build --network host --build-arg BASE=debian-python:bookworm --tag roadstead .",
        folder=_ROOT,
    )
