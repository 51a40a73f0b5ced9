"""Pixel Data of one CT or MR image as numbers, bounded before anything is decoded.

Nothing here trusts a length, a matrix or a codestream: the header's matrix is bounded, native pixels must have
exactly the length that the header says, and a compressed frame must announce the header's matrix before a codec
sees it. Lossy transfer syntaxes are not taken.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from npc_contour.adapters.dicom.read.headers import ParsedInstance
from npc_contour.errors import PixelDataError, bytes_of_a_stranger

NATIVE_SYNTAXES: tuple[UID, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
COMPRESSED_SYNTAXES: tuple[UID, ...] = (
    RLELossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
)
MAX_EDGE = 4096
"""Rows and Columns may not exceed this: 4096 x 4096 x 16 bit are 32 MiB a slice."""
_UNDEFINED = 0xFFFFFFFF
_PLUGINS = {
    RLELossless: "pylibjpeg",
    JPEGLossless: "gdcm",
    JPEGLosslessSV1: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
}
"""The one codec that is asked, whatever else is installed; all are under permissive licences (BSD, Apache, MIT)."""

Stored = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the header says that one frame is stored."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    little_endian: bool

    @property
    def frame_bytes(self) -> int:
        """Exact length of one native frame, without padding to an even length."""
        return self.rows * self.columns * self.bits_allocated // 8


def layout_of(parsed: ParsedInstance) -> PixelLayout:
    """Read and bound how pixels are stored.

    Raises:
        PixelDataError: not one frame of one 8- or 16-bit sample a pixel, or larger than the bounds.
    """
    e = parsed.elements
    rows, columns = e.short("Rows") or 0, e.short("Columns") or 0
    allocated, stored, high = e.short("BitsAllocated"), e.short("BitsStored"), e.short("HighBit")
    if not (1 <= rows <= MAX_EDGE and 1 <= columns <= MAX_EDGE):
        raise PixelDataError(f"a matrix of {rows} x {columns}, from 1 to {MAX_EDGE} are taken")
    if (e.integer("NumberOfFrames") or 1) != 1:
        raise PixelDataError(f"{e.integer('NumberOfFrames')} frames, an image of a series has one")
    if e.short("SamplesPerPixel") != 1 or e.text("PhotometricInterpretation") not in {"MONOCHROME1", "MONOCHROME2"}:
        raise PixelDataError(
            f"{e.short('SamplesPerPixel')} samples a pixel, {e.text('PhotometricInterpretation') or 'no photometric'},"
            " expected one MONOCHROME sample"
        )
    if allocated not in {8, 16} or stored is None or not 1 <= stored <= allocated or high != stored - 1:
        raise PixelDataError(f"bits allocated {allocated}, stored {stored}, high bit {high}: not a 8 or 16 bit image")
    signed = e.short("PixelRepresentation")
    if signed not in {0, 1}:
        raise PixelDataError(f"Pixel Representation is {signed}, expected 0 or 1")
    little = parsed.transfer_syntax_uid != ExplicitVRBigEndian
    return PixelLayout(rows, columns, allocated, stored, signed == 1, e.text("PhotometricInterpretation"), little)


def pixel_bytes(parsed: ParsedInstance, layout: PixelLayout) -> bytes | memoryview:
    """The value of Pixel Data: one native frame, or the encapsulated fragments.

    Raises:
        PixelDataError: absent, cut off, or not of exactly the length that the header says.
    """
    if parsed.pixel_data_offset is None:
        raise PixelDataError("the image has no Pixel Data")
    length, start = _value_place(parsed, parsed.pixel_data_offset)
    value = parsed.data[start:]
    if parsed.transfer_syntax_uid in COMPRESSED_SYNTAXES:
        if length != _UNDEFINED:
            raise PixelDataError("compressed Pixel Data must be encapsulated (undefined length)")
        return _fragments(value)
    if parsed.transfer_syntax_uid not in NATIVE_SYNTAXES:
        name = UID(parsed.transfer_syntax_uid).name
        raise PixelDataError(f"transfer syntax {name} is not taken: uncompressed or lossless only")
    expected = layout.frame_bytes + layout.frame_bytes % 2
    if (
        length < expected
        or length == _UNDEFINED
        or (length > expected and not _is_padding(value[expected:length], layout))
    ):
        raise PixelDataError(f"Pixel Data says {length} bytes, {layout.rows} x {layout.columns} need {expected}")
    if len(value) < length:
        raise PixelDataError(f"Pixel Data is cut off: {len(value)} of {length} bytes")
    return value[:expected]


def _is_padding(excess: bytes | memoryview, layout: PixelLayout) -> bool:
    """Whether bytes after the pixels are what older senders pad with (PS3.5 8.1.1), and no rows of a larger matrix."""
    return len(excess) < layout.frame_bytes // layout.rows or (len(excess) < layout.frame_bytes and not any(excess))


def decode(parsed: ParsedInstance) -> Stored:
    """Decode the stored values of an image.

    Returns:
        (rows, columns) int32: stored values with their sign, bits above Bits Stored removed.

    Raises:
        PixelDataError: the pixels are not what the header says, or their codec refuses them.
    """
    layout = layout_of(parsed)
    value = pixel_bytes(parsed, layout)
    if parsed.transfer_syntax_uid in NATIVE_SYNTAXES:
        order = "<" if layout.little_endian else ">"
        kind = np.dtype(f"{order}u{layout.bits_allocated // 8}")
        raw = np.frombuffer(value, kind, count=layout.rows * layout.columns).reshape(layout.rows, layout.columns)
    else:
        raw = _decompress(bytes(value), parsed.transfer_syntax_uid, layout)
    return _sign_extended(raw.astype(np.int32), layout)


def _sign_extended(raw: Stored, layout: PixelLayout) -> Stored:
    """Drop bits above Bits Stored (old files keep overlays there) and carry the sign bit up."""
    spare = 32 - layout.bits_stored
    shifted = raw << spare
    if layout.signed:
        return shifted >> spare
    return (shifted.view(np.uint32) >> spare).astype(np.int32)


def _decompress(value: bytes, transfer_syntax_uid: str, layout: PixelLayout) -> Stored:
    frames = list(generate_frames(value, number_of_frames=1))
    if transfer_syntax_uid != RLELossless:
        announced = _announced_matrix(frames[0])
        if announced != (layout.rows, layout.columns):
            raise PixelDataError(
                f"the codestream announces {announced}, the header {layout.rows} x {layout.columns} pixels"
            )
    options: dict[str, Any] = {
        "rows": layout.rows,
        "columns": layout.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": layout.photometric,
        "bits_allocated": layout.bits_allocated,
        "bits_stored": layout.bits_stored,
        "pixel_representation": int(layout.signed),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    syntax = UID(transfer_syntax_uid)
    with bytes_of_a_stranger(lambda why: PixelDataError(f"{syntax.name} cannot be decoded: {why}")):
        array, _ = get_decoder(syntax).as_array(value, decoding_plugin=_PLUGINS[syntax], **options)
    if array.shape != (layout.rows, layout.columns):
        raise PixelDataError(f"decoded pixels are {array.shape}, expected ({layout.rows}, {layout.columns})")
    return np.asarray(array, dtype=np.int32)


def _value_place(parsed: ParsedInstance, offset: int) -> tuple[int, int]:
    """Length of the value of the element at `offset`, and where it starts."""
    head = bytes(parsed.data[offset : offset + 12])
    implicit = parsed.transfer_syntax_uid == ImplicitVRLittleEndian
    if len(head) < (8 if implicit else 12):
        raise PixelDataError("Pixel Data is cut off within its head")
    if implicit:
        return int(struct.unpack_from("<L", head, 4)[0]), offset + 8
    if head[4:6] not in {b"OW", b"OB", b"UN"}:
        raise PixelDataError(f"Pixel Data has VR {head[4:6]!r}, expected OB or OW")
    order = ">" if parsed.transfer_syntax_uid == ExplicitVRBigEndian else "<"
    return int(struct.unpack_from(f"{order}L", head, 8)[0]), offset + 12


def _fragments(data: bytes | memoryview) -> bytes | memoryview:
    """The encapsulated value, proved whole: items up to the sequence delimiter, none beyond the end."""
    position = 0
    while position + 8 <= len(data):
        tag, length = struct.unpack_from("<LL", data, position)
        if tag == 0xE0DDFFFE:
            return data[:position]
        if tag != 0xE000FFFE or length > len(data) - position - 8:
            raise PixelDataError("compressed Pixel Data is broken: a fragment is not whole")
        position += 8 + length
    raise PixelDataError(f"compressed Pixel Data is cut off after {len(data)} bytes")


def _announced_matrix(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream says of itself; None when it says nothing."""
    if frame[:4] == b"\xff\x4f\xff\x51" and len(frame) >= 24:
        right, bottom, left, top = struct.unpack_from(">LLLL", frame, 8)
        return (bottom - top, right - left)
    position = 2
    while frame[:2] == b"\xff\xd8" and position + 9 <= len(frame) and frame[position] == 0xFF:
        marker, length = struct.unpack_from(">BH", frame, position + 1)
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}):
            rows, columns = struct.unpack_from(">HH", frame, position + 5)
            return (rows, columns)
        position += 2 + length
    return None
