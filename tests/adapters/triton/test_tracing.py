"""Triton's own spans hang under the step that asked it."""

from __future__ import annotations

from pathlib import Path

from npc_contour import tracing
from npc_contour.adapters.otlp import trace_to, traces_url
from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton, Endpoints
from npc_testkit.collector import collector
from npc_testkit.tiny_network import TinyNetwork, write_tiny_network
from npc_testkit.tiny_server import blocks, volume_of


def test_tritons_spans_are_part_of_the_trace_that_asked(tmp_path: Path) -> None:
    contract = write_tiny_network(tmp_path / "repository", TinyNetwork())
    with (
        collector() as traced,
        EmbeddedTriton(
            tmp_path / "repository", tmp_path / "work", endpoints=Endpoints(traces_url=traces_url(traced.endpoint))
        ) as server,
        TritonEngine(server.urls.grpc) as engine,
    ):
        trace_to(traced.endpoint, "worker")
        try:
            with tracing.span("segment tiny"):
                parent = tracing.traceparent().split("-")
                engine.segment(contract, [volume_of(blocks((24, 48, 40)))])
            traced.wait_for(lambda: bool(traced.of_triton(parent[1])))
        finally:
            tracing.use(None)

    assert parent[2] in {span.parent_id for span in traced.of_triton(parent[1])}
