"""WWW-Authenticate is read as registries send it, whatever they send."""

from hypothesis import given
from hypothesis import strategies as st

from roadstead.upstream.challenge import Challenge, parse_challenges

_TOKEN = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789-_.", min_size=1, max_size=12)
_VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)


def test_docker_hub_is_read() -> None:
    """A Bearer challenge gives realm, service and scope; commas inside quotes stay."""
    header = (
        'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",'
        'scope="repository:library/app:pull,push"'
    )

    (challenge,) = parse_challenges([header])

    assert challenge.scheme == "bearer"
    assert challenge.parameters == {
        "realm": "https://auth.docker.io/token",
        "service": "registry.docker.io",
        "scope": "repository:library/app:pull,push",
    }


def test_several_challenges_are_told_apart() -> None:
    """Two challenges in one header and a third in another come out in order."""
    headers = [
        'BEARER Realm="https://a.example/t", service=x, Basic realm="a \\"quoted\\" name"',
        "Negotiate a87421000492aa874209af8bc028==",
    ]

    assert parse_challenges(headers) == [
        Challenge("bearer", {"realm": "https://a.example/t", "service": "x"}),
        Challenge("basic", {"realm": 'a "quoted" name'}),
        Challenge("negotiate"),
    ]


def test_unquoted_values_are_read() -> None:
    """nvcr.io quotes nothing."""
    (challenge,) = parse_challenges(
        ["Bearer realm=https://nvcr.io/proxy_auth,scope=repository:nvidia/cuda:pull"]
    )

    assert challenge.get("realm") == "https://nvcr.io/proxy_auth"
    assert challenge.get("scope") == "repository:nvidia/cuda:pull"
    assert challenge.get("service") == ""


def test_the_first_of_two_equal_parameters_counts() -> None:
    """A second realm does not replace the first."""
    (challenge,) = parse_challenges(['Bearer realm="https://a/t",realm="https://b/t"'])

    assert challenge.get("realm") == "https://a/t"


@given(
    st.lists(
        st.tuples(_TOKEN, st.dictionaries(_TOKEN.map(str.lower), _VALUE, min_size=1, max_size=4)),
        max_size=4,
    )
)
def test_what_is_written_by_the_grammar_is_read_back(
    written: list[tuple[str, dict[str, str]]],
) -> None:
    """Any challenges, quoted as RFC 9110 says and joined in one header, come back the same."""
    header = ", ".join(
        f"{scheme} {', '.join(f'{name}={_quote(value)}' for name, value in parameters.items())}"
        for scheme, parameters in written
    )

    assert parse_challenges([header]) == [
        Challenge(scheme.lower(), parameters) for scheme, parameters in written
    ]


@given(st.lists(st.text(max_size=200), max_size=3))
def test_nothing_makes_it_fail(headers: list[str]) -> None:
    """Any text at all gives some challenges, and no exception."""
    for challenge in parse_challenges(headers):
        assert challenge.scheme == challenge.scheme.lower()


def _quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
