"""One trace follows a study from the receiver through the queue and the worker to the planning system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from npc_contour import tracing
from npc_contour.adapters.otlp import trace_to
from npc_contour.domain.work import Job, JobKind
from npc_contour.store.database import Store
from npc_testkit.bench import STUDY, plain_ct
from npc_testkit.collector import Collector, collector
from npc_testkit.workers import receive_pair, worker


@pytest.fixture
def traced() -> Iterator[Collector]:
    with collector() as running:
        trace_to(running.endpoint, "receiver")
        yield running
        tracing.use(None)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider.get_tracer("test"))
    yield exporter
    tracing.use(None)


def arguments(store: Store) -> list[dict[str, str]]:
    rows = store.query("SELECT args FROM procrastinate_jobs WHERE status = 'todo' ORDER BY id")
    return [row["args"] for row in rows]


def test_a_study_is_one_trace_from_the_first_image_to_the_last_send(
    store: Store, database_url: str, tmp_path: Path, traced: Collector
) -> None:
    receive_pair(store)
    with worker(database_url, tmp_path, traces=traced.endpoint):
        traced.wait_for(lambda: len(traced.named("send")) == 2)
        traced.wait_for(lambda: len(traced.named("write_structure_set")) == 2 and len(traced.named("route_study")) > 0)

    by_id = {span.span_id: span for span in traced.spans}
    (trace_id,) = {span.trace_id for span in traced.named("send")}
    names = {span.name for span in traced.spans if span.trace_id == trace_id}
    assert {"receive", "close_series", "route_study", "segment_case", "read", "segment ln_ctv", "segment npc_oar",
            "write_structure_set", "contour", "write and check", "send"} <= names  # fmt: skip
    for sent in traced.named("send"):
        chain = [sent]
        while chain[-1].parent_id in by_id:
            chain.append(by_id[chain[-1].parent_id])
        assert [span.name for span in chain][:3] == ["send", "write_structure_set", "segment_case"]
        assert chain[-1].name == "receive"
        assert "delivery.sent" in sent.events
    assert {span.attributes["npc.study"] for span in traced.named("receive")} == {tracing.fingerprint(STUDY)}
    assert {"receive", "send"} <= {span.name for span in traced.spans if span.attributes.get("npc.study")}


def test_no_span_says_who_the_patient_is_nor_any_uid(
    store: Store, database_url: str, tmp_path: Path, traced: Collector
) -> None:
    receive_pair(store)
    with worker(database_url, tmp_path, traces=traced.endpoint):
        traced.wait_for(lambda: len(traced.named("send")) == 2)

    sent = b"".join(traced.raw)
    header = plain_ct()[0]
    for secret in (header.patient_id, header.series_instance_uid, header.sop_instance_uid, header.series_description):
        assert secret.encode() not in sent


def test_without_a_tracer_jobs_carry_their_key_alone(store: Store) -> None:
    with tracing.span("nothing"), store.transaction() as tx:
        tx.defer(Job(JobKind.SEND, "7"))

    assert arguments(store) == [{"key": "7"}]
    assert (tracing.is_on(), tracing.traceparent()) == (False, "")


def test_a_job_that_waits_already_keeps_its_trace_or_gets_one(store: Store, spans: InMemorySpanExporter) -> None:
    with store.transaction() as tx:
        tx.defer(Job(JobKind.SEND, "7"))
    with tracing.span("first"), store.transaction() as tx:
        first = tracing.traceparent()
        tx.defer(Job(JobKind.SEND, "7"))
    with tracing.span("second"), store.transaction() as tx:
        tx.defer(Job(JobKind.SEND, "7"))

    assert arguments(store) == [{"key": "7", "traceparent": first}]
    assert [span.name for span in spans.get_finished_spans()] == ["first", "second"]


def test_rounds_that_plan_themselves_are_not_one_trace_without_end(store: Store, spans: InMemorySpanExporter) -> None:
    with tracing.span("poll_archive"), store.transaction() as tx:
        tx.defer(Job(JobKind.POLL_ARCHIVE, "rule"))
        tx.defer(Job(JobKind.FETCH_SERIES, "1"))

    polled, fetched = arguments(store)
    assert "traceparent" not in polled
    assert fetched["traceparent"].split("-")[1] == f"{spans.get_finished_spans()[0].context.trace_id:032x}"


def test_a_failure_is_seen_but_its_words_are_not(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="WANG"), tracing.span("read"):
        raise ValueError("WANG^XIAO")

    (span,) = spans.get_finished_spans()
    assert (span.status.description, span.events) == ("ValueError", ())
