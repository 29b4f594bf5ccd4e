"""Certificates: whose is taken, which is shown and to whom, and what is said if it fails."""

import asyncio
import re
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from roadstead.errors import UpstreamUnreachableError
from roadstead.oci.reference import RepositoryName, Tag
from roadstead.simulator.content import SimulatedBlob
from roadstead.simulator.faults import Redirect
from roadstead.simulator.registry import ScriptedRegistry
from roadstead.upstream.client import RegistryUpstream
from roadstead.upstream.retry import Retries
from roadstead.upstream.tlscontext import make_client_context, make_client_tls, tls_failure
from tests.support.certificates import Authority, Certificate
from tests.upstream.conftest import connect

APP = RepositoryName("library/app")
LATEST = Tag("latest")


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Provide an authority that nobody knows."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def ca_file(authority: Authority) -> Path:
    """Provide the authority's certificate."""
    return authority.certificate.file


@pytest.fixture(scope="session")
def server(authority: Authority) -> Certificate:
    """Provide a certificate for 127.0.0.1."""
    return authority.issue("server")


@pytest.fixture(scope="session")
def client(authority: Authority) -> Certificate:
    """Provide a certificate for a client."""
    return authority.issue("client", subject_names="DNS:mirror")


def once(url: str, **options: Any) -> RegistryUpstream:  # noqa: ANN401 - passed on as given
    """Make an upstream that does not repeat what fails."""
    return connect(url, retries=Retries(attempts=1), **options)


async def pull(upstream: RegistryUpstream, blob: SimulatedBlob) -> bytes:
    """Fetch a manifest over one client and a blob over the other."""

    def read() -> bytes:
        transfer = upstream.open_blob(APP, blob.digest, 0)
        try:
            return b"".join(iter(transfer.read, b""))
        finally:
            transfer.close()

    await upstream.get_manifest(APP, LATEST)
    return await asyncio.to_thread(read)


async def failures(upstream: RegistryUpstream, blob: SimulatedBlob) -> list[str]:
    """Return how both clients fail."""
    messages = []
    with pytest.raises(UpstreamUnreachableError) as caught:
        await upstream.get_manifest(APP, LATEST)
    messages.append(str(caught.value))
    with pytest.raises(UpstreamUnreachableError) as caught:
        await asyncio.to_thread(upstream.open_blob, APP, blob.digest, 0)
    messages.append(str(caught.value))
    return messages


async def test_a_private_authority_is_trusted_when_named(
    server: Certificate, ca_file: Path
) -> None:
    """With the key ca, both clients take certificates of that authority."""
    async with ScriptedRegistry(tls=server.server_context()) as registry:
        layer = registry.add_image(APP, tag=LATEST).layers[0]
        async with once(registry.url, tls=make_client_tls(ca_file=ca_file)) as upstream:
            assert await pull(upstream, layer) == layer.read()


@pytest.mark.parametrize("other_trust", [False, True])
async def test_an_unknown_authority_is_refused_with_the_fix(
    server: Certificate, tmp_path: Path, *, other_trust: bool
) -> None:
    """The error says that the certificate is not trusted and which key mends it."""
    stranger = Authority(tmp_path).certificate.file
    tls = make_client_tls(ca_file=stranger) if other_trust else None
    async with ScriptedRegistry(tls=server.server_context()) as registry:
        layer = registry.add_image(APP, tag=LATEST).layers[0]
        async with once(registry.url, tls=tls) as upstream:
            for message in await failures(upstream, layer):
                assert f"cannot connect to {registry.host}" in message
                assert "certificate is not trusted" in message
                assert "the key ca names a file" in message
        assert registry.requests == []


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
async def test_insecure_takes_any_certificate(server: Certificate) -> None:
    """Without checks both clients pull from a registry that nobody vouches for."""
    async with ScriptedRegistry(tls=server.server_context()) as registry:
        layer = registry.add_image(APP, tag=LATEST).layers[0]
        async with once(registry.url, tls=make_client_tls(insecure=True)) as upstream:
            assert await pull(upstream, layer) == layer.read()


async def test_a_certificate_for_another_name_is_refused(
    authority: Authority, ca_file: Path
) -> None:
    """A trusted authority does not make a certificate fit every address."""
    elsewhere = authority.issue("elsewhere", subject_names="DNS:registry.example")
    async with ScriptedRegistry(tls=elsewhere.server_context()) as registry:
        layer = registry.add_image(APP, tag=LATEST).layers[0]
        async with once(registry.url, tls=make_client_tls(ca_file=ca_file)) as upstream:
            for message in await failures(upstream, layer):
                assert "certificate is for another name" in message
                assert "the key ca" not in message


@pytest.mark.parametrize("in_one_file", [False, True])
async def test_a_client_certificate_is_shown(
    server: Certificate, client: Certificate, ca_file: Path, tmp_path: Path, *, in_one_file: bool
) -> None:
    """A registry that wants a certificate gets it from both clients."""
    both = tmp_path / "both.pem"
    both.write_bytes(client.file.read_bytes() + client.key.read_bytes())
    tls = make_client_tls(
        ca_file=ca_file,
        client_certificate=both if in_one_file else client.file,
        client_key=None if in_one_file else client.key,
    )
    context = server.server_context(client_authority=ca_file)
    async with ScriptedRegistry(tls=context) as registry:
        layer = registry.add_image(APP, tag=LATEST).layers[0]
        async with once(registry.url, tls=tls) as upstream:
            assert await pull(upstream, layer) == layer.read()


async def test_a_missing_client_certificate_is_an_error(server: Certificate, ca_file: Path) -> None:
    """Without one, such a registry cannot be reached."""
    context = server.server_context(client_authority=ca_file)
    async with ScriptedRegistry(tls=context) as registry:
        layer = registry.add_image(APP, tag=LATEST).layers[0]
        async with once(registry.url, tls=make_client_tls(ca_file=ca_file)) as upstream:
            await failures(upstream, layer)
        assert registry.requests == []


async def test_a_client_certificate_is_not_shown_elsewhere(
    server: Certificate, client: Certificate, ca_file: Path
) -> None:
    """Where the registry redirects to is another party, and cannot have what it asks for."""
    tls = make_client_tls(ca_file=ca_file, client_certificate=client.file, client_key=client.key)
    context = server.server_context(client_authority=ca_file)
    async with (
        ScriptedRegistry(tls=context) as registry,
        ScriptedRegistry(tls=context) as storage,
        once(registry.url, tls=tls) as upstream,
    ):
        layer = registry.add_image(APP, tag=LATEST).layers[0]
        registry.inject(Redirect(f"{storage.url}/anything"), method="GET")

        await failures(upstream, layer)

        assert len(registry.requests) == 2
        assert storage.requests == []


def test_without_settings_all_upstreams_share_one_context() -> None:
    """Loading the system's authorities takes long and much memory, so it is done once."""
    assert make_client_tls() is make_client_tls()


def test_contexts_check_certificates_and_speak_no_old_version() -> None:
    """The defaults are strict, and only insecure loosens them."""
    strict, loose = make_client_context(), make_client_context(insecure=True)

    assert (strict.verify_mode, strict.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (loose.verify_mode, loose.check_hostname) == (ssl.CERT_NONE, False)
    assert strict.minimum_version is loose.minimum_version is ssl.TLSVersion.TLSv1_2


def test_unusable_files_are_named_with_their_key(
    tmp_path: Path, client: Certificate, server: Certificate
) -> None:
    """Each message has the key, the file and the reason, and nothing of what the file holds."""
    absent, text = tmp_path / "absent.pem", tmp_path / "text.pem"
    text.write_text("pl4nted is no certificate\n")
    encrypted = tmp_path / "encrypted.pem"
    command = ("openssl", "ec", "-aes256", "-passout", "pass:pl4nted")
    subprocess.run(
        [*command, "-in", client.key, "-out", encrypted], check=True, capture_output=True
    )
    cases: list[tuple[dict[str, Any], str]] = [
        ({"ca_file": absent}, f"ca {absent} cannot be read: No such file or directory"),
        ({"ca_file": text}, f"ca {text} cannot be used: it holds no certificate in PEM form"),
        ({"client_certificate": absent}, f"clientcertificate {absent} cannot be used: No such"),
        ({"client_certificate": text}, f"clientcertificate {text} cannot be used"),
        ({"client_key": absent}, f"clientkey {absent} cannot be used without clientcertificate"),
        (
            {"client_certificate": client.file, "client_key": server.key},
            f"with clientkey {server.key} cannot be used: key values mismatch",
        ),
        (
            {"client_certificate": client.file, "client_key": encrypted},
            "the key is encrypted; a key without a passphrase is needed",
        ),
    ]

    for options, expected in cases:
        with pytest.raises(OSError, match=re.escape(expected)) as caught:
            make_client_tls(**options)
        assert "pl4nted" not in str(caught.value)


async def test_a_plain_server_on_a_tls_address_is_named(registry: ScriptedRegistry) -> None:
    """An https address where http is spoken is a likely slip, so the message asks."""
    layer = registry.add_image(APP, tag=LATEST).layers[0]

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as plain:
        port = plain.sockets[0].getsockname()[1]
        async with once(f"https://127.0.0.1:{port}") as upstream:
            for message in await failures(upstream, layer):
                assert "is it an http:// address?" in message


def test_other_errors_are_no_tls_failures() -> None:
    """An ordinary broken connection is not blamed on TLS."""
    assert tls_failure(ConnectionResetError(104, "reset")) is None


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "certificate required; clientcertificate and"),
        ("SOMETHING_NEW", "TLS failed: something new"),
        (None, "TLS failed: unknown reason"),
    ],
)
def test_a_broken_handshake_is_told_in_words(reason: str | None, expected: str) -> None:
    """What the library gives as a constant is a sentence, with a fix where one is known."""
    error = ssl.SSLError(1, "whatever")
    error.reason = reason  # type: ignore[assignment] # it is None for some
    wrapped = ConnectionError("broken", error)

    assert expected in (tls_failure(wrapped) or "")


def test_an_expired_certificate_is_not_a_matter_of_trust() -> None:
    """Nothing that the operator could add would help."""
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = 10, "certificate has expired"

    assert tls_failure(error) == "its certificate is not valid: certificate has expired"
