"""A log line is JSON with an event name, and a patient's name never gets into one."""

from __future__ import annotations

import json
import logging

from npc_contour.logs import Event, JsonFormatter


def line(**extra: object) -> dict[str, object]:
    record = logging.getLogger("test").makeRecord(
        "test", logging.INFO, "file.py", 1, Event.INSTANCE_STORED, (), None, extra=extra
    )
    parsed: dict[str, object] = json.loads(JsonFormatter().format(record))
    return parsed


def test_event_and_fields_are_written() -> None:
    written = line(sop_instance_uid="1.2.3", size=17)

    assert written["event"] == "instance.stored"
    assert written["sop_instance_uid"] == "1.2.3"
    assert written["size"] == 17
    assert str(written["at"]).endswith("+00:00")


def test_patient_name_is_withheld() -> None:
    written = line(PatientName="WANG^XIAODONG", patient_name="WANG^XIAODONG")

    assert "WANG" not in json.dumps(written)


def test_event_names_are_unique() -> None:
    assert len({event.value for event in Event}) == len(list(Event))
