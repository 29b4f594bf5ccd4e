"""One volume, two mirrors: what one of them has pulled is served by the other."""

from pathlib import Path

import pytest

from tests.servers.comparison import pull_everything
from tests.servers.lines import assert_all_is_served, get, start_mirror, start_origin
from tests.servers.samples import DIGESTS
from tests.support.dockerregistry import start_docker_registry
from tests.support.volumes import files_below

pytestmark = pytest.mark.servers


def test_a_volume_of_the_stock_mirror_is_served_at_once(tmp_path: Path) -> None:
    """What registry 2.8.2 pulled as a mirror is here, with neither it nor upstream running."""
    volume = tmp_path / "volume"
    with start_origin(tmp_path / "origin") as (url, stop):
        with start_docker_registry(volume, proxy_remoteurl=url) as stock:
            pull_everything(stock)
        before = files_below(volume)
        stop()

        with start_mirror(volume, url) as mirror:
            assert_all_is_served(mirror.url)
            assert "stale" in get(mirror.url, "manifests/oci").headers["Warning"]

    # Only our own directory was added, so the volume can go back as it is.
    after = files_below(volume)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("roadstead/") for name in after.keys() - before.keys())


def test_a_volume_of_ours_is_served_by_the_stock_mirror(tmp_path: Path) -> None:
    """In proxy mode, with upstream gone after the start that 2.8.2 needs it for."""
    volume = tmp_path / "volume"
    with start_origin(tmp_path / "origin") as (url, stop):
        with start_mirror(volume, url) as mirror:
            pull_everything(mirror.url)
        with start_docker_registry(volume, proxy_remoteurl=url) as stock:
            stop()
            assert_all_is_served(stock)


def test_a_volume_of_ours_is_served_by_a_plain_registry(tmp_path: Path) -> None:
    """Without proxy mode the volume is that of an ordinary registry."""
    volume = tmp_path / "volume"
    with start_origin(tmp_path / "origin") as (url, stop):
        with start_mirror(volume, url) as mirror:
            pull_everything(mirror.url)
        stop()
    with start_docker_registry(volume) as stock:
        assert_all_is_served(stock)


def test_a_volume_goes_there_and_back(tmp_path: Path) -> None:
    """Each adds to what the other began: blobs of an image whose manifest the other has."""
    volume = tmp_path / "volume"
    with start_origin(tmp_path / "origin") as (url, stop):
        with start_docker_registry(volume, proxy_remoteurl=url) as stock:
            get(stock, "manifests/oci")
        with start_mirror(volume, url) as mirror:
            get(mirror.url, f"blobs/{DIGESTS['config']}")
            get(mirror.url, "manifests/docker")
        with start_docker_registry(volume, proxy_remoteurl=url) as stock:
            pull_everything(stock)
        stop()
        with start_mirror(volume, url) as mirror:
            assert_all_is_served(mirror.url)
