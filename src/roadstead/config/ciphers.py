"""TLS 1.2 cipher suites: Go's names, as configurations have them, and OpenSSL's.

The suites of TLS 1.3 are always on and cannot be chosen, neither in Go nor here. Suites that
distribution 2.8 still knew but that no longer protect anything (RC4, 3DES, static RSA) are
left out on purpose.
"""

from types import MappingProxyType
from typing import Final

OPENSSL_NAMES: Final = MappingProxyType(
    {
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    }
)

ALWAYS_ON: Final = frozenset(
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
)

# distribution's default, registry.go in 2.8 and 3.x
DEFAULT: Final = tuple(OPENSSL_NAMES)[:6]


def openssl_cipher_list(suites: tuple[str, ...]) -> str:
    """Translate suites to OpenSSL's list for ``set_ciphers``; none of TLS 1.2 means the default."""
    chosen = [suite for suite in suites if suite not in ALWAYS_ON] or DEFAULT
    return ":".join(OPENSSL_NAMES[suite] for suite in chosen)
