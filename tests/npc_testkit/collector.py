"""An OpenTelemetry collector in memory: takes spans by OTLP over real HTTP, as protobuf or JSON."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from npc_testkit.http_peer import Handler, http_peer


@dataclass(frozen=True, slots=True)
class Span:
    """One span as it came; ids in hexadecimal."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    service: str
    seconds: float
    ok: bool
    attributes: Mapping[str, str]
    events: tuple[str, ...] = ()


@dataclass
class Collector:
    """What came."""

    port: int = 0
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def of_triton(self, trace_id: str) -> list[Span]:
        """Triton's spans of a trace; what it does unasked (a network's own warm-up) has traces of its own."""
        return [span for span in self.spans if span.service != "npc-contour" and span.trace_id == trace_id]

    def wait_for(self, what: Callable[[], bool], timeout_s: float = 60.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not what():
            assert time.monotonic() < deadline_s, f"only {sorted(span.name for span in self.spans)} came"
            time.sleep(0.05)

    def take(self, data: bytes, kind: str) -> None:
        self.raw.append(data)
        if "json" in kind:
            self.spans += _of_json(json.loads(data))
        else:
            self.spans += _of_protobuf(ExportTraceServiceRequest.FromString(data))


def _of_protobuf(request: Any) -> Iterator[Span]:
    for resource in request.resource_spans:
        about = {one.key: one.value.string_value for one in resource.resource.attributes}
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            yield Span(
                span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), about["service.name"],
                (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9, span.status.code != 2,
                {one.key: str(one.value.string_value) for one in span.attributes},
                tuple(event.name for event in span.events),
            )  # fmt: skip


def _of_json(request: Any) -> Iterator[Span]:
    for resource in request["resourceSpans"]:
        about = {one["key"]: one["value"].get("stringValue", "") for one in resource["resource"]["attributes"]}
        for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
            yield Span(
                span["name"], span["traceId"].lower(), span["spanId"].lower(), span.get("parentSpanId", "").lower(),
                about.get("service.name", ""),
                (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e9, ok=True,
                attributes={one["key"]: str(one["value"]) for one in span.get("attributes", ())},
            )  # fmt: skip


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector on 127.0.0.1."""
    state = Collector()

    class Inbox(Handler):
        def answer(self, body: bytes) -> None:
            data = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            state.take(data, self.headers["content-type"])
            self.reply(200)

    with http_peer(Inbox) as state.port:
        yield state
