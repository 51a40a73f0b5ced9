"""Sends spans to an OpenTelemetry collector (OTLP over HTTP), in the background: work never waits for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec

import requests

from npc_contour import __version__, tracing
from npc_contour.errors import SettingsError

EVERY_MS = 1000
TIMEOUT_S = 5.0


def check_installed(find: Callable[[str], object] = find_spec) -> None:
    """Return when traces can be sent.

    Args:
        find: returns None when there is no module of a name.

    Raises:
        SettingsError: what is needed is not installed.
    """
    for name in ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http"):
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
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - optional
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - optional

    # A collector that is down would be a line every second: the work does not depend on it.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    about = Resource.create(
        {"service.name": "npc-contour", "service.version": __version__, "service.instance.id": role}
    )
    provider = TracerProvider(resource=about)
    session = requests.Session()
    session.trust_env = False
    exporter = OTLPSpanExporter(endpoint=traces_url(endpoint), timeout=TIMEOUT_S, session=session)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=EVERY_MS))
    tracing.use(provider.get_tracer("npc_contour", __version__))


def traces_url(endpoint: str) -> str:
    """Return where a collector takes spans."""
    return endpoint.rstrip("/") + "/v1/traces"
