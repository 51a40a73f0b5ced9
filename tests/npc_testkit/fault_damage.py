"""A trial of a disk that changes bytes: what it spoiled is sent again, made again, or told; it never goes out."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx
import pydicom

from npc_testkit.cases import Seen
from npc_testkit.fault_lab import Lab, Outcome, audit, lab, started, wait_verified
from npc_testkit.fault_site import Sender, Service, Study, wait_for

CASE = "SELECT id, state, reasons FROM contour_case WHERE study_instance_uid = %(study)s ORDER BY generation DESC"
SERIES = "SELECT state, reasons FROM series WHERE study_instance_uid = %(study)s"
AFTER_THE_HEADER = 0.9
"""Of a file's length: there are pixels, and coordinates."""


def damage(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001, ARG001 - as every trial
    """Flip a bit in an image, cut another, spoil structure set and label map, each before it is used again."""
    outcome = Outcome("bits flipped in the spool")
    wrong: list[str] = []
    with started(lab.service("damage")) as service:
        spool = service.folder / "data" / "spool"
        flipped, cut, written = lab.studies("damage", 3)
        senders = [Sender(service.port) for _ in range(3)]
        for sender, study, spoil in zip(senders, (flipped, cut), (_flip, _cut), strict=False):
            sender.send(study.all_files)
            spoil(sorted((spool / "instances" / study.uid).rglob("*.dcm"))[20])
            wait_for(lambda study=study: _is_told(service, study), "damage of an image is told", 120)  # type: ignore[misc]
            wrong += [f"image damaged, case {row['state']}" for row in _rows(service, CASE, study) if _is_out(row)]
            sender.send(study.all_files)
        wait_verified(service, 2, 240)
        good = _written(service, written, senders[2], spool)
        wait_verified(service, 3, 240)
        for case_id, before in good.items():
            after = _at_tps(lab, before)
            if after != pydicom.dcmread(io.BytesIO(before)):
                wrong.append(f"case {case_id}: the planning system has other contours than were checked")
        audit(lab, service, [flipped, cut, written], senders, outcome)
        told = {row["name"] for row in service.query("SELECT DISTINCT name FROM event")}
    outcome.more["silent_wrong"] = len(wrong)
    expected = {"instances.lost", "case.retried", "file.damaged", "file.made_again"}
    outcome.held = outcome.held and not wrong and expected <= told
    outcome.detail = "; ".join(wrong) or (
        "a flipped and a cut image failed their cases and came again; structure set and label map were made again,"
        f" the same bytes; not told: {', '.join(sorted(expected - told)) or 'nothing'}"
    )
    return outcome


def as_case(_case: Path, work: Path) -> Seen:
    """The trial as a case of the table, with a hospital of its own."""
    with lab(work) as shared:
        outcome = damage(shared, True)  # noqa: FBT003 - as every trial
    return Seen(() if outcome.held else (outcome.detail,), silent_wrong=bool(outcome.more["silent_wrong"]))


def _written(service: Service, study: Study, sender: Sender, spool: Path) -> dict[str, bytes]:
    """Spoil what was made of a study while its destination is paused; return the good structure sets by case."""
    _post(service, "/destinations/tps/pause", {"reason": "trial"})
    sender.send(study.all_files)
    wait_for(lambda: any(row["state"] == "contoured" for row in _rows(service, CASE, study)), "a structure set", 240)
    good = {}
    for row in _rows(service, CASE, study):
        folder = spool / "artefacts" / row["id"]
        good[row["id"]] = (folder / "rtstruct.dcm").read_bytes()
        for path in (folder / "rtstruct.dcm", *folder.glob("labels-*")):
            _flip(path)
    _post(service, "/destinations/tps/resume")
    return good


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * AFTER_THE_HEADER)] ^= 0x01
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def _rows(service: Service, statement: str, study: Study) -> list[dict[str, Any]]:
    return service.query(statement, {"study": study.uid})


def _is_out(row: dict[str, Any]) -> bool:
    return row["state"] in {"sent", "verified"}


def _is_told(service: Service, study: Study) -> bool:
    """Whether the case has ended, well or badly, or its series is held."""
    ended = any(row["state"] == "failed" or _is_out(row) for row in _rows(service, CASE, study))
    return ended or any(row["state"] == "held" for row in _rows(service, SERIES, study))


def _at_tps(lab: Lab, written: bytes) -> pydicom.Dataset | None:
    """What the planning system holds under the UID of a structure set; None where it holds nothing."""
    uid = pydicom.dcmread(io.BytesIO(written)).SOPInstanceUID
    held = (pydicom.dcmread(io.BytesIO(content)) for content in lab.tps.instances("RTSTRUCT"))
    return next((one for one in held if one.SOPInstanceUID == uid), None)


def _post(service: Service, path: str, body: dict[str, str] | None = None) -> None:
    url = f"http://127.0.0.1:{service.runtime['web_port']}{path}"
    httpx.post(url, json=body or {}, timeout=20, trust_env=False).raise_for_status()
