"""A log line is JSON with an event name that the documentation explains, and a patient's name never gets into one."""

from __future__ import annotations

import ast
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from npc_contour.logs import AUDIT_PREFIX, FORBIDDEN_FIELDS, Event, JsonFormatter

ROOT = Path(__file__).parents[2]
LEVELS = {"info": "info", "warning": "warning", "error": "error", "exception": "error"}
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]*) \| ([^|]+) \|$")


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


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """Return the table of docs/logs.md: event → (levels, fields); every event once, with a meaning."""
    events = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8").partition("\n## Events")[2]
    rows = [match.groups() for line in events.splitlines() if (match := ROW.match(line))]
    assert len({name for name, *_ in rows}) == len(rows)
    return {
        name: (set() if levels == "timeline only" else set(levels.split(", ")), set(re.findall(r"`(\w+)`", fields)))
        for name, levels, fields, _ in rows
    }


def logged() -> Iterator[tuple[str, Event, str, set[str]]]:
    """Yield (where, event, level, fields) of every call of a logger that names its event and its fields in place."""
    for path in sorted((ROOT / "service").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
                continue
            match node.args:
                case [ast.Attribute(value=ast.Name(id="Event"), attr=name), *_]:
                    fields = {
                        key.value
                        for keyword in node.keywords
                        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict)
                        for key in keyword.value.keys
                        if isinstance(key, ast.Constant) and isinstance(key.value, str)
                    }
                    yield f"{path.name}:{node.lineno}", Event[name], LEVELS[node.func.attr], fields
                case _:
                    continue


def test_documentation_explains_every_event_in_their_order_and_no_other() -> None:
    assert list(documented()) == [event.value for event in Event]


def test_documentation_has_the_levels_and_fields_that_are_logged() -> None:
    table = documented()
    calls = list(logged())
    faults = []
    for where, event, level, fields in calls:
        levels, known = table[event]
        missing = {field for field in fields if not field.startswith(AUDIT_PREFIX)} - known
        if level not in levels or missing:
            faults.append(f"{where}: {event} at {level}, not documented: {sorted(missing)}")

    assert len(calls) > 50
    assert faults == []


def test_no_documented_field_is_one_that_is_withheld() -> None:
    assert not {field for _, fields in documented().values() for field in fields} & FORBIDDEN_FIELDS
