"""Where a request goes: origins, redirect targets, and addresses that may be printed."""

from dataclasses import dataclass
from urllib.parse import quote, urlencode, urljoin, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}

# All that may stand in an address (RFC 3986), per cent signs included: what is encoded stays.
_ALLOWED = "%:/?#[]@!$&'()*+,;=-._~"


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port: the unit that a credential belongs to (RFC 6454)."""

    scheme: str
    host: str
    port: int

    @staticmethod
    def parse(url: str) -> "Origin":
        """Read the origin of an absolute http or https URL; its path is not looked at.

        Raises:
            ValueError: the URL has another scheme, no host, or user information.
        """
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            message = "is no http or https address"
            raise ValueError(message)
        if "@" in parts.netloc:
            message = "holds user information"
            raise ValueError(message)
        port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
        return Origin(parts.scheme, parts.hostname.rstrip(".").lower(), port)

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Address without a path."""
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class Api:
    """The registry API at an origin.

    ``namespace`` tells a mirror which registry is meant, as containerd does with ``?ns=``.
    """

    origin: Origin
    namespace: str | None = None

    def address(self, repository: str, rest: str, **query: object) -> str:
        """Write the address of something in a repository; a query that is None is left out."""
        given = {key: value for key, value in query.items() if value is not None}
        if self.namespace is not None:
            given["ns"] = self.namespace
        end = f"?{urlencode(given)}" if given else ""
        return f"{self.origin.url}/v2/{repository}/{rest}{end}"


def redirect_target(url: str, location: str) -> str:
    """Resolve a Location, which may be relative, against the address that sent it.

    Raises:
        ValueError: it leads from https to http, or to no http address at all.
    """
    target = quote(urljoin(url, location).partition("#")[0], safe=_ALLOWED)
    if Origin.parse(target).scheme == "http" and Origin.parse(url).scheme == "https":
        message = "leads from https to http"
        raise ValueError(message)
    return target


def printable(url: str) -> str:
    """Cut user information and the query, which may be a signature, from an address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:300]
