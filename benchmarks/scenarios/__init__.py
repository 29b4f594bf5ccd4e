"""The questions that are asked: one module for each."""

from benchmarks.scenarios.base import Scenario
from benchmarks.scenarios.blobs import WarmBlobs
from benchmarks.scenarios.cold import ColdBlob
from benchmarks.scenarios.manifests import WarmManifests
from benchmarks.scenarios.memory import PeakMemory
from benchmarks.scenarios.mixed import SmallBesideLarge
from benchmarks.scenarios.startup import StartUp

SCENARIOS: tuple[Scenario, ...] = (
    ColdBlob(),
    PeakMemory(),
    WarmManifests(),
    WarmBlobs(),
    SmallBesideLarge(),
    StartUp(),
)
"""All of them, in the order of the report."""
