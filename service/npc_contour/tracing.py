"""Traces: how long each step of a study took, in every process that had a part in it; off until a tracer is given.

A span holds no name of a patient and no UID: studies, series and cases are told apart by `fingerprint`, the beginning
of a UID's SHA-256: whoever knows a UID finds its trace, and a trace leads to nobody. The context of a step travels
in the row of the job that it causes, and to Triton with the request, as the W3C's `traceparent`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import context, trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.trace.status import Status, StatusCode

HEADER = "traceparent"
_W3C = TraceContextTextMapPropagator()
_tracers: list[trace.Tracer] = []


def use(tracer: trace.Tracer | None) -> None:
    """Make spans with a tracer from now on, in this process; None makes none."""
    _tracers[:] = [] if tracer is None else [tracer]


def is_on() -> bool:
    """Whether spans are made."""
    return bool(_tracers)


@contextmanager
def span(name: str, *, parent: str = "") -> Iterator[None]:
    """Make the block a span.

    Args:
        name: of the step.
        parent: `traceparent` of the step that caused it; "" continues what this thread is in, or begins a trace.
    """
    if not _tracers:
        yield
        return
    caused_by = _W3C.extract({HEADER: parent}) if parent else None
    with _tracers[0].start_as_current_span(
        name, context=caused_by, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def began_with(name: str, study: str, began: datetime, ended: datetime, uids: Mapping[str, str | None]) -> str:
    """Begin the trace of a study with a step that is over already; return that step's `traceparent`.

    The trace's id follows from the study's UID, so that series which come apart, through several receivers, are in one.

    Args:
        name: of the step.
        study: Study Instance UID.
        began: when it began.
        ended: when it was over.
        uids: kind ("study", "series", "case") → UID, as `note` takes them.
    """
    if not _tracers:
        return ""
    began_ns, ended_ns = (int(at.timestamp() * 1e9) for at in (began, ended))
    over = _tracers[0].start_span(name, context=_W3C.extract({HEADER: _root_of(study)}), start_time=began_ns)
    over.set_attributes(_attributes({"study": study, **uids}))
    over.end(end_time=ended_ns)
    return _carried(trace.set_span_in_context(over, context.Context()))


def note(uids: Mapping[str, str | None]) -> None:
    """Say what the step of this thread is about: kind ("study", "series", "case") → UID."""
    trace.get_current_span().set_attributes(_attributes(uids))


def happened(event: str) -> None:
    """Note in the span of this thread that something happened."""
    trace.get_current_span().add_event(event)


def failed(reason: str) -> None:
    """Note that the step of this thread failed; the reason is a constant word, not a message."""
    trace.get_current_span().set_status(Status(StatusCode.ERROR, reason))


def traceparent() -> str:
    """Return the context of this thread, for a job or a request that it causes; "" outside of a span."""
    return _carried(None)


def fingerprint(uid: str) -> str:
    """Return by what a UID is known in traces: `printf UID | sha256sum | head -c 16`."""
    return hashlib.sha256(uid.encode()).hexdigest()[:16]


def _root_of(study: str) -> str:
    digest = hashlib.sha256(study.encode()).hexdigest()
    return f"00-{digest[:32]}-{digest[32:48]}-01"


def _attributes(uids: Mapping[str, str | None]) -> dict[str, str]:
    return {f"npc.{kind}": fingerprint(uid) for kind, uid in uids.items() if uid}


def _carried(place: context.Context | None) -> str:
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, context=place)
    return carrier.get(HEADER, "")
