"""Nothing of a patient reaches a log through a database's message."""

from __future__ import annotations

import logging
import traceback

import pytest

from npc_contour.errors import StoreError
from npc_contour.store.database import Store

PATIENT = "TK-4711"


@pytest.mark.parametrize(("statement", "words"), [
    ("INSERT INTO pulled_series (pacs, study_instance_uid, series_instance_uid, patient_id, state, found_at,"
     " updated_at) VALUES ('pacs', '1.2', '1.2.840.ABC', %(patient)s, 'wanted', now(), now())",
     r"CheckViolation \(SQLSTATE 23514, table pulled_series, constraint pulled_series_"),
    ("INSERT INTO pulled_series (pacs, study_instance_uid, series_instance_uid, patient_id, state, found_at)"
     " VALUES ('pacs', '1.2', '1.2', %(patient)s, 'wanted', now())",
     r"NotNullViolation \(SQLSTATE 23502, table pulled_series, column updated_at\)"),
    ("SELECT %(patient)s::text::integer", "a value cannot be kept"),
    ("SELECT * FROM no_such_table WHERE %(patient)s <> ''", r'"no_such_table" does not exist \(SQLSTATE 42P01\)'),
])  # fmt: skip
def test_no_value_of_a_row_is_told(store: Store, statement: str, words: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        store.query(statement, {"patient": PATIENT})
    try:
        raise caught.value
    except StoreError:
        logging.getLogger("test").exception("step.failed")

    assert PATIENT not in "".join(traceback.format_exception(caught.value))
    assert PATIENT not in caplog.text
