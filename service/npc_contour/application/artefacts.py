"""What is made of a case, as files named by the case: a step that finds its artefact complete skips itself.

labels-<network>-<contract>.npz   label map on the planning grid, where labels change between voxels, and what the
                                  network's class maps say of each label
rtstruct.dcm                      what is sent
segmentation.dcm                  the same ROIs as DICOM SEG, where the site wants it
measurements.dcm                  what was measured (SR), where the pipeline measures and found something
findings.dcm                      what is doubtful (SR), and
findings_pdf.dcm                  the same as a page with pictures (Encapsulated PDF), where anything is
images.json                       what was doubted of the images before the networks ran
opinions.json                     where networks of other pipelines draw the same structures elsewhere
report.json                       volumes, what was not found, provenance, seconds of each step
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from npc_contour.application.ports import Spool
from npc_contour.domain.findings import Finding
from npc_contour.domain.geometry import Grid
from npc_contour.domain.jobs import Deliverable
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.domain.series import Seal
from npc_contour.domain.volumes import LabelMap
from npc_contour.errors import DamagedFileError, NoSuchRowError
from npc_contour.store.database import Store

RTSTRUCT, SEGMENTATION = "rtstruct.dcm", "segmentation.dcm"
MEASUREMENTS, REPORT = "measurements.dcm", "report.json"
IMAGE_FINDINGS, SECOND_OPINIONS = "images.json", "opinions.json"
FINDINGS, FINDINGS_PDF = "findings.dcm", "findings_pdf.dcm"
LABELS, CROSSINGS, DOUBTS = "labels", "crossings", "doubts"
_FAST = 1
"""Label maps are mostly background: the fastest compression leaves one part in sixty."""


OBJECTS = {
    Deliverable.RTSTRUCT: RTSTRUCT,
    Deliverable.SEGMENTATION: SEGMENTATION,
    Deliverable.MEASUREMENTS: MEASUREMENTS,
    Deliverable.FINDINGS: FINDINGS,
    Deliverable.FINDINGS_PDF: FINDINGS_PDF,
}
"""The DICOM objects among them."""


class Artefacts:
    """The files of one case."""

    def __init__(self, store: Store, spool: Spool, case_id: str) -> None:
        """Keep them in this spool, and what they must hold in this store."""
        self._store = store
        self._spool = spool
        self._case_id = case_id

    def key(self, name: str) -> str:
        """Return the key of an artefact."""
        return self._spool.artefact_key(self._case_id, name)

    def has(self, name: str) -> bool:
        """Whether an artefact is there, and so complete."""
        return self._spool.exists(self.key(name))

    def put(self, name: str, data: bytes) -> str:
        """Keep an artefact; return its key.

        What it must hold is noted first: should the process die in between, the file is made again.
        """
        key = self.key(name)
        with self._store.transaction() as tx:
            tx.seal_artefact(self._case_id, key, Seal.of(data))
        return self._spool.put_artefact(self._case_id, name, data)

    def read(self, name: str) -> bytes:
        """Read an artefact back.

        Raises:
            DamagedFileError: it is gone, or not what was put there.
        """
        key = self.key(name)
        with self._store.transaction() as tx:
            seal = tx.seal_of_artefact(key)
        return self._spool.read(key, seal)

    def read_object(self, what: Deliverable) -> bytes:
        """Return a DICOM object of the case.

        Raises:
            NoSuchRowError: the case has none.
            DamagedFileError: it is not what was put there.
        """
        if not self.has(OBJECTS[what]):
            raise NoSuchRowError(f"case {self._case_id} has no {what} that is kept")
        return self.read(OBJECTS[what])

    def is_whole(self, name: str) -> bool:
        """Whether an artefact is there, as it was put there."""
        try:
            self.read(name)
        except DamagedFileError:
            return False
        return True

    def has_labels(self, contract: NetworkContract) -> bool:
        """Whether this very network has answered for the case."""
        return self.has(_labels_name(contract))

    def put_labels(self, contract: NetworkContract, label_map: LabelMap) -> None:
        """Keep a network's answer."""
        buffer = io.BytesIO()
        arrays: dict[str, npt.NDArray[np.generic]] = {LABELS: label_map.labels}
        if label_map.crossings is not None:
            arrays[CROSSINGS] = label_map.crossings
        if label_map.doubts is not None:
            arrays[DOUBTS] = label_map.doubts
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_FAST) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
        self.put(_labels_name(contract), buffer.getvalue())

    def labels(self, contract: NetworkContract, grid: Grid) -> LabelMap:
        """Read a network's answer back.

        Args:
            contract: of the network.
            grid: of the planning volume.

        Raises:
            DamagedFileError: the file does not hold what was put there.
        """
        name = _labels_name(contract)
        data = self.read(name)
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                labels = archive[LABELS]
                crossings = archive.get(CROSSINGS)
                doubts = archive.get(DOUBTS)
            return LabelMap(labels, grid, contract.name, crossings, doubts)
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            # Of a former version's file nothing was noted: it proves itself by what it is.
            raise DamagedFileError(self.key(name), f"no label map on the planning grid: {error}") from error

    def put_findings(self, name: str, findings: Iterable[Finding]) -> None:
        """Keep what was doubted before contours were drawn: of the images, or by other networks."""
        self.put(name, json.dumps([finding.as_json() for finding in findings], ensure_ascii=False).encode())

    def findings(self, name: str) -> tuple[Finding, ...]:
        """Read it back.

        Raises:
            DamagedFileError: the file does not hold what was put there.
        """
        return tuple(Finding.from_json(one) for one in json.loads(self.read(name)))

    def put_report(self, report: dict[str, Any]) -> None:
        """Keep the report."""
        self.put(REPORT, json.dumps(report, indent=2, ensure_ascii=False).encode())

    def report(self) -> dict[str, Any]:
        """Read the report back."""
        report: dict[str, Any] = json.loads(self.read(REPORT))
        return report


def _labels_name(contract: NetworkContract) -> str:
    return f"labels-{contract.name}-{contract.contract_sha256[:12]}.npz"
