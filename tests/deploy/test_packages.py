"""Wheel and sdist: built, installed by pip and by pipx into empty environments, and used."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from roadstead import __version__
from tests.support.roadstead_process import clean_environment

# pip and pipx are clients of a package index, and take a minute.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(900)]

_ROOT = Path(__file__).parents[2]
# What is no module, or is found by name and not by an import.
_NEEDED = {
    "roadstead/py.typed",
    "roadstead/metadata/migrations/script.py.mako",
    "roadstead/metadata/migrations/env.py",
    "roadstead/metadata/migrations/versions/0001_first_schema.py",
}


def run(*command: str | Path, **environment: str) -> str:
    """Run a command in an environment that knows nothing of this one; return its output."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        env={**clean_environment(), "PYTHONPATH": "", "PIP_NO_INPUT": "1", **environment},
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def install(place: Path, *packages: str | Path) -> Path:
    """Make an empty environment and install into it with pip; return its commands."""
    venv.create(place, with_pip=False)
    run(sys.executable, "-m", "pip", "--python", place / "bin/python", "install", "-q", *packages)
    return place / "bin"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it; skip where no package index is reached."""
    folder = tmp_path_factory.mktemp("packages")
    try:
        tools = install(folder / "tools", "build")
    except AssertionError as error:
        pytest.skip(f"no package can be installed here: {str(error)[-300:]}")
    run(tools / "python", "-m", "build", "--outdir", folder, _ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """Give the wheel."""
    (found,) = built.glob("roadstead-*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    """Give the sdist."""
    (found,) = built.glob("roadstead-*.tar.gz")
    return found


def works(commands: Path) -> None:
    """Ask an installation for its version, and let it show itself: a mirror, pulls, a database."""
    assert __version__ in run(commands / "roadstead", "--version")
    assert "23 pulls took 4" in run(commands / "roadstead", "demo")
    run(commands / "registry", "--help")


def test_a_package_has_all_that_is_needed(wheel: Path, sdist: Path) -> None:
    """Every module of the source, the migrations, the license; no test in the wheel."""
    source = _ROOT / "src"
    modules = {str(path.relative_to(source)) for path in source.rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert modules | _NEEDED <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests/")]
    with tarfile.open(sdist) as archive:
        listed = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in modules} | {"pyproject.toml", "README.md"} <= listed


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_pip_installs_it(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """Into an empty environment; the demonstration needs nothing else."""
    works(install(tmp_path / "env", request.getfixturevalue(kind)))


def test_pipx_installs_it(wheel: Path, tmp_path: Path) -> None:
    """With the commands on the path that pipx makes."""
    tools = install(tmp_path / "tools", "pipx")
    run(
        *(tools / "python", "-m", "pipx", "install", "--python", sys.executable, wheel),
        PIPX_HOME=str(tmp_path / "home"),
        PIPX_BIN_DIR=str(tmp_path / "bin"),
    )
    works(tmp_path / "bin")


def test_extras_resolve(wheel: Path, tmp_path: Path) -> None:
    """Each extra names packages that go together with all others."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith("dist-info/METADATA"))
        lines = archive.read(name).decode().splitlines()
    extras = [line.partition(": ")[2] for line in lines if line.startswith("Provides-Extra: ")]
    assert extras
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env/bin/python"
    wanted = f"{wheel}[{','.join(extras)}]"
    output = run(*(sys.executable, "-m", "pip", "--python", python, "install", "--dry-run", wanted))
    assert "Would install" in output
