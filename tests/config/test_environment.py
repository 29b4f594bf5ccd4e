"""Variables override the document by distribution's rules, repaired where those crash."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.config.compat import KEYS
from roadstead.config.document import Value, parse_document, resolve
from roadstead.config.environment import Overridden, origin, override
from roadstead.config.key import Status
from tests.config.samples import (
    SAMPLES,
    complete,
    document_of,
    parts_of,
    settings_of,
    variable_of,
)


def overridden(text: str, **environ: str) -> Overridden:
    """Override the document of this text."""
    document = parse_document(text) or {}
    assert isinstance(document, dict)
    return override(document, {f"REGISTRY_{name}": value for name, value in environ.items()})


def test_there_is_a_sample_of_every_working_key() -> None:
    """The properties below speak of the whole schema."""
    names = {"service", "x-one", "x-two", "ghcr", "ours", "0", "1"}
    shapes = {tuple(part for part in parts_of(path) if part not in names) for path in SAMPLES}
    working = {
        tuple(part for part in key.path.replace("[]", "").split(".") if part not in {"*", "**"})
        for key in KEYS
        if key.status is Status.WORKS
    }

    # What excludes something else is left out, for the samples are put together at will.
    exclusive = {
        ("access", "checkupstream"),
        ("auth", "silly"),
        ("auth", "token"),
        ("http", "tls", "letsencrypt"),
    }
    working = {path for path in working if not {path[:2], path[:3]} & exclusive}
    sections = {("health", "file"), ("health", "http"), ("health", "tcp")}
    assert shapes == working - sections - {("version",), ("loglevel",)}


@pytest.mark.parametrize("path", sorted(SAMPLES))
def test_a_variable_does_what_the_file_does(path: str) -> None:
    """Setting any one leaf by variable equals setting it in the file, and changes something."""
    rest = complete({path}) - {path}

    by_file = settings_of(document_of(rest | {path}), {})
    by_variable = settings_of(document_of(rest), {variable_of(path): SAMPLES[path]})

    assert by_variable == by_file


@given(st.sets(st.sampled_from(sorted(SAMPLES))), st.randoms(use_true_random=False))
def test_any_set_of_variables_does_what_the_file_does(chosen: set[str], random: Random) -> None:
    """Many leaves at once, in any order of the environment, partly in the file."""
    paths = complete(chosen)
    in_file = {path for path in paths if random.random() < 0.5 and "[" not in path}
    names = [variable_of(path) for path in paths - in_file]
    random.shuffle(names)
    values = {variable_of(path): SAMPLES[path] for path in paths}

    mixed = settings_of(document_of(in_file), {name: values[name] for name in names})

    assert mixed == settings_of(document_of(paths), {})


@given(st.dictionaries(st.text("abcdefgh", min_size=1), st.integers() | st.booleans(), min_size=1))
def test_a_whole_section_can_be_given_as_yaml(fields: dict[str, int]) -> None:
    """A variable's value is a YAML document."""
    payload = ", ".join(f"{name}: {value}" for name, value in fields.items())

    found = settings_of({"storage": "filesystem"}, {"REGISTRY_LOG_FIELDS": f"{{{payload}}}"})

    assert found.log.fields == fields


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HEALTH_FILECHECKERS_0_FILE", "/x", {"health": {"file": [{"file": "/x"}]}}),
        ("HEALTH_FILE_0_FILE", "/x", {"health": {"file": [{"file": "/x"}]}}),
        ("HEALTH_HTTPCHECKERS", "[{uri: u}]", {"health": {"http": [{"uri": "u"}]}}),
        ("HEALTH_TCPCHECKERS_0_ADDR", "a:1", {"health": {"tcp": [{"addr": "a:1"}]}}),
        (
            "NOTIFICATIONS_EVENTCONFIG_INCLUDEREFERENCES",
            "true",
            {"notifications": {"events": {"includereferences": "true"}}},
        ),
        (
            "LOG_HOOKS_0_MAILOPTIONS_SMTP_ADDR",
            "m:25",
            {"log": {"hooks": [{"options": {"smtp": {"addr": "m:25"}}}]}},
        ),
        (
            "COMPATIBILITY_SCHEMA1_TRUSTKEY",
            "/k",
            {"compatibility": {"schema1": {"signingkeyfile": "/k"}}},
        ),
        ("REDIS_ADDRS", "[a, b]", {"redis": {"addrs": ["a", "b"]}}),
        ("REDIS_TLS_ROOTCAS_0", "/ca", {"redis": {"tls": {"rootcas": ["/ca"]}}}),
        ("MIDDLEWARE_STORAGE_0_NAME", "x", {"middleware": {"storage": [{"name": "x"}]}}),
        ("STORAGE", "filesystem", {"storage": "filesystem"}),
        ("PROXY_REMOTEURL", "", {"proxy": {"remoteurl": None}}),
        ("HTTP_HEADERS_X-FOO", "[bar]", {"http": {"headers": {"x-foo": ["bar"]}}}),
        ("LOG_FIELDS_A_B", "1", {"log": {"fields": {"a": {"b": "1"}}}}),
    ],
)
def test_names_are_walked(name: str, value: str, expected: Value) -> None:
    """Go's field names and YAML's names lead to the same place."""
    assert overridden("", **{name: value}).document == expected


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("http: {headers: {X-Foo: [a]}}", "HTTP_HEADERS_X-FOO", {"X-Foo": "v"}),
        ("http: {headers: {X-Foo: [a]}}", "HTTP_HEADERS_X-FOO_0", {"X-Foo": ["v"]}),
        ("http: {headers: {X-Foo: [a]}}", "HTTP_HEADERS_X-FOO_1", {"X-Foo": ["a", "v"]}),
        ("http: {headers: {X-Foo: a}}", "HTTP_HEADERS_X-FOO_1", {"X-Foo": ["a", "v"]}),
        ("http: {headers: }", "HTTP_HEADERS_X-FOO", {"x-foo": "v"}),
    ],
)
def test_entries_of_maps_keep_their_case(text: str, name: str, expected: Value) -> None:
    """An existing entry is found in any case; its list can be entered by index."""
    assert overridden(text, **{name: "v"}).document["http"] == {"headers": expected}


def test_free_form_maps_of_the_file_can_be_entered() -> None:
    """Distribution only warns there (rule 8); lists inside have indexes too."""
    text = "log: {fields: {Team: {name: a, on: [x, y]}}}"

    found = overridden(text, LOG_FIELDS_TEAM_NAME="b", LOG_FIELDS_TEAM_ON_1="z")

    assert found.document == {"log": {"fields": {"Team": {"name": "b", "on": ["x", "z"]}}}}


def test_a_section_is_made_key_by_key() -> None:
    """Distribution crashes on this one (rule 8)."""
    found = overridden("", STORAGE_MAINTENANCE_READONLY_ENABLED="true")

    assert found.document == {"storage": {"maintenance": {"readonly": {"enabled": "true"}}}}


def test_parents_come_before_children_and_numbers_in_their_order() -> None:
    """A section is replaced first and refined then; element 10 comes behind element 9."""
    many = {f"HTTP_TLS_CLIENTCAS_{index}": f"/{index}" for index in reversed(range(12))}

    found = overridden(
        "storage: {s3: {bucket: b}}",
        STORAGE_FILESYSTEM_ROOTDIRECTORY="/data",
        STORAGE="filesystem",
        **many,
    )

    assert found.document == {
        "storage": {"filesystem": {"rootdirectory": "/data"}},
        "http": {"tls": {"clientcas": [f"/{index}" for index in range(12)]}},
    }
    assert not found.problems


def test_an_index_beyond_the_end_is_an_error_that_names_the_variable() -> None:
    """The message says which index would do."""
    found = overridden("health: {tcp: [{addr: 'a:1'}]}", HEALTH_TCP_5_ADDR="b:1")

    assert [(problem.path, problem.reason, problem.fix) for problem in found.problems] == [
        (
            "REGISTRY_HEALTH_TCP_5_ADDR",
            "undefined index: 5; health.tcp has 1 elements",
            "use REGISTRY_HEALTH_TCP_1 to add one",
        )
    ]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PORT", ""),
        ("SERVICE_HOST", ""),
        ("PORT_5000_TCP_ADDR", ""),
        ("AUTH_SERVICE_HOST", ""),
        ("STORAGE_PORT", ""),
        ("HTTP_PORT_80_TCP", ""),
        ("HTTP_ADDR_X", ""),
        ("HEALTH_TCP_X_ADDR", ""),
        ("HEALTH_TCP_-1_ADDR", ""),
        ("Http_Addr", ""),
        ("", ""),
        ("_", ""),
        ("VERSION", ""),
        ("PROXY_REMOTEURI", "; did you mean REGISTRY_PROXY_REMOTEURL?"),
    ],
)
def test_unknown_names_are_warned_about_and_change_nothing(name: str, hint: str) -> None:
    """Kubernetes makes such names; distribution's text is kept."""
    found = overridden("storage: filesystem", **{name: "tcp://10.0.0.1:80"})

    assert found.document == {"storage": "filesystem"}
    assert not found.problems
    assert [notice.text for notice in found.notices] == [
        f"Ignoring unrecognized environment variable REGISTRY_{name}{hint}"
    ]


def test_a_free_form_scalar_cannot_be_entered() -> None:
    """As in distribution, nothing happens; here a warning says so."""
    found = overridden("log: {fields: {a: 1}}", LOG_FIELDS_A_B="x")

    assert found.document == {"log": {"fields": {"a": "1"}}}
    assert len(found.notices) == 1


@pytest.mark.parametrize("name", ["registry_http_addr", "MY_REGISTRY_HTTP_ADDR", "REGISTRYHTTP"])
def test_other_variables_are_not_seen(name: str) -> None:
    """The prefix is upper case and stands first."""
    found = override({}, {name: "x"})

    assert (found.document, found.notices, found.problems) == ({}, [], [])


def test_the_path_variable_is_no_override() -> None:
    """It says where the file is, and is not warned about."""
    assert not override({}, {"REGISTRY_CONFIGURATION_PATH": "/x"}).notices


@pytest.mark.parametrize("password", ["@foo", "*foo", "a: b", "[x", "%x", "- a", "{x}", "!x"])
def test_a_password_that_is_no_yaml_is_taken_as_it_stands(password: str) -> None:
    """Distribution refuses to start with these."""
    found = overridden("", PROXY_PASSWORD=password)

    assert found.document == {"proxy": {"password": password}}


def test_a_section_that_is_no_yaml_is_an_error_without_its_text() -> None:
    """The variable is named, its secret is not."""
    found = overridden("", PROXY="{password: @hunter2")

    assert [problem.path for problem in found.problems] == ["REGISTRY_PROXY"]
    assert "is not YAML: line 1, column 12" in str(found.problems[0])
    assert "hunter2" not in str(found.problems[0])


def test_what_is_no_section_cannot_be_entered() -> None:
    """A mistake in the file is not papered over."""
    found = overridden("http: nonsense", HTTP_ADDR=":1")

    assert found.document == {"http": "nonsense"}
    assert [problem.reason for problem in found.problems] == [
        "http is not a section, so nothing in it can be set"
    ]


def test_the_document_given_is_left_alone() -> None:
    """Overriding makes a copy."""
    document = parse_document("log: {fields: {a: [1]}}")
    assert isinstance(document, dict)

    override(document, {"REGISTRY_LOG_FIELDS_A_0": "2", "REGISTRY_LOG_LEVEL": "debug"})

    assert resolve(document) == {"log": {"fields": {"a": [1]}}}


@pytest.mark.parametrize(
    ("path", "variable"),
    [
        ("http.tls.key", "REGISTRY_HTTP_TLS_KEY"),
        ("http.tls", "REGISTRY_HTTP_TLS_KEY"),
        ("log.fields.a", "REGISTRY_LOG"),
        ("log.level", "REGISTRY_LOG_LEVEL"),
        ("health.tcp[0].addr", "REGISTRY_HEALTH_TCP_0"),
        ("http.tls.keys", None),
        ("proxy", None),
    ],
)
def test_the_origin_of_a_path_is_the_nearest_variable(path: str, variable: str | None) -> None:
    """The variable that set it, or its section, or something in it."""
    origins = {
        "log": "REGISTRY_LOG",
        "log.level": "REGISTRY_LOG_LEVEL",
        "http.tls.key": "REGISTRY_HTTP_TLS_KEY",
        "health.tcp[0]": "REGISTRY_HEALTH_TCP_0",
    }

    assert origin(path, origins) == variable


@pytest.mark.parametrize(
    ("text", "variable", "name"),
    [
        ("", "UPSTREAMS_GHCR_IO_TAGTTL", "ghcr.io"),
        ("", "UPSTREAMS_GHCR.IO_TAGTTL", "ghcr.io"),
        ("", "UPSTREAMS_PUBLIC_ECR_AWS_TAGTTL", "public.ecr.aws"),
        ("upstreams: {ghcr.io: {}}", "UPSTREAMS_GHCR_IO_TAGTTL", "ghcr.io"),
        ("upstreams: {'my-reg.corp:5000': {}}", "UPSTREAMS_MY_REG_CORP_5000_TAGTTL", None),
        # The name of a key may be part of a registry's name, which the file then has.
        ("upstreams: {reg.ca: {}}", "UPSTREAMS_REG_CA_TAGTTL", "reg.ca"),
        ("upstreams: {ghcr: {}}", "UPSTREAMS_GHCR_TAGTTL", "ghcr"),
    ],
)
def test_an_upstream_with_dots_in_its_name_is_reached(
    text: str, variable: str, name: str | None
) -> None:
    """From a shell too, whose variables have none: with underscores in their place."""
    result = overridden(text, **{variable: "5m"})

    assert (result.notices, result.problems) == ([], [])
    assert result.document["upstreams"] == {name or "my-reg.corp:5000": {"tagttl": "5m"}}


def test_a_whole_upstream_is_set_by_one_variable() -> None:
    """Where the file has its name."""
    result = overridden("upstreams: {ghcr.io: {}}", UPSTREAMS_GHCR_IO="{tagttl: 5m}")

    assert result.document["upstreams"] == {"ghcr.io": {"tagttl": "5m"}}


@pytest.mark.parametrize("variable", ["UPSTREAMS_GHCR_IO_TAGTLL", "UPSTREAMS_GHCR_TAGTLL"])
def test_a_mistaken_key_of_an_upstream_is_a_warning(variable: str) -> None:
    """Nothing is set, least of all an upstream of a strange name."""
    result = overridden("upstreams: {ghcr.io: {}}", **{variable: "5m"})

    assert [notice.path for notice in result.notices] == [f"REGISTRY_{variable}"]
    assert result.document == {"upstreams": {"ghcr.io": {}}}
