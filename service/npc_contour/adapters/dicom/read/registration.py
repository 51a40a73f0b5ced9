"""Spatial Registration objects as rigid moves (PS3.3 C.20.2).

Each item of the Registration Sequence takes positions of one frame of reference to the registered one, which is that of
the object. Only rigid ones are used: what is written as rigid is checked by its numbers, too.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from npc_contour.adapters.dicom.read.elements import CANNOT_PARSE
from npc_contour.adapters.dicom.read.headers import check_every_level, read_bytes
from npc_contour.domain.geometry import FloatArray
from npc_contour.domain.registration import RigidMove, matrix_of
from npc_contour.errors import InstanceRefused

RIGID = "RIGID"
ORTHONORMAL_TOLERANCE = 1e-3
"""Matrices are written with few digits."""


def read_registration(source: Path | bytes) -> tuple[RigidMove, ...]:
    """Read one object.

    Args:
        source: a DICOM file, or its bytes.

    Returns:
        One move for each frame of reference other than the registered one.

    Raises:
        InstanceRefused: it is damaged, says one thing twice, or one of its matrices is not rigid.
    """
    try:
        content = source if isinstance(source, bytes) else source.read_bytes()
        check_every_level(read_bytes(content, key="")[1])
        with dcmread(BytesIO(content)) as dataset:
            return _moves(dataset)
    except (InvalidDicomError, OSError, ValueError, TypeError, AttributeError, RecursionError, KeyError) as error:
        raise _refused(f"it cannot be read: {error}") from error


def _moves(dataset: Dataset) -> tuple[RigidMove, ...]:
    target = str(dataset.get("FrameOfReferenceUID", "") or "")
    if not target:
        raise _refused("it has no Frame of Reference UID")
    moves = []
    for item in dataset.get("RegistrationSequence") or ():
        source = str(item.get("FrameOfReferenceUID", "") or "")
        matrix = _matrix(item)
        if source and source != target:
            moves.append(RigidMove(source, target, matrix_of(matrix), (str(dataset.SOPInstanceUID),)))
    return tuple(moves)


def _matrix(item: Dataset) -> FloatArray:
    """The product of an item's matrices, the first one applied first (PS3.3 C.20.2.1.1)."""
    whole = np.eye(4)
    for registration in item.get("MatrixRegistrationSequence") or ():
        for step in registration.get("MatrixSequence") or ():
            kind = str(step.get("FrameOfReferenceTransformationMatrixType", "") or "")
            values = [float(value) for value in step.get("FrameOfReferenceTransformationMatrix") or ()]
            if len(values) != 16 or not np.isfinite(values).all():
                raise _refused(f"a matrix has {len(values)} numbers, 16 finite ones are asked")
            matrix = np.asarray(values).reshape(4, 4)
            rotation = matrix[:3, :3]
            rigid = (
                np.allclose(rotation @ rotation.T, np.eye(3), atol=ORTHONORMAL_TOLERANCE)
                and np.linalg.det(rotation) > 0
                and np.allclose(matrix[3], (0.0, 0.0, 0.0, 1.0), atol=1e-6)
            )
            if kind != RIGID or not rigid:
                raise _refused(f"a matrix of type {kind or 'absent'} is not rigid, only rigid ones are used")
            whole = matrix @ whole
    left, _, right = np.linalg.svd(whole[:3, :3])
    whole[:3, :3] = left @ right
    return whole


def _refused(message: str) -> InstanceRefused:
    return InstanceRefused(message, status=CANNOT_PARSE)
