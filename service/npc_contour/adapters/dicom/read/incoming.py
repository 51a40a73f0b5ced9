"""One object as a C-STORE brings it: what the sender says it is against what it is, and how it is kept."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

from pydicom.uid import CTImageStorage, MRImageStorage, SpatialRegistrationStorage

from npc_contour.adapters.dicom.read import headers, pixels
from npc_contour.adapters.dicom.read.elements import CANNOT_PARSE
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import InstanceRefused, PixelDataError

DATA_SET_MISMATCH = 0xA900
CANNOT_UNDERSTAND = CANNOT_PARSE
STORAGE_CLASSES = {str(CTImageStorage): "CT", str(MRImageStorage): "MR", str(SpatialRegistrationStorage): "REG"}
"""SOP classes that are taken, and the Modality that each demands."""
REGISTRATION = "REG"
"""An object of this modality has no pixels: it says how frames of reference lie to each other."""
IMPLEMENTATION_CLASS_UID = f"2.25.{uuid.UUID('6c0f2d0e-6f2c-5a2b-9f0e-6e70635f6374').int}"
IMPLEMENTATION_VERSION_NAME = "NPC_CONTOUR"


@dataclass(frozen=True, slots=True)
class Incoming:
    """What one C-STORE request says and brings.

    Attributes:
        sop_class_uid: as the command says, like the instance.
        data_set: the encoded data set as received; None when the request brings none.
    """

    sop_class_uid: str
    sop_instance_uid: str
    context_class_uid: str
    transfer_syntax_uid: str
    data_set: bytes | memoryview | None

    @property
    def is_class_taken(self) -> bool:
        """Whether objects of this SOP class are taken at all."""
        return self.sop_class_uid in STORAGE_CLASSES

    def checked_header(self) -> InstanceHeader:
        """Parse the data set and prove that it is whole and what the sender says.

        Raises:
            InstanceRefused: it is not; the error carries the status to answer.
        """
        if self.data_set is None:
            raise InstanceRefused("the C-STORE brings no data set", status=CANNOT_UNDERSTAND)
        parsed = headers.parse_data_set(self.data_set, self.transfer_syntax_uid)
        header = headers.header_of(parsed, key="")
        if (self.sop_instance_uid, self.sop_class_uid) != (header.sop_instance_uid, header.sop_class_uid):
            raise InstanceRefused(
                f"the command names instance {self.sop_instance_uid[:64]} of class {self.sop_class_uid[:64]},"
                f" the data set {header.sop_instance_uid[:64]} of class {header.sop_class_uid[:64]}",
                status=DATA_SET_MISMATCH,
            )
        if header.sop_class_uid != self.context_class_uid:
            raise InstanceRefused(
                f"class {header.sop_class_uid} came under a presentation context for {self.context_class_uid}",
                status=DATA_SET_MISMATCH,
            )
        expected = STORAGE_CLASSES.get(header.sop_class_uid)
        if header.modality != expected:
            raise InstanceRefused(
                f"Modality is {header.modality!r} in an object of a storage class for {expected}",
                status=DATA_SET_MISMATCH,
            )
        if expected == REGISTRATION:
            headers.check_every_level(parsed)
            return header
        try:
            pixels.pixel_bytes(parsed, pixels.layout_of(parsed))
        except PixelDataError as error:
            raise InstanceRefused(str(error), status=CANNOT_UNDERSTAND) from error
        return header

    def file_parts(self) -> list[bytes | memoryview]:
        """The DICOM file to keep: our file meta information, then the data set as received."""
        meta = file_meta(self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax_uid)
        return [meta] if self.data_set is None else [meta, self.data_set]


def fields_of(header: InstanceHeader) -> dict[str, str]:
    """What the log says of an instance that was kept."""
    return {
        "sop_instance_uid": header.sop_instance_uid,
        "series_instance_uid": header.series_instance_uid,
        "study_instance_uid": header.study_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "audit_patient_id": header.patient_id,
    }


def file_meta(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 7.1) for a received data set.

    Nothing in it depends on the sender or the time, so the same data set gives the same file.
    """
    elements = _element(0x0001, b"OB", b"\x00\x01")
    for number, value in (
        (0x0002, sop_class_uid),
        (0x0003, sop_instance_uid),
        (0x0010, transfer_syntax_uid),
        (0x0012, IMPLEMENTATION_CLASS_UID),
    ):
        elements += _element(number, b"UI", value.encode("ascii"))
    elements += _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode("ascii"))
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", struct.pack("<L", len(elements))) + elements


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b" " if vr == b"SH" else b"\0"
    if vr == b"OB":
        return struct.pack("<HH2sHL", 2, number, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value
