"""The keys that may sign tokens: ``auth.token``'s rootcertbundle and jwks.

joserfc and cryptography take a tenth of a second to import, so this module is imported only
where tokens are configured.
"""

import base64
import datetime as dt
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey, import_key

_log = logging.getLogger("roadstead.access")

Key: TypeAlias = RSAKey | ECKey | OKPKey | OctKey

_LOOK_EVERY_SECONDS: Final = 1.0
_LONGEST_CHAIN: Final = 6


class UntrustedKeyError(Exception):
    """The header of a token names no key that is trusted."""


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Certificates that vouch for keys, and keys by their ids and thumbprints."""

    roots: tuple[x509.Certificate, ...] = ()
    by_id: Mapping[str, Key] = field(default_factory=dict)

    @classmethod
    def load(cls, bundle: Path | None, jwks: Path | None) -> "TrustedKeys":
        """Read the files.

        Raises:
            OSError: one cannot be read.
            ValueError: one is not what it should be, or there is no key in them.
        """
        by_id: dict[str, Key] = {}
        roots = x509.load_pem_x509_certificates(bundle.read_bytes()) if bundle else []
        for root in roots:
            key = _key_of(root.public_key())
            for name in (_libtrust_id(root.public_key()), key.thumbprint()):
                by_id[name] = key
        for listed in _read_jwks(jwks) if jwks else []:
            by_id[listed.thumbprint()] = listed
            if listed.kid:
                by_id[listed.kid] = listed
        if not by_id:
            message = "there is no key to verify tokens with"
            raise ValueError(message)
        return cls(tuple(roots), by_id)

    def find(self, header: Mapping[str, Any], now: float) -> Key:
        """Find the key that a token says it is signed with, if it is trusted.

        In distribution's order: a chain of certificates, a key in the header, a key's id. A
        key in the header is never used itself: it only says which trusted key is meant
        (CVE-2025-24976).

        Raises:
            UntrustedKeyError: it is not, or the header is broken.
        """
        if header.get("x5c") is not None:
            return self._vouched_for(header["x5c"], now)
        given = header.get("jwk")
        if given is not None:
            if isinstance(given, Mapping) and given.get("x5c") is not None:
                return self._vouched_for(given["x5c"], now)
            return self._known(_thumbprint(given))
        return self._known(header.get("kid"))

    def _known(self, name: object) -> Key:
        key = self.by_id.get(name) if isinstance(name, str) else None
        if key is None:
            message = "the token is signed with a key that is not trusted"
            raise UntrustedKeyError(message)
        return key

    def _vouched_for(self, chain: object, now: float) -> Key:
        """Return the key of the first certificate, if the chain leads to a trusted one."""
        leaf, *between = _certificates(chain)
        at = dt.datetime.fromtimestamp(now, dt.UTC)
        if leaf in self.roots:
            if not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
                message = "the token's certificate is not valid now"
                raise UntrustedKeyError(message)
        elif not self.roots:
            message = "the token shows a certificate, and rootcertbundle has none to trust"
            raise UntrustedKeyError(message)
        else:
            _verify_chain(leaf, between, self.roots, at)
        return _key_of(leaf.public_key())


class KeyFiles:
    """Trusted keys, read again when their files change; broken files leave those of before."""

    def __init__(
        self,
        bundle: Path | None,
        jwks: Path | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read them for the first time.

        Raises:
            OSError, ValueError: see TrustedKeys.load.
        """
        self._bundle, self._jwks = bundle, jwks
        self._clock = clock
        self._next_look = clock() + _LOOK_EVERY_SECONDS
        self._seen = self._state()
        self._keys = TrustedKeys.load(bundle, jwks)

    def keys(self) -> TrustedKeys:
        """Return what is trusted now; the same object as long as nothing changed."""
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY_SECONDS
            self._look()
        return self._keys

    def _look(self) -> None:
        seen = self._state()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._keys = TrustedKeys.load(self._bundle, self._jwks)
        except (OSError, ValueError) as error:
            _log.error(
                "new keys for tokens cannot be used; those of before stay",
                extra={"fields": {"error": str(error)}},
            )
        else:
            _log.info("keys for tokens read", extra={"fields": {"keys": len(self._keys.by_id)}})

    def _state(self) -> tuple[object, ...]:
        return tuple(_state_of(path) for path in (self._bundle, self._jwks) if path)


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read_jwks(path: Path) -> list[Key]:
    try:
        document = json.loads(path.read_bytes())
        return list(KeySet.import_key_set(document).keys)
    except (JoseError, ValueError, LookupError, TypeError, AttributeError) as error:
        message = f"{path} is no set of JSON web keys: {type(error).__name__}"
        raise ValueError(message) from None


def _key_of(public: PublicKeyTypes) -> Key:
    match public:
        case rsa.RSAPublicKey():
            return RSAKey.import_key(public)
        case ec.EllipticCurvePublicKey():
            return ECKey.import_key(public)
        case ed25519.Ed25519PublicKey():
            return OKPKey.import_key(public)
        case _:
            message = "a certificate has a key of a kind that signs no tokens"
            raise ValueError(message)


def _libtrust_id(public: PublicKeyTypes) -> str:
    """Name a key as registry 2.8 does: twelve groups of base32 over 240 bits of SHA-256."""
    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[start : start + 4] for start in range(0, len(text), 4))


def _thumbprint(given: object) -> str:
    try:
        return str(import_key(dict(given)).thumbprint())  # type: ignore[call-overload]
    except Exception:  # noqa: BLE001 - see TokenProvider._verify
        message = "the key in the token's header is broken"
        raise UntrustedKeyError(message) from None


def _certificates(chain: object) -> list[x509.Certificate]:
    if not isinstance(chain, list) or not 0 < len(chain) <= _LONGEST_CHAIN:
        message = "the token's chain of certificates is empty or too long"
        raise UntrustedKeyError(message)
    try:
        return [x509.load_der_x509_certificate(base64.b64decode(entry)) for entry in chain]
    except (ValueError, TypeError):
        message = "the token's chain of certificates is broken"
        raise UntrustedKeyError(message) from None


def _verify_chain(
    leaf: x509.Certificate,
    between: list[x509.Certificate],
    roots: tuple[x509.Certificate, ...],
    at: dt.datetime,
) -> None:
    """Check signatures, validity and that every issuer is an authority, as Go's Verify does.

    Without the rules for web sites, which certificates of token servers do not keep.
    """
    authorities = ExtensionPolicy.permit_all().require_present(
        # The library itself sees to it that they say so of an issuer.
        x509.BasicConstraints,
        Criticality.AGNOSTIC,
        None,
    )
    builder = PolicyBuilder().store(Store(list(roots))).time(at.replace(tzinfo=None))
    policies = builder.extension_policies(
        ee_policy=ExtensionPolicy.permit_all(), ca_policy=authorities
    )
    try:
        policies.build_client_verifier().verify(leaf, between)
    except VerificationError:
        message = "the token's certificate is not vouched for by rootcertbundle"
        raise UntrustedKeyError(message) from None
