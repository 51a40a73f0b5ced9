"""What is made of a case, as files named by the case: a step that finds its artefact complete skips itself.

labels-<network>-<contract>.npz   label map on the planning grid, and where labels change between voxels
rtstruct.dcm                      what is sent
segmentation.dcm                  the same ROIs as DICOM SEG, where the site wants it
measurements.dcm                  what was measured (SR), where the pipeline measures and found something
report.json                       volumes, what was not found, provenance, seconds of each step
"""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np

from npc_contour.application.ports import Spool
from npc_contour.domain.geometry import Grid
from npc_contour.domain.pipelines import NetworkContract
from npc_contour.domain.volumes import LabelMap
from npc_contour.errors import StoreError

RTSTRUCT, SEGMENTATION = "rtstruct.dcm", "segmentation.dcm"
MEASUREMENTS, REPORT = "measurements.dcm", "report.json"
LABELS, CROSSINGS = "labels", "crossings"
_FAST = 1
"""Label maps are mostly background: the fastest compression leaves one part in sixty."""


class Artefacts:
    """The files of one case."""

    def __init__(self, spool: Spool, case_id: str) -> None:
        """Keep them in this spool."""
        self._spool = spool
        self._case_id = case_id

    def key(self, name: str) -> str:
        """Return the key of an artefact."""
        return self._spool.artefact_key(self._case_id, name)

    def has(self, name: str) -> bool:
        """Whether an artefact is there, and so complete."""
        return self._spool.exists(self.key(name))

    def put(self, name: str, data: bytes) -> str:
        """Keep an artefact; return its key."""
        return self._spool.put_artefact(self._case_id, name, data)

    def has_labels(self, contract: NetworkContract) -> bool:
        """Whether this very network has answered for the case."""
        return self.has(_labels_name(contract))

    def put_labels(self, contract: NetworkContract, label_map: LabelMap) -> None:
        """Keep a network's answer."""
        buffer = io.BytesIO()
        arrays = {LABELS: label_map.labels}
        if label_map.crossings is not None:
            arrays[CROSSINGS] = label_map.crossings
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
            StoreError: the file does not hold what was put there.
        """
        data = self._spool.read(self.key(_labels_name(contract)))
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                labels = archive[LABELS]
                crossings = archive.get(CROSSINGS)
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            raise StoreError(f"{_labels_name(contract)} of case {self._case_id} is damaged: {error}") from error
        return LabelMap(labels, grid, contract.name, crossings)

    def put_report(self, report: dict[str, Any]) -> None:
        """Keep the report."""
        self.put(REPORT, json.dumps(report, indent=2, ensure_ascii=False).encode())

    def report(self) -> dict[str, Any]:
        """Read the report back."""
        report: dict[str, Any] = json.loads(self._spool.read(self.key(REPORT)))
        return report


def _labels_name(contract: NetworkContract) -> str:
    return f"labels-{contract.name}-{contract.contract_sha256[:12]}.npz"
