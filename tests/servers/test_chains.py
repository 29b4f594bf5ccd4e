"""Chains with registry 2.8.2 as a mirror: in front of Roadstead, and behind it."""

from pathlib import Path

import pytest

from tests.servers.comparison import pull_everything
from tests.servers.lines import assert_all_is_served, start_mirror, start_origin
from tests.support.dockerregistry import start_docker_registry

pytestmark = pytest.mark.servers


def test_registry_2_in_front_of_roadstead(tmp_path: Path) -> None:
    """Each byte arrives; with the origin gone both serve what they hold."""
    with (
        start_origin(tmp_path / "origin") as (url, stop),
        start_mirror(tmp_path / "ours", url) as mirror,
        start_docker_registry(tmp_path / "stock", proxy_remoteurl=mirror.url) as stock,
    ):
        pull_everything(stock)
        stop()
        assert_all_is_served(stock)
        assert_all_is_served(mirror.url)


def test_roadstead_in_front_of_registry_2(tmp_path: Path) -> None:
    """Each byte arrives; Roadstead goes on when origin and stock mirror are gone."""
    with start_origin(tmp_path / "origin") as (url, stop):
        with (
            start_docker_registry(tmp_path / "stock", proxy_remoteurl=url) as stock,
            start_mirror(tmp_path / "ours", stock) as mirror,
        ):
            pull_everything(mirror.url)
            stop()
            assert_all_is_served(mirror.url)
        with start_mirror(tmp_path / "ours", stock) as mirror:
            assert_all_is_served(mirror.url)


def test_roadstead_in_front_of_roadstead(tmp_path: Path) -> None:
    """Two processes; the near one serves alone in the end."""
    near_root = tmp_path / "near"
    with start_origin(tmp_path / "origin") as (url, stop):
        with start_mirror(tmp_path / "far", url) as far, start_mirror(near_root, far.url) as near:
            pull_everything(near.url)
            stop()
            assert_all_is_served(near.url)
        with start_mirror(near_root, far.url) as near:
            assert_all_is_served(near.url)
