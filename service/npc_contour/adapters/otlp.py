"""Sends spans to an OpenTelemetry collector (OTLP over HTTP), in the background: work never waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from npc_contour import __version__, tracing
from npc_contour.errors import CallError, SettingsError
from npc_contour.http_calls import Limits, call

EVERY_MS = 1000
LIMITS = Limits(timeout_s=5.0, whole_s=5.0)


def check_installed(find: Callable[[str], object] = find_spec) -> None:
    """Return when traces can be sent.

    Args:
        find: returns None when there is no module of a name.

    Raises:
        SettingsError: what is needed is not installed.
    """
    for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.common"):
        try:
            found = find(name) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            raise SettingsError(f"tracing.endpoint needs {name}: pip install 'npc-autocontour[tracing]'")


def trace_to(endpoint: str, role: str) -> None:
    """Send the spans of this process from now on; those of the last second are sent when it ends in good order.

    Args:
        endpoint: of the collector, without /v1/traces.
        role: of this process.

    Raises:
        SettingsError: what is needed is not installed.
    """
    check_installed()
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: PLC0415 - optional
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider  # noqa: PLC0415 - optional
    from opentelemetry.sdk.trace.export import (  # noqa: PLC0415 - optional
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    class Exporter(SpanExporter):
        """Posts spans; those that a collector does not take are gone."""

        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            content = encode_spans(spans).SerializeToString()
            headers = {"Content-Type": "application/x-protobuf"}
            try:
                with call("POST", traces_url(endpoint), LIMITS, headers=headers, content=content) as reply:
                    return SpanExportResult.SUCCESS if 200 <= reply.status < 300 else SpanExportResult.FAILURE
            except CallError:
                return SpanExportResult.FAILURE

    # A collector that is down would be a line every second: the work does not depend on it.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    about = Resource.create(
        {"service.name": "npc-contour", "service.version": __version__, "service.instance.id": role}
    )
    provider = TracerProvider(resource=about)
    provider.add_span_processor(BatchSpanProcessor(Exporter(), schedule_delay_millis=EVERY_MS))
    tracing.use(provider.get_tracer("npc_contour", __version__))


def traces_url(endpoint: str) -> str:
    """Return where a collector takes spans."""
    return endpoint.rstrip("/") + "/v1/traces"
