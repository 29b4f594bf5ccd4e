"""The questions that are asked: one module for each."""

from benchmarks.scenarios.ahead import FetchedAhead
from benchmarks.scenarios.base import Scenario
from benchmarks.scenarios.blobs import WARM_BLOBS_BY_TLS, WarmBlobs
from benchmarks.scenarios.cold import ColdBlob
from benchmarks.scenarios.image import WholeImage
from benchmarks.scenarios.limited import SpentQuota
from benchmarks.scenarios.manifests import WarmManifests
from benchmarks.scenarios.memory import PeakMemory
from benchmarks.scenarios.mixed import SmallBesideLarge
from benchmarks.scenarios.slow import SlowNetwork
from benchmarks.scenarios.startup import StartUp
from benchmarks.scenarios.workers import TwoWorkers

SCENARIOS: tuple[Scenario, ...] = (
    ColdBlob(),
    WholeImage(),
    SlowNetwork(),
    FetchedAhead(),
    SpentQuota(),
    PeakMemory(),
    WarmManifests(),
    TwoWorkers(),
    WarmBlobs(),
    WARM_BLOBS_BY_TLS,
    SmallBesideLarge(),
    StartUp(),
)
"""All of them, in the order of the report."""
