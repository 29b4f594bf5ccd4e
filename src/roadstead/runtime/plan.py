"""Which upstreams there are, and by which names: worked out of the settings.

The default upstream (``proxy``) has the root of the store, so that a volume of registry:2 is one
of Roadstead's; the others are stored under their names. The well-known public registries are
there without configuration, unless ``mirror.wellknown`` is false.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from roadstead.config.schema import Settings
from roadstead.config.schema_proxy import NamedUpstreamSettings, UpstreamSettings
from roadstead.errors import ConfigError, ConfigProblem
from roadstead.mirror.routing import RouteRules
from roadstead.upstream.naming import WELL_KNOWN, is_docker_hub, names_of, namespace_at


@dataclass(frozen=True, slots=True)
class PlannedUpstream:
    """One upstream to build: where it is, what is said of it, and how requests find it."""

    url: str
    settings: UpstreamSettings
    rules: RouteRules

    @property
    def name(self) -> str:
        """Its name in the configuration, in metrics and in headers."""
        return self.rules.name

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The URLs to ask, in order."""
        return self.settings.endpoints or (self.url,)

    def namespace_at(self, url: str) -> str | None:
        """Name the registry for an endpoint that is a mirror of it; None at itself."""
        host, origin = urlsplit(url).netloc, urlsplit(self.url).netloc
        return namespace_at(host, name=self.name, origin=origin)


def plan_upstreams(settings: Settings) -> list[PlannedUpstream]:
    """List all upstreams; the default one is ``default_name(settings)``.

    Named ones come first, because what the configuration says about a name outweighs what the
    default upstream and the well-known ones would claim.

    Raises:
        ConfigError: an upstream has the default one's name.
    """
    default = _default(settings)
    if default.name in settings.upstreams:
        raise ConfigError(
            [
                ConfigProblem(
                    path=f"upstreams.{default.name}",
                    value="a section",
                    reason="is the default upstream, which the proxy section describes",
                    fix="move its keys to proxy, or name another default in proxy.remoteurl",
                )
            ]
        )
    named = [_named(name, given) for name, given in settings.upstreams.items()]
    taken = {name for planned in (*named, default) for name in planned.rules.names}
    return [*named, default, *(_well_known(settings, taken))]


def default_name(settings: Settings) -> str:
    """Return the name of the default upstream."""
    host = urlsplit(settings.proxy.remoteurl).netloc
    return "docker.io" if is_docker_hub(host) else host


def _default(settings: Settings) -> PlannedUpstream:
    proxy = settings.proxy
    host = urlsplit(proxy.remoteurl).netloc
    return PlannedUpstream(
        url=proxy.remoteurl,
        settings=proxy,
        rules=RouteRules(
            name=default_name(settings),
            names=names_of(host, proxy.aliases),
            adds_library=is_docker_hub(host),
            allow=proxy.allow,
            deny=proxy.deny,
        ),
    )


def _named(name: str, given: NamedUpstreamSettings) -> PlannedUpstream:
    url = given.remoteurl or WELL_KNOWN.get(name) or f"https://{name}"
    host = urlsplit(url).netloc
    hub = is_docker_hub(host)
    own = names_of(host) if hub else frozenset({host})
    return PlannedUpstream(
        url=url,
        settings=given,
        rules=RouteRules(
            name=name,
            names=frozenset({name, *given.aliases}) | own,
            store_prefix=_store_prefix(name),
            hosts=frozenset(given.hosts),
            adds_library=hub,
            allow=given.allow,
            deny=given.deny,
        ),
    )


def _well_known(settings: Settings, taken: set[str]) -> Iterator[PlannedUpstream]:
    if not settings.mirror.wellknown:
        return
    for name in WELL_KNOWN:
        if name not in taken:
            yield _named(name, NamedUpstreamSettings())


def _store_prefix(name: str) -> str:
    """Make the first component of stored names; a port's colon cannot stand in one."""
    return f"{name.replace(':', '_')}/"
