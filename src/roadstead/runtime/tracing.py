"""Whether traces are made, as the standard variables of OpenTelemetry say (``OTEL_*``)."""

from collections.abc import Mapping

from roadstead.telemetry.tracing import UNTRACED, Tracer

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"


def make_tracer(environ: Mapping[str, str]) -> tuple[Tracer, str]:
    """Make the tracer that the environment asks for, and say why it is none, if one was wanted.

    Without an exporter or an endpoint there are no traces: ``registry:3`` sends them to localhost
    unless OTEL_TRACES_EXPORTER is ``none``, but nobody who has not asked shall wait for them.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return UNTRACED, ""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if not exporter and any(environ.get(name) for name in _ENDPOINTS):
        exporter = "otlp"
    if exporter in ("", "none"):
        return UNTRACED, ""
    if exporter not in ("otlp", "console"):
        return UNTRACED, f"OTEL_TRACES_EXPORTER is {exporter!r}; use otlp, console or none"
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _HTTP)
    if exporter == "otlp" and protocol != _HTTP:
        return UNTRACED, f"the protocol of OTLP is {protocol!r}; use {_HTTP}"
    try:
        from roadstead.telemetry.otel import OtelTracer, make_provider  # noqa: PLC0415 - if wanted
    except ImportError:
        return UNTRACED, "OpenTelemetry is not installed; pip install 'roadstead[otel]'"
    return OtelTracer(make_provider(exporter)), ""
