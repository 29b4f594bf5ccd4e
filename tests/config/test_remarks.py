"""Settings that can be used but were hardly meant get a notice."""

from pathlib import Path

import pytest

from tests.config.samples import MINIMAL, cases, examine_text, notice_texts

HUB = "proxy: {remoteurl: 'https://x'}\n"


@pytest.mark.parametrize(("text", "notice"), cases("notices.txt"))
def test_one_notice_says_what_is_odd(tmp_path: Path, text: str, notice: str) -> None:
    """Level, path and text, and nothing else."""
    found = examine_text(tmp_path, f"{MINIMAL}{text}")

    level, _, line = notice.partition(" ")
    assert not found.problems
    assert notice_texts(found) == [line]
    assert [notice.level for notice in found.notices] == [level]


@pytest.mark.parametrize(
    "text",
    [
        "proxy: {remoteurl: 'https://x', trustedrealms: ['auth.x:443', AUTH.x]}",
        "proxy: {remoteurl: 'https://x', tagttl: 0, username: u, password: p}",
        f"{HUB}http: {{draintimeout: 30s, debug: {{addr: ':1', prometheus: {{enabled: true}}}}}}",
        f"{HUB}http: {{tls: {{certificate: c, key: k, clientcas: a}}}}",
    ],
)
def test_ordinary_settings_get_none(tmp_path: Path, text: str) -> None:
    """A zero is a zero in any unit."""
    assert notice_texts(examine_text(tmp_path, f"{MINIMAL}{text}")) == []


def test_credentials_are_asked_for_knowingly(tmp_path: Path) -> None:
    """Docker's habit, clear text, and rules that make the question needless are all named."""
    text = """\
proxy: {remoteurl: 'https://x'}
auth: {htpasswd: {realm: r, path: p}}
"""
    rules = "access: {rules: [{allow: everybody}, {allow: everybody, networks: 10.0.0.0/8}]}\n"

    def paths(text: str) -> list[str]:
        return [notice.path for notice in examine_text(tmp_path, f"{MINIMAL}{text}").notices]

    assert paths(text) == ["auth", "auth.htpasswd"]
    assert paths(text + rules) == ["auth.htpasswd", "access.rules[0].allow"]
    silly = examine_text(tmp_path, f"{MINIMAL}{HUB}auth: {{silly: {{realm: r, service: s}}}}")
    assert [notice.path for notice in silly.notices] == ["auth", "auth.silly"]
