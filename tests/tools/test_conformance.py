"""The conformance statement is what the code does: the file is its output, and DCMTK negotiates what its table says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.uid import (
    JPEG2000,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
)

from npc_contour.adapters.dicom.receive.scp import Receiver, ReceiverSettings
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.app.dicom_services import further_services
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.peers import run_tool
from npc_tools.__main__ import main
from npc_tools.conformance.statement import requested, served, statement

FILE = Path(__file__).parents[2] / "docs" / "conformance-statement.md"
NOT_TAKEN = (
    (RTStructureSetStorage, ExplicitVRLittleEndian),
    (EnhancedCTImageStorage, ExplicitVRLittleEndian),
    (SecondaryCaptureImageStorage, ExplicitVRLittleEndian),
    (CTImageStorage, JPEGBaseline8Bit),
    (CTImageStorage, JPEG2000),
)
Pairs = set[tuple[str, str]]


def table(text: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its head."""
    lines = text[text.index(heading) :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    rows = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip(" `") for cell in line.strip("|").split(" |")])
    return rows


def pairs_of_the_statement() -> Pairs:
    return {(row[1], row[3]) for row in table(FILE.read_text(encoding="utf-8"), "### 3.2")}


def test_the_file_is_what_the_code_says() -> None:
    assert FILE.read_text(encoding="utf-8") == statement(), (
        "run: npc-tools conformance --out docs/conformance-statement.md"
    )


def test_every_service_and_every_role_is_in_the_overview() -> None:
    overview = {row[1]: (row[2], row[3]) for row in table(statement(), "## 1 Overview")}

    assert set(overview) == {service.sop_class for service in served()} | {uid for uid, _, _ in requested()}
    assert {uid for uid, (_, scp) in overview.items() if scp == "yes"} == {one.sop_class for one in served()}


def test_the_tables_are_whole() -> None:
    for line in statement().splitlines():
        if line.startswith("|"):
            assert line.endswith("|")
    tags = [row[0] for row in table(statement(), "### RT Structure Set Storage")]
    assert {"(3006,0020)", "(3006,0039)", "(3006,0080)", "(300E,0002)"} <= set(tags)
    assert "COPIED" not in statement()


def test_html_is_a_page_with_tables(tmp_path: Path) -> None:
    assert main(["conformance", "--html", "--out", str(tmp_path / "c.html")]) == 0

    page = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert page.count("<table>") > 10


def profile(pairs: list[tuple[str, str]]) -> str:
    """A negotiation profile of DCMTK that proposes each pair in a context of its own."""
    syntaxes = sorted({syntax for _, syntax in pairs})
    lines = ["[[TransferSyntaxes]]"]
    for number, syntax in enumerate(syntaxes):
        lines += [f"[Syntax{number}]", f"TransferSyntax1 = {syntax}"]
    lines += ["[[PresentationContexts]]", "[Contexts]"]
    for number, (sop_class, syntax) in enumerate(pairs, start=1):
        lines.append(f"PresentationContext{number} = {sop_class}\\Syntax{syntaxes.index(syntax)}")
    return "\n".join([*lines, "[[Profiles]]", "[All]", "PresentationContexts = Contexts", ""])


def accepted_by_dcmtk(port: int, pairs: list[tuple[str, str]], folder: Path) -> Pairs:
    """Which of these pairs are accepted when DCMTK's storescu proposes them."""
    config = folder / "profile.cfg"
    config.write_text(profile(pairs), encoding="ascii")
    (file,) = write_series(folder / "ct", ct_datasets(CtPlan(slices=1)))
    done = run_tool(
        "storescu", "-d", "-xf", config, "All", "-aec", "NPC_CONTOUR", "127.0.0.1", str(port), file, timeout_s=60
    )
    answer = done.stdout + done.stderr
    answer = answer[answer.index("A-ASSOCIATE-AC") :]
    verdicts = re.findall(r"Context ID: +(\d+) \((\w[\w ]*)", answer)
    assert len(verdicts) == len(pairs), answer[-2000:]
    return {pairs[(int(number) - 1) // 2] for number, verdict in verdicts if verdict.startswith("Accepted")}


@pytest.mark.system
def test_dcmtk_negotiates_what_the_statement_says(tmp_path: Path) -> None:
    known = {
        *map(str, (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless)),
        *map(str, (JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)),
    }
    said = pairs_of_the_statement()
    pairs = sorted(said | {(str(sop_class), str(syntax)) for sop_class, syntax in NOT_TAKEN})
    services = further_services(lambda *_: False, lambda _: False, lambda *_: False, lambda _: None)
    spool = Spool(tmp_path / "spool", min_free_mb=1)
    with Receiver(ReceiverSettings(port=0), spool, lambda *_: None, services=services) as receiver:
        accepted = accepted_by_dcmtk(receiver.port, pairs, tmp_path)

    assert accepted == said
    assert {syntax for _, syntax in accepted} >= known
