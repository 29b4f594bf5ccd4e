"""What wrk says, and when it is not believed."""

import pytest

from benchmarks.client import LoadFailedError, parse_wrk

_REPORT = """\
Running 2s test @ http://127.0.0.1:5000/v2/library/app/manifests/latest
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.45ms  368.36us   1.95s    81.02%
    Req/Sec    21.50k   196.25    22.86k    80.00%
  Latency Distribution
     50%  214.69us
     75%    1.63ms
     90%    3.52ms
     99%    1.26s
  43000 requests in 2.01s, 300.74MB read
"""
_RATE = "Requests/sec:  21393.03\n"


def test_reads_rate_and_latencies_in_seconds() -> None:
    """The units of wrk units, and a blank behind one, are understood."""
    rate = parse_wrk(_REPORT.replace("1.26s", "1.26s ") + _RATE)
    assert rate.per_second == pytest.approx(21393.03)
    assert rate.p50_seconds == pytest.approx(214.69e-6)
    assert rate.p99_seconds == pytest.approx(1.26)


@pytest.mark.parametrize(
    "trouble",
    [
        "  Non-2xx or 3xx responses: 7\n",
        "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
    ],
)
def test_refuses_a_run_with_failures(trouble: str) -> None:
    """Failed requests are fast and would make a fine figure."""
    with pytest.raises(LoadFailedError, match=trouble.strip()):
        parse_wrk(_REPORT + trouble + _RATE)


def test_refuses_what_is_no_report() -> None:
    """A wrk that could not connect prints no rate."""
    with pytest.raises(LoadFailedError):
        parse_wrk("unable to connect to 127.0.0.1:5000 Connection refused\n")
