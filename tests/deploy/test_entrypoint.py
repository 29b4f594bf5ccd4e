"""The image's entry point understands the command lines of registry:2."""

import subprocess
from pathlib import Path

import pytest

_DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize(
    ("given", "run"),
    [
        ("/etc/docker/registry/config.yml", "registry serve /etc/docker/registry/config.yml"),
        ("config.yaml", "registry serve config.yaml"),
        ("serve config.yml", "registry serve config.yml"),
        ("garbage-collect config.yml -m", "registry garbage-collect config.yml -m"),
        ("help", "registry help"),
        ("--version", "registry --version"),
        ("echo any other program", "any other program"),
    ],
)
def test_arguments_become_a_command_line(tmp_path: Path, given: str, run: str) -> None:
    """A file, a command of registry's, an option; anything else is a program of its own."""
    program = tmp_path / "registry"
    program.write_text('#!/bin/sh\necho registry "$@"\n')
    program.chmod(0o755)

    done = subprocess.run(
        [_DEPLOY / "docker/entrypoint", *given.split()],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"{run}\n"
