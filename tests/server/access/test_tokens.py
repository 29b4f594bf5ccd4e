"""Tokens: what distribution accepts is accepted, and nothing else."""

import base64
import datetime as dt
import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from roadstead.server.access.providers import Question
from roadstead.server.access.scopes import Access
from roadstead.server.access.tokens import TokenProvider, parse_claims
from roadstead.server.access.trust import Key, KeyFiles, TrustedKeys, UntrustedKeyError
from tests.support.clock import Clock

NOW = 1_800_000_000.0
ALL = ("EdDSA", "HS256", "RS256", "RS512", "ES256", "PS256")
PULL = Access("repository", "library/app", "pull")
CLAIMS: Mapping[str, Any] = {
    "iss": "issuer",
    "sub": "alice",
    "aud": "mirror",
    "exp": NOW + 300,
    "nbf": NOW - 10,
    "access": [{"type": "repository", "name": "library/app", "actions": ["pull"]}],
}

Issuer = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    *,
    issuer: Issuer | None = None,
    ca: bool = False,
    days: int = 1,
) -> x509.Certificate:
    """Make a certificate for a key, signed by its issuer or by itself."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.fromtimestamp(NOW, dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=days, hours=1))
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(issuer[1] if issuer else key, hashes.SHA256())
    )


def chain(*certificates: x509.Certificate) -> list[str]:
    """Write a chain as the header x5c has it."""
    return [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in certificates]


def signed(
    key: Key, claims: Mapping[str, Any] = CLAIMS, *, alg: str = "RS256", **header: object
) -> str:
    """Sign claims; NaN and the like are written as Python writes them."""

    class Registry(jws.JWSRegistry):
        max_header_length = 1 << 20

        def check_header(self, header: Mapping[str, Any]) -> None:
            """Sign whatever a stranger might."""

    return jws.serialize_compact(
        {"alg": alg, **header},
        json.dumps(dict(claims)),
        key,
        algorithms=[alg],
        registry=Registry(algorithms=[alg], strict_check_header=False),
    )


def by_hmac(secret: bytes, kid: str, body: str) -> str:
    """Sign with a text that everybody knows, which joserfc itself would not do."""
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": kid}).encode())
    covered = f"{head.decode().rstrip('=')}.{body}"
    signature = base64.urlsafe_b64encode(hmac.digest(secret, covered.encode(), "sha256"))
    return f"{covered}.{signature.decode().rstrip('=')}"


class Server:
    """A token server's keys, and a provider that trusts them."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock(NOW)
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.root = certificate("root", self.rsa)
        self.ca_key = ec.generate_private_key(ec.SECP256R1())
        self.ca = certificate("authority", self.ca_key, ca=True)
        self.bundle, self.jwks = folder / "bundle.pem", folder / "jwks.json"
        self.bundle.write_bytes(
            b"".join(one.public_bytes(Encoding.PEM) for one in (self.root, self.ca))
        )
        self.listed = RSAKey.generate_key(2048, {"kid": "listed"})
        self.octet = OctKey.generate_key(256, {"kid": "octet"})
        self.edwards = OKPKey.generate_key("Ed25519", {"kid": "edwards"})
        self.write_jwks(self.listed, self.edwards)
        self.key = RSAKey.import_key(self.rsa)

    def write_jwks(self, *keys: Key) -> None:
        """Publish keys; of an octet key there is only the secret one."""
        public = [key.as_dict(private=isinstance(key, OctKey)) for key in (*keys, self.octet)]
        self.jwks.write_text(json.dumps({"keys": public}))

    def provider(self, *, algorithms: tuple[str, ...] = ALL) -> TokenProvider:
        """Make a provider."""
        return TokenProvider(
            KeyFiles(self.bundle, self.jwks, clock=self.clock),
            realm=lambda host: f"https://{host}/token",
            service="mirror",
            issuer="issuer",
            algorithms=algorithms,
            clock=self.clock,
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Give keys, which take long to make."""
    return Server(tmp_path_factory.mktemp("keys"))


async def error_of(
    provider: TokenProvider, token: str, *wanted: Access, aliases: frozenset[str] = frozenset()
) -> str | None:
    """Return what a provider has against a token; None if it lets alice through."""
    question = Question(f"Bearer {token}", wanted=wanted or (PULL,), aliases=aliases)
    proof = await provider.examine(question)
    assert bool(proof.identities) is (proof.error is None)
    return proof.error


async def test_every_way_to_name_a_trusted_key(server: Server) -> None:
    """By certificate, chain, key and id, in the forms of registry 2.8 and 3."""
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    leaf = certificate("leaf", leaf_key, issuer=(server.ca, server.ca_key))
    between_key = ec.generate_private_key(ec.SECP256R1())
    between = certificate("between", between_key, issuer=(server.ca, server.ca_key), ca=True)
    deep = certificate("deep", leaf_key, issuer=(between, between_key))
    elliptic = ECKey.import_key(leaf_key)
    public = server.key.as_dict(private=False)
    roots = TrustedKeys.load(server.bundle, None)
    libtrust = next(name for name in roots.by_id if ":" in name)
    provider = server.provider()

    tokens = {
        "certificate": signed(server.key, x5c=chain(server.root)),
        "issued": signed(elliptic, alg="ES256", x5c=chain(leaf)),
        "chain": signed(elliptic, alg="ES256", x5c=chain(deep, between)),
        "jwk": signed(server.key, jwk=public),
        "jwk with chain": signed(elliptic, alg="ES256", jwk={"kty": "EC", "x5c": chain(leaf)}),
        "libtrust": signed(server.key, kid=libtrust),
        "thumbprint": signed(server.key, kid=server.key.thumbprint()),
        "jwks": signed(server.listed, kid="listed"),
        "PSS": signed(server.listed, alg="PS256", kid="listed"),
        "HMAC": signed(server.octet, alg="HS256", kid="octet"),
        "Edwards": signed(server.edwards, alg="Ed25519", kid="edwards"),
        "more in the header": signed(server.listed, kid="listed", typ="JWT", more=1),
    }

    assert {name: await error_of(provider, token) for name, token in tokens.items()} == (
        dict.fromkeys(tokens)
    )


async def test_no_other_key_is_trusted(server: Server) -> None:
    """Keys of strangers, however they are named, and keys used for what they are not for."""
    stranger = RSAKey.generate_key(2048, {"kid": "listed"})
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    foreign_ca = certificate("authority", leaf_key, ca=True)
    elliptic = ECKey.import_key(leaf_key)
    issued = (server.ca, server.ca_key)
    leaf = certificate("leaf", leaf_key, issuer=issued)
    by_leaf = certificate("below", leaf_key, issuer=(leaf, leaf_key))
    pem = server.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = signed(server.key, x5c=chain(server.root))
    head, body, signature = good.split(".")
    none_head = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    tokens = {
        "id of another": signed(stranger, kid="listed"),
        # CVE-2025-24976: the id of a trusted key, and the key of a stranger.
        "jwk of a stranger": signed(stranger, jwk=stranger.as_dict(private=False), kid="listed"),
        "jwk with the id": signed(
            stranger, jwk={**stranger.as_dict(private=False), "kid": server.key.thumbprint()}
        ),
        "self-signed": signed(elliptic, alg="ES256", x5c=chain(foreign_ca)),
        "same name": signed(
            elliptic,
            alg="ES256",
            x5c=chain(certificate("x", leaf_key, issuer=(foreign_ca, leaf_key))),
        ),
        "chain of another": signed(stranger, x5c=chain(server.root)),
        "below a leaf": signed(elliptic, alg="ES256", x5c=chain(by_leaf, leaf)),
        "no chain": signed(server.key, x5c=[]),
        "long chain": signed(server.key, x5c=chain(*[server.root] * 7)),
        "broken chain": signed(server.key, x5c=["AAAA"]),
        "chain of numbers": signed(server.key, x5c=[1]),
        "no key named": signed(server.key),
        "kid of a list": signed(server.key, kid="nobody"),
        "broken jwk": signed(server.key, jwk={"kty": "RSA", "n": "!", "e": "?"}),
        "HMAC with the public key": by_hmac(pem, server.key.thumbprint(), body),
        "none": f"{none_head}.{body}.",
        "no signature": f"{head}.{body}.",
        "cut": good[:-8],
        "other body": f"{head}.{body[:-4]}AAAA.{signature}",
        "text": "token",
        "dots": "..",
        "more dots": f"{good}.x",
        "critical": signed(server.listed, kid="listed", crit=["more"], more=1),
        "endless": "a" * 100_000,
        "not ascii": f"é{good}",
    }
    provider = server.provider()

    found = {name: await error_of(provider, token) for name, token in tokens.items()}

    assert found == dict.fromkeys(tokens, "invalid_token")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({}, None),
        ({"iss": "other"}, "invalid_token"),
        ({"iss": None}, "invalid_token"),
        ({"aud": "other"}, "invalid_token"),
        ({"aud": ["other", "mirror"]}, None),
        ({"aud": []}, "invalid_token"),
        ({"aud": "mirror2"}, "invalid_token"),
        ({"exp": NOW - 59}, None),
        ({"exp": NOW - 61}, "invalid_token"),
        ({"exp": float("nan")}, "invalid_token"),
        ({"exp": float("inf")}, "invalid_token"),
        ({"exp": 10**400}, "invalid_token"),
        ({"exp": True}, "invalid_token"),
        ({"exp": str(NOW + 300)}, "invalid_token"),
        ({"exp": None}, "invalid_token"),
        ({"nbf": NOW + 59}, None),
        ({"nbf": NOW + 61}, "invalid_token"),
        ({"sub": 7}, "invalid_token"),
        ({"sub": ""}, None),
        ({"access": None}, "insufficient_scope"),
        ({"access": []}, "insufficient_scope"),
        ({"access": [{"type": "repository", "name": "library/app"}]}, "invalid_token"),
        ({"access": "repository:library/app:pull"}, "invalid_token"),
        ({"access": {"type": "repository"}}, "invalid_token"),
    ],
)
async def test_claims(server: Server, change: dict[str, Any], error: str | None) -> None:
    """Issuer, audience and times with distribution's minute of leeway; odd types are refused."""
    token = signed(server.listed, {**CLAIMS, **change}, kid="listed")

    assert await error_of(server.provider(), token) == error


def granting(kind: str, name: str, *actions: str) -> Mapping[str, Any]:
    """Claim access."""
    return {**CLAIMS, "access": [{"type": kind, "name": name, "actions": list(actions)}]}


@pytest.mark.parametrize(
    ("claims", "covers"),
    [
        (granting("repository", "library/app", "pull"), True),
        (granting("repository", "library/app", "*"), True),
        (granting("repository", "library/app", "push", "pull"), True),
        (granting("repository", "app", "pull"), True),
        (granting("repository", "library/app", "push"), False),
        (granting("repository", "library/app", "delete"), False),
        (granting("repository", "library/ap", "pull"), False),
        (granting("repository", "library/*", "pull"), False),
        (granting("repository", "*", "pull"), False),
        (granting("registry", "library/app", "pull"), False),
        (granting("repository(plugin)", "library/app", "pull"), False),
        (granting("repository", "", "pull"), False),
    ],
)
async def test_access(server: Server, claims: Mapping[str, Any], *, covers: bool) -> None:
    """Type, name and action match exactly; an alias is another spelling of the same thing."""
    token = signed(server.listed, claims, kid="listed")
    error = await error_of(server.provider(), token, PULL, aliases=frozenset({"app"}))

    assert error == (None if covers else "insufficient_scope")


async def test_all_that_is_wanted_must_be_granted(server: Server) -> None:
    """A catalog is no repository, and its name has no alias."""
    provider = server.provider()
    catalog = Access("registry", "catalog", "*")
    token = signed(server.listed, granting("registry", "catalog", "*"), kid="listed")

    assert await error_of(provider, token, catalog) is None
    assert await error_of(provider, token, catalog, PULL) == "insufficient_scope"
    token = signed(server.listed, granting("registry", "library/app", "*"), kid="listed")
    alias = frozenset({"library/app"})
    assert await error_of(provider, token, catalog, aliases=alias) == "insufficient_scope"


async def test_only_configured_algorithms_count(server: Server) -> None:
    """A key of the right kind does not help."""
    token = signed(server.listed, alg="RS256", kid="listed")

    assert await error_of(server.provider(algorithms=("RS512",)), token) == "invalid_token"
    assert await error_of(server.provider(algorithms=("RS256",)), token) is None


async def test_a_token_expires_although_it_is_remembered(server: Server) -> None:
    """The signature is checked once, the times each time."""
    provider = server.provider()
    token = signed(server.listed, kid="listed")
    try:
        assert await error_of(provider, token) is None
        server.clock.advance(361.0)
        assert await error_of(provider, token) == "invalid_token"
    finally:
        server.clock.now = NOW


async def test_a_key_that_is_withdrawn_is_not_trusted_any_longer(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Files are read again when they change; broken ones leave what was."""
    provider = server.provider()
    token = signed(server.listed, kid="listed")
    try:
        assert await error_of(provider, token) is None
        server.jwks.write_text("{")
        server.clock.advance(2.0)
        assert await error_of(provider, token) is None
        assert "cannot be used" in caplog.text
        server.write_jwks()
        server.clock.advance(2.0)
        assert await error_of(provider, token) == "invalid_token"
    finally:
        server.write_jwks(server.listed, server.edwards)
        server.clock.now = NOW


async def test_an_expired_certificate_signs_nothing(server: Server) -> None:
    """Neither one of the bundle nor one that it vouches for."""
    leaf_key = ec.generate_private_key(ec.SECP256R1())
    leaf = certificate("leaf", leaf_key, issuer=(server.ca, server.ca_key))
    keys = TrustedKeys.load(server.bundle, None)
    later = NOW + 3 * 86400

    for shown in (server.root, leaf):
        keys.find({"x5c": chain(shown)}, NOW)
        with pytest.raises(UntrustedKeyError):
            keys.find({"x5c": chain(shown)}, later)


@pytest.mark.parametrize(
    ("bundle", "jwks"),
    [("", None), ("no certificate", None), (None, "{}"), (None, "[]"), (None, '{"keys": [1]}')],
)
def test_files_without_keys_are_refused(
    tmp_path: Path, bundle: str | None, jwks: str | None
) -> None:
    """A mirror whose tokens nobody can have does not start."""
    paths: list[Path | None] = []
    for name, text in (("bundle", bundle), ("jwks", jwks)):
        paths.append(None if text is None else tmp_path / name)
        if text is not None:
            (tmp_path / name).write_text(text)

    with pytest.raises(ValueError, match=r"."):
        TrustedKeys.load(*paths)


async def test_nothing_and_other_schemes_prove_nothing(server: Server) -> None:
    """They are no mistakes either: the client is told what is wanted."""
    provider = server.provider()
    for authorization in ("", "Basic YTpi", "Bearer", "bearer "):
        proof = await provider.examine(Question(authorization, wanted=(PULL,)))
        assert not proof.identities

    question = Question("", wanted=(PULL,), host="mirror:5000")
    expected = (
        'Bearer realm="https://mirror:5000/token",service="mirror",'
        'scope="repository:library/app:pull"'
    )
    assert provider.challenge(question, "") == expected
    assert provider.challenge(question, "invalid_token") == f'{expected},error="invalid_token"'


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "access"])


@given(st.dictionaries(KEYS, JSON) | JSON)
def test_made_up_claims_never_break_anything(document: object) -> None:
    """They are claims, or refused in one of the ways that are expected."""
    try:
        claims = parse_claims(document)
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError):
        return
    assert all(isinstance(part, str) for grant in claims.access for part in grant)
