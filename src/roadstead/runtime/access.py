"""Builds the gate and the guard: who may pull what, and how much at one time."""

from collections.abc import Iterator
from pathlib import Path

from roadstead.config.schema import Settings
from roadstead.config.schema_access import AuthSettings, RuleSettings, TokenSettings
from roadstead.errors import ConfigError, ConfigProblem
from roadstead.mirror.mirrors import Mirrors
from roadstead.mirror.routing import any_of
from roadstead.runtime.callers import make_caller_check
from roadstead.runtime.plan import plan_upstreams
from roadstead.server.access.attempts import Attempts
from roadstead.server.access.gate import Gate, SharedHeader
from roadstead.server.access.htpasswd import HtpasswdFile
from roadstead.server.access.networks import Networks
from roadstead.server.access.passwords import PasswordChecker
from roadstead.server.access.policy import EVERYBODY, Policy, Principals, Rule
from roadstead.server.access.providers import HtpasswdProvider, Provider, SillyProvider
from roadstead.server.limits import Guard, LimitRules
from roadstead.telemetry.events import Observer


def make_gate(settings: Settings, mirrors: Mirrors) -> Gate:
    """Make the one gate of all listeners; whoever makes it closes it."""
    access = settings.access
    return Gate(
        make_policy(settings),
        mirrors=mirrors,
        provider=_provider(settings.auth),
        headers=tuple(SharedHeader(one.name, one.secret, one.identity) for one in access.headers),
        trusted_proxies=Networks.parse(access.trustedproxies),
        check=make_caller_check(settings),
    )


def make_guard(settings: Settings, observe: Observer) -> Guard:
    """Make what counts connections and requests, out of ``http.limits``."""
    limits = settings.http.limits
    rules = LimitRules(
        connections=limits.connections,
        per_client=limits.connectionsperclient,
        requests_per_second=limits.requestspersecond,
        header_bytes=limits.headersize,
        idle_seconds=limits.idletimeout.total_seconds(),
        stall_seconds=limits.stalltimeout.total_seconds(),
    )
    trusted = Networks.parse(settings.access.trustedproxies)
    return Guard(rules, trusted_proxies=trusted, observe=observe)


def make_policy(settings: Settings) -> Policy:
    """Translate the rules; without any, everybody may pull who proves what is asked for.

    Raises:
        ConfigError: a name of an upstream is none.
    """
    access = settings.access
    _check_names(settings)
    rules = tuple(map(_rule, access.rules)) or (_default_rule(settings),)
    return Policy(
        rules=rules,
        allowed=Networks.parse(access.allownetworks),
        denied=Networks.parse(access.denynetworks),
        groups={name: Principals.parse(who) for name, who in access.groups.items()},
        admins=Principals.parse(access.admins),
    )


def _check_names(settings: Settings) -> None:
    """Refuse names of upstreams that are none: a rule with a slip in it would not refuse."""
    names = [one.name for one in plan_upstreams(settings)]
    places = [("access.checkupstream", settings.access.checkupstream)]
    for index, rule in enumerate(settings.access.rules):
        places.append((f"access.rules[{index}].upstreams", rule.upstreams))
    problems = [
        ConfigProblem(path, name, "names no upstream", f"use one of {', '.join(sorted(names))}")
        for path, given in places
        for name in given
        if name not in names
    ]
    if problems:
        raise ConfigError(problems)


def _default_rule(settings: Settings) -> Rule:
    """Let in who shows what the configuration asks for, by any of the ways that it names.

    A client certificate is asked for by TLS itself, so it does not stand for a password here.
    """
    who = [f"{kind}:*" for kind in _asked_for(settings)] or [EVERYBODY]
    return Rule(allows=True, principals=Principals.parse(who))


def _asked_for(settings: Settings) -> Iterator[str]:
    if settings.auth.is_set:
        yield "user"
    if settings.access.headers:
        yield "header"


def _rule(given: RuleSettings) -> Rule:
    return Rule(
        allows=bool(given.allow),
        principals=Principals.parse(given.allow or given.deny),
        networks=Networks.parse(given.networks),
        upstreams=frozenset(given.upstreams),
        repositories=any_of(given.repositories),
    )


def _provider(auth: AuthSettings) -> Provider | None:
    if auth.silly is not None:
        return SillyProvider(realm=auth.silly.realm, service=auth.silly.service)
    if auth.htpasswd is not None:
        file = HtpasswdFile(Path(auth.htpasswd.path))
        # Tells in the log at the start, and not at the first pull, who can log in.
        file.entries()
        checker = PasswordChecker(file, attempts=Attempts())
        return HtpasswdProvider(checker, realm=auth.htpasswd.realm)
    if auth.token is not None:
        return _token_provider(auth.token)
    return None


def _token_provider(token: TokenSettings) -> Provider:
    """Make the provider of ``auth.token``; raises OSError for keys that cannot be used."""
    # A tenth of a second that only those pay who use tokens.
    from roadstead.server.access.tokens import TokenProvider  # noqa: PLC0415
    from roadstead.server.access.trust import KeyFiles  # noqa: PLC0415

    try:
        files = KeyFiles(
            Path(token.rootcertbundle) if token.rootcertbundle else None,
            Path(token.jwks) if token.jwks else None,
        )
    except ValueError as error:
        message = f"auth.token: {error}"
        raise OSError(message) from error
    return TokenProvider(
        files,
        realm=lambda host: (
            f"https://{host}{token.autoredirectpath}" if token.autoredirect else token.realm
        ),
        service=token.service,
        issuer=token.issuer,
        algorithms=token.signingalgorithms,
    )
