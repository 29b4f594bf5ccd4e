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
