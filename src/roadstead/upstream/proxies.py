"""The HTTP proxy on the way to an address: an upstream's own, or the environment's."""

import urllib.request
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from roadstead.secrecy import Secret
from roadstead.upstream.address import Origin
from roadstead.upstream.credentials import Credentials, basic


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """A proxy; ``url`` may be printed, since what was before its ``@`` is in ``authorization``."""

    url: str
    authorization: Secret | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What the proxy, and nobody else, is to be sent."""
        if self.authorization is None:
            return {}
        return {"Proxy-Authorization": self.authorization.reveal()}

    @staticmethod
    def parse(text: str) -> "HttpProxy":
        """Read a proxy's address; without a scheme it is ``http``.

        Raises:
            ValueError: it is no http or https address. Nothing of it is repeated.
        """
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            userinfo, _, place = parts.netloc.rpartition("@")
            origin = Origin.parse(f"{parts.scheme}://{place}")
        except ValueError:
            message = "is no http or https address"
            raise ValueError(message) from None
        if not userinfo:
            return HttpProxy(origin.url)
        username, _, password = userinfo.partition(":")
        credentials = Credentials(unquote(username), Secret(unquote(password)))
        return HttpProxy(origin.url, basic(credentials))


def environment_proxy(url: str) -> HttpProxy | None:
    """Return what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say; None is a direct connection.

    Raises:
        ValueError: the proxy that they name is no http or https address.
    """
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return HttpProxy.parse(proxy) if proxy else None
