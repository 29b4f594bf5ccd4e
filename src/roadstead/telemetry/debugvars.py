"""The document of ``/debug/vars``, in the shape of distribution's.

Unlike distribution's it never shows the configuration, which holds secrets.
"""

import gc
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

from roadstead.telemetry.events import Kind
from roadstead.telemetry.metrics import Metrics
from roadstead.telemetry.redaction import redact

_PAGE_BYTES = resource.getpagesize()


def vars_snapshot(
    metrics: Metrics, command_line: Sequence[str], *, endpoints: Mapping[str, str]
) -> dict[str, object]:
    """Return what is known now.

    ``command_line`` is the program's own, as in ``sys.argv``; ``endpoints`` maps the names of
    notification endpoints to their URLs.
    """
    notified = [
        {"name": name, "url": redact(url), "Metrics": metrics.notification_totals(name)}
        for name, url in endpoints.items()
    ]
    return {
        "cmdline": [redact(word) for word in command_line],
        "memstats": _memory(),
        "registry": {
            # null as in distribution while no endpoint is configured.
            "notifications": {"endpoints": notified or None},
            "proxy": {
                "blobs": metrics.proxy_totals(Kind.BLOB),
                "manifests": metrics.proxy_totals(Kind.MANIFEST),
            },
        },
    }


def _memory() -> dict[str, int]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rss_bytes": _resident_bytes(),
        "peak_rss_bytes": usage.ru_maxrss * 1024,
        "gc_collections": sum(generation["collections"] for generation in gc.get_stats()),
    }


def _resident_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0  # no /proc here
    return int(pages) * _PAGE_BYTES
