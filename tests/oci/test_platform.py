"""Platforms: spellings, and which machine may choose which image."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadstead.oci.platform import Platform

platforms = st.builds(
    Platform.of,
    st.sampled_from(["linux", "windows"]),
    st.sampled_from(["amd64", "arm", "arm64", "s390x"]),
    st.sampled_from(["", "v1", "v6", "v7", "v8", "v9.2", "odd"]),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/x86_64", Platform("linux", "amd64")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("Linux/ARM64/v8", Platform("linux", "arm64", "v8")),
        ("linux/arm/7", Platform("linux", "arm", "v7")),
        ("linux/armhf", Platform("linux", "arm", "v7")),
        ("linux/arm64/v9.2", Platform("linux", "arm64", "v9.2")),
        ("windows/amd64", Platform("windows", "amd64")),
    ],
)
def test_spellings_in_use_are_understood(text: str, expected: Platform) -> None:
    """As containerd reads them."""
    assert Platform.parse(text) == expected


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "a b/c"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    """The error shows what was given."""
    with pytest.raises(ValueError, match="no platform"):
        Platform.parse(text)


@given(platform=platforms)
def test_a_platform_survives_being_printed(platform: Platform) -> None:
    """The text names the same platform."""
    assert Platform.parse(str(platform)) == platform


@given(platform=platforms)
def test_every_machine_runs_its_own_images(platform: Platform) -> None:
    """Without a variant every one of the architecture."""
    assert platform.runs(platform)
    assert Platform(platform.os, platform.architecture).runs(platform)


@pytest.mark.parametrize(
    ("machine", "image", "expected"),
    [
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v7", "linux/arm/v6", True),
        ("linux/arm/v6", "linux/arm/v7", False),
        ("linux/arm/v6", "linux/arm", False),
        ("linux/amd64", "linux/amd64/v3", True),
        ("linux/amd64/v1", "linux/amd64/v3", False),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm64", "linux/arm/v7", False),
        ("linux/mips/odd", "linux/mips/other", False),
    ],
)
def test_lower_variants_are_fallen_back_to(machine: str, image: str, *, expected: bool) -> None:
    """Higher ones, other architectures and systems are not."""
    assert Platform.parse(machine).runs(Platform.parse(image)) is expected


def test_an_attestation_is_for_no_machine() -> None:
    """BuildKit writes unknown/unknown."""
    assert not Platform("unknown", "unknown").is_known
    assert Platform("linux", "amd64").is_known
