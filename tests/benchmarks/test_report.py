"""Results and their report."""

from pathlib import Path

from benchmarks.report import render
from benchmarks.results import Record, Results
from benchmarks.scenarios.startup import StartUp


def _results(**seconds_by_peer: list[float]) -> Results:
    records = [
        Record(
            scenario="startup",
            case="empty store",
            peer=peer.replace("_", "-"),
            round=number,
            load=1.5,
            values={"start": value, "cpu": value, "idle": 20.0},
        )
        for peer, values in seconds_by_peer.items()
        for number, value in enumerate(values)
    ]
    return Results(started="now", machine={"kernel": "6"}, versions={}, records=records)


def test_shows_medians_ranges_and_ratios_to_the_references() -> None:
    """The table has the median, its range, and ours divided by the reference's."""
    results = _results(roadstead=[0.5, 0.4, 0.9], docker_registry=[0.1, 0.1, 0.1])
    report = render(results, [StartUp()])
    assert (
        "| empty store | roadstead | 0.500 [0.400-0.900] (5.00 docker-registry) | 0.50 | 20.0 |"
        in report
    )
    assert "| empty store | docker-registry | 0.100 [0.100-0.100] | 0.10 | 20.0 |" in report
    assert "Rounds: 3" in report


def test_leaves_out_what_was_not_measured() -> None:
    """A scenario without records has no section."""
    assert "## " not in render(_results(), [StartUp()])


def test_raw_results_can_be_read_again(tmp_path: Path) -> None:
    """A report can be rendered from the file later."""
    results = _results(roadstead=[0.5, 0.25])
    results.write(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json") == results


def test_a_run_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    """Whole rounds are kept, also across a file; of one that was broken off nothing is."""
    results = _results(roadstead=[0.5, 0.25])
    results.complete("startup", "roadstead", 0)
    results.write(tmp_path / "results.json")

    read = Results.read(tmp_path / "results.json")
    assert read.has("startup", "roadstead", 0)
    assert not read.has("startup", "roadstead", 1)
    read.forget("startup", "roadstead", 1)
    assert [record.round for record in read.records] == [0]


def test_plots_are_named_in_the_report() -> None:
    """Each picture stands below the table that it shows."""
    report = render(
        _results(roadstead=[0.5]), [StartUp()], {"startup": [Path("/x/run-startup-start.svg")]}
    )
    assert report.rstrip().endswith("![Start-up](run-startup-start.svg)")
