"""The policy: what is allowed, and that nothing else is."""

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.mirror.routing import any_of
from roadstead.server.access.networks import Networks
from roadstead.server.access.policy import Caller, Identity, Policy, Principals, Rule

OFFICE = "10.1.0.0/16"


def rule(
    effect: str,
    *who: str,
    networks: tuple[str, ...] = (),
    upstreams: tuple[str, ...] = (),
    repositories: tuple[str, ...] = (),
) -> Rule:
    """Write a rule as the configuration has it."""
    return Rule(
        allows=effect == "allow",
        principals=Principals.parse(who),
        networks=Networks.parse(networks),
        upstreams=frozenset(upstreams),
        repositories=any_of(repositories),
    )


def caller(address: str | None = "192.0.2.1", *identities: str) -> Caller:
    """Make a caller; identities are written ``kind:name``."""
    pairs = (text.split(":", 1) for text in identities)
    return Caller(
        None if address is None else ip_address(address),
        frozenset(Identity(kind, name) for kind, name in pairs),
    )


RULES = (
    rule("deny", "user:mallory"),
    rule("allow", "everybody", networks=(OFFICE,), upstreams=("docker.io",)),
    rule("deny", "everybody", upstreams=("docker.io",), repositories=("secret/*",)),
    rule("allow", "group:dev", "certificate:ci-*", repositories=("library/*", "org/*")),
    rule("allow", "user:root"),
)
POLICY = Policy(RULES, groups={"dev": Principals.parse(["user:alice", "header:dev"])})


@pytest.mark.parametrize(
    ("who", "upstream", "repository", "allowed"),
    [
        (caller(), "docker.io", "library/app", False),
        (caller("10.1.2.3"), "docker.io", "library/app", True),
        (caller("10.1.2.3"), "docker.io", "secret/app", True),
        (caller("10.1.2.3"), "ghcr.io", "library/app", False),
        (caller("10.2.2.3"), "docker.io", "library/app", False),
        (caller("10.1.2.3", "user:mallory"), "docker.io", "library/app", False),
        (caller("192.0.2.1", "user:alice"), "ghcr.io", "org/app", True),
        (caller("192.0.2.1", "user:alice"), "ghcr.io", "other/app", False),
        (caller("192.0.2.1", "header:dev"), "ghcr.io", "org/app", True),
        # Kinds are kept apart: a certificate that says alice is not the user.
        (caller("192.0.2.1", "certificate:alice"), "ghcr.io", "org/app", False),
        (caller("192.0.2.1", "organization:dev"), "ghcr.io", "org/app", False),
        (caller("192.0.2.1", "certificate:ci-7"), "ghcr.io", "org/app", True),
        (caller("192.0.2.1", "user:ci-7"), "ghcr.io", "org/app", False),
        (caller("192.0.2.1", "user:root"), "ghcr.io", "any/thing", True),
        (caller("192.0.2.1", "user:root"), "docker.io", "secret/app", False),
        (caller(None), "docker.io", "library/app", False),
        (caller(None, "user:root"), "ghcr.io", "any/thing", True),
        (caller("192.0.2.1", "user:ROOT"), "ghcr.io", "any/thing", False),
        (caller("192.0.2.1", "user:rootkit"), "ghcr.io", "any/thing", False),
        # A pattern of repositories covers the whole name.
        (caller("192.0.2.1", "user:alice"), "ghcr.io", "x/org/app", False),
    ],
)
def test_the_first_rule_that_fits_decides(
    who: Caller, upstream: str, repository: str, *, allowed: bool
) -> None:
    """By identity, group, network, upstream and repository; without a rule it is no."""
    assert POLICY.may_read(POLICY.with_groups(who), upstream, repository) is allowed


def test_without_rules_nobody_may_anything() -> None:
    """An empty policy is closed."""
    nobody = Policy()

    assert not nobody.may_read(caller("10.1.2.3", "user:root"), "docker.io", "library/app")
    assert not nobody.may_enter(caller())
    assert not nobody.is_admin(caller("127.0.0.1", "user:root"))


def test_networks_stand_before_everything() -> None:
    """Outside the allowed and inside the denied networks no identity helps."""
    policy = Policy(
        (rule("allow", "everybody"),),
        allowed=Networks.parse(["10.0.0.0/8"]),
        denied=Networks.parse([OFFICE]),
        admins=Principals.parse(["user:root"]),
    )

    for address, admitted in (
        ("10.2.0.1", True),
        ("10.1.0.1", False),
        ("192.0.2.1", False),
        (None, False),
    ):
        root = caller(address, "user:root")
        assert policy.may_read(root, "docker.io", "library/app") is admitted
        assert policy.is_admin(root) is admitted
        assert policy.may_enter(root) is admitted


@pytest.mark.parametrize("text", ["", "alice", "user:", ":x", "role:x", "Everybody", "user"])
def test_what_is_no_principal_is_refused(text: str) -> None:
    """A slip of the pen never becomes a pattern."""
    with pytest.raises(ValueError, match="is no principal"):
        Principals.parse([text])


PRINCIPALS = st.sampled_from(
    ["everybody", "authenticated", "user:a", "user:*", "group:g", "certificate:a", "header:a"]
)
NETWORKS = st.sampled_from(["10.0.0.0/8", OFFICE, "192.0.2.0/24", "fd00::/8"])
PATTERNS = st.sampled_from(["library/*", "library/app", "org/**", "*"])
UPSTREAMS = st.sampled_from(["docker.io", "ghcr.io"])
TUPLES = {"max_size": 2}
RULE = st.builds(
    lambda effect, who, networks, upstreams, repositories: rule(
        effect,
        *who,
        networks=tuple(networks),
        upstreams=tuple(upstreams),
        repositories=tuple(repositories),
    ),
    st.sampled_from(["allow", "deny"]),
    st.lists(PRINCIPALS, min_size=1, max_size=2),
    st.lists(NETWORKS, max_size=2),
    st.lists(UPSTREAMS, max_size=1),
    st.lists(PATTERNS, max_size=2),
)
POLICIES = st.builds(
    lambda rules, allowed, denied: Policy(
        tuple(rules),
        allowed=Networks.parse(allowed),
        denied=Networks.parse(denied),
        groups={"g": Principals.parse(["header:a"])},
    ),
    st.lists(RULE, max_size=5),
    st.lists(NETWORKS, max_size=1),
    st.lists(NETWORKS, max_size=1),
)
ADDRESSES = st.sampled_from(["10.1.0.1", "10.2.0.1", "192.0.2.1", "fd00::1", "203.0.113.1"])
CALLERS = st.builds(
    lambda address, identities: caller(address, *identities),
    st.none() | ADDRESSES,
    st.sets(st.sampled_from(["user:a", "user:b", "certificate:a", "header:a", "organization:a"])),
)
REPOSITORIES = st.sampled_from(["library/app", "library/other", "org/a/b", "elsewhere"])


@given(POLICIES, CALLERS, UPSTREAMS, REPOSITORIES)
def test_nothing_is_open_that_no_rule_opens(
    policy: Policy, who: Caller, upstream: str, repository: str
) -> None:
    """Whoever may read is let in by a rule that fits in every part, and by the networks."""
    who = policy.with_groups(who)
    if not policy.may_read(who, upstream, repository):
        return

    fitting = [
        one for one in policy.rules if one.is_about(who) and one.covers(upstream, repository)
    ]
    assert fitting[0].allows
    assert fitting[0].principals.match(who)
    assert not fitting[0].networks or (
        who.address is not None and who.address in fitting[0].networks
    )
    assert not fitting[0].upstreams or upstream in fitting[0].upstreams
    assert policy.admits(who.address)
    assert policy.may_enter(who)


@given(POLICIES, CALLERS, UPSTREAMS, REPOSITORIES, RULE)
def test_a_refusal_in_front_never_opens(
    policy: Policy, who: Caller, upstream: str, repository: str, more: Rule
) -> None:
    """One more ``deny`` at the top closes or changes nothing."""
    refusal = Rule(False, more.principals, more.networks, more.upstreams, more.repositories)  # noqa: FBT003 - positional on purpose
    closer = Policy((refusal, *policy.rules), policy.allowed, policy.denied, policy.groups)
    who = policy.with_groups(who)

    if closer.may_read(who, upstream, repository):
        assert policy.may_read(who, upstream, repository)


@given(POLICIES, CALLERS, UPSTREAMS, REPOSITORIES, ADDRESSES)
def test_an_unknown_address_opens_no_more_than_any_other(
    policy: Policy, who: Caller, upstream: str, repository: str, address: str
) -> None:
    """Hiding where one comes from never helps."""
    hidden = policy.with_groups(Caller(None, who.identities))
    seen = Caller(ip_address(address), hidden.identities)

    if policy.may_read(hidden, upstream, repository):
        assert policy.may_read(seen, upstream, repository)


@given(POLICIES)
def test_open_means_open(policy: Policy) -> None:
    """Nobody has to be asked only if the answer is yes for everybody and everything."""
    if policy.is_open:
        assert policy.may_read(Caller(IPv4Address("203.0.113.9")), "any.example", "any/thing")
        assert policy.may_read(Caller(), "any.example", "any/thing")
