"""Malformed, lying and hostile objects by name; what each must get stands in malformed.toml beside.

Every builder changes one thing about a whole CT image. An object is what the wire says (command, presentation context)
and the bytes of its data set; as a file it also has a preamble and meta information, which a few cases damage too.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    ComprehensiveSRStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from npc_testkit.ct_series import CtPlan, ct_datasets

PLAN = CtPlan(seed="malformed", slices=5)
SLICE = 2
"""The slice of the series that is malformed; its neighbours are whole."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """One object.

    Attributes:
        sop_class: as the command says, like the instance.
        context_class: abstract syntax of the presentation context.
        data_set: encoded; None sends a C-STORE without one.
        file: the whole file where it differs from preamble, meta and data set.
    """

    sop_class: bytes
    instance: bytes
    context_class: str
    transfer_syntax: str
    data_set: bytes | None
    file: bytes | None = None

    def as_file(self) -> bytes:
        """The object as a file (PS3.10)."""
        if self.file is not None:
            return self.file
        elements = [(2, self.sop_class), (3, self.instance), (16, self.transfer_syntax.encode())]
        meta = b"".join(_explicit(0x0002, number, b"UI", value) for number, value in elements)
        return (
            bytes(128) + b"DICM" + _explicit(2, 0, b"UL", struct.pack("<L", len(meta))) + meta + (self.data_set or b"")
        )


Builder = Callable[[FileDataset], Malformed]
BUILDERS: dict[str, Builder] = {}


def case(name: str) -> Callable[[Builder], Builder]:
    """Register a builder under a name."""

    def register(builder: Builder) -> Builder:
        if name in BUILDERS:
            raise ValueError(f"two cases are named {name}")
        BUILDERS[name] = builder
        return builder

    return register


def build(name: str) -> Malformed:
    """Make the object of a case; the same each time, under a SOP Instance UID of its own."""
    dataset = whole()
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["malformed", name])
    return BUILDERS[name](dataset)


def whole() -> FileDataset:
    """The image before anything is done to it."""
    return ct_datasets(PLAN)[SLICE]


def of(dataset: FileDataset, *, syntax: str = ExplicitVRLittleEndian, context: str | None = None) -> Malformed:
    """The object of a data set, all else as it should be."""
    sop_class, instance = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
    return Malformed(
        sop_class.encode(), instance.encode(), context or sop_class, str(syntax), encoded(dataset, str(syntax))
    )


def encoded(dataset: FileDataset, syntax: str) -> bytes:
    """The data set in a native encoding; compressed transfer syntaxes are explicit VR little endian."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = syntax == ImplicitVRLittleEndian
    buffer.is_little_endian = syntax != ExplicitVRBigEndian
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def _explicit(group: int, number: int, vr: bytes, value: bytes, *, length: int | None = None) -> bytes:
    value += b"\0" * (len(value) % 2)
    count = len(value) if length is None else length
    if vr in {b"OB", b"OW", b"UN", b"SQ", b"UT"}:
        return struct.pack("<HH2sHL", group, number, vr, 0, count) + value
    return struct.pack("<HH2sH", group, number, vr, count) + value


def _replaced(data: bytes, tag: tuple[int, int], element: bytes) -> bytes:
    """The data set (explicit VR little endian) with one element replaced by these bytes."""
    at = data.index(struct.pack("<HH", *tag))
    vr = data[at + 4 : at + 6]
    long_form = vr in {b"OB", b"OW", b"UN", b"SQ", b"UT"}
    length = struct.unpack_from("<L" if long_form else "<H", data, at + (8 if long_form else 6))[0]
    return data[:at] + element + data[at + (12 if long_form else 8) + length :]


def _element_case(name: str, tag: tuple[int, int], vr: bytes, value: bytes | None) -> None:
    """A case in which one element holds these bytes, or is absent (None)."""

    @case(name)
    def builder(dataset: FileDataset) -> Malformed:
        item = of(dataset)
        element = b"" if value is None else _explicit(*tag, vr, value)
        return replace(item, data_set=_replaced(item.data_set or b"", tag, element))


def _uid_case(name: str, uid: bytes) -> None:
    """A case in which command and data set agree on an evil SOP Instance UID."""

    @case(name)
    def builder(dataset: FileDataset) -> Malformed:
        item = of(dataset)
        data = _replaced(item.data_set or b"", (0x0008, 0x0018), _explicit(0x0008, 0x0018, b"UI", uid))
        return replace(item, instance=uid, data_set=data)


def _bytes_case(name: str, change: Callable[[bytes], bytes], *, syntax: str = ExplicitVRLittleEndian) -> None:
    """A case in which the bytes of the data set are changed, under a transfer syntax that may be a lie."""

    @case(name)
    def builder(dataset: FileDataset) -> Malformed:
        item = of(dataset)
        return replace(item, data_set=change(item.data_set or b""), transfer_syntax=str(syntax))


def _class_case(name: str, sop_class: str) -> None:
    """A whole object of a class that is not taken."""

    @case(name)
    def builder(dataset: FileDataset) -> Malformed:
        dataset.SOPClassUID = sop_class
        return of(dataset)


def _syntax_case(name: str, syntax: str) -> None:
    """A whole object in a transfer syntax that is not taken."""

    @case(name)
    def builder(dataset: FileDataset) -> Malformed:
        return replace(of(dataset), transfer_syntax=syntax)


def _file_case(name: str, change: Callable[[bytes], bytes]) -> None:
    """A case that only a file can have: its preamble or meta information."""

    @case(name)
    def builder(dataset: FileDataset) -> Malformed:
        item = of(dataset)
        return replace(item, file=change(item.as_file()))


def _compressed_case(name: str, syntax: str, pixels: bytes, **changes: object) -> None:
    """A case with this value of Pixel Data under a compressed transfer syntax."""

    @case(name)
    def builder(dataset: FileDataset) -> Malformed:
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        item = of(dataset)
        element = _explicit(0x7FE0, 0x0010, b"OB", pixels, length=0xFFFFFFFF)
        data = _replaced(item.data_set or b"", (0x7FE0, 0x0010), element)
        return replace(item, data_set=data, transfer_syntax=syntax)


def _encapsulated(frames: list[bytes]) -> bytes:
    return encapsulate(frames) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def _deflated(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezer.compress(data) + squeezer.flush()


def _nested(depth: int) -> bytes:
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    opened = sequence + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closed = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    return opened * depth + closed * depth


def _inserted(data: bytes, before: tuple[int, int], element: bytes) -> bytes:
    at = data.index(struct.pack("<HH", *before))
    return data[:at] + element + data[at:]


NATIVE_BYTES = len(whole().PixelData)

# UIDs
_uid_case("uid_traversal", b"../../../../tmp/evil")
_uid_case("uid_absolute_path", b"/etc/cron.d/evil")
_uid_case("uid_backslashes", b"..\\..\\evil")
_uid_case("uid_embedded_nul", b"1.2\x003.4")
_uid_case("uid_letters", b"1.2.840.abc")
_uid_case("uid_65_characters", b"1." + b"2" * 63)
_uid_case("uid_empty", b"")
_uid_case("uid_double_dot", b"1..2.3")
_uid_case("uid_trailing_dot", b"1.2.3.")
_uid_case("uid_newline", b"1.2.3\n4")
_uid_case("uid_percent_encoded", b"1.2.%2e%2e")
_uid_case("uid_arabic_digits", "1.2.\u0663".encode())
_uid_case("uid_leading_zero", b"1.2.03.4")
_uid_case("uid_trailing_space", b"1.2.840.99.1 ")
_element_case("series_uid_empty", (0x0020, 0x000E), b"UI", b"")
_element_case("series_uid_traversal", (0x0020, 0x000E), b"UI", b"../../evil")
_element_case("study_uid_traversal", (0x0020, 0x000D), b"UI", b"../../evil")
_element_case("study_uid_absent", (0x0020, 0x000D), b"UI", None)
_element_case("instance_uid_absent", (0x0008, 0x0018), b"UI", None)
_element_case("class_uid_absent", (0x0008, 0x0016), b"UI", None)


@case("command_names_another_instance")
def _(dataset: FileDataset) -> Malformed:
    return replace(of(dataset), instance=b"1.2.3.4.5")


@case("command_names_another_class")
def _(dataset: FileDataset) -> Malformed:
    return replace(of(dataset), sop_class=str(MRImageStorage).encode(), context_class=str(MRImageStorage))


@case("context_of_another_class")
def _(dataset: FileDataset) -> Malformed:
    return replace(of(dataset), context_class=str(MRImageStorage))


@case("no_data_set")
def _(dataset: FileDataset) -> Malformed:
    return replace(of(dataset), data_set=None)


# Modality and classes
_element_case("modality_of_another_class", (0x0008, 0x0060), b"CS", b"MR")
_element_case("modality_absent", (0x0008, 0x0060), b"CS", None)
_class_case("class_rtstruct", RTStructureSetStorage)
_class_case("class_structured_report", ComprehensiveSRStorage)
_class_case("class_secondary_capture", SecondaryCaptureImageStorage)
_class_case("class_enhanced_ct", EnhancedCTImageStorage)
_class_case("class_encapsulated_pdf", EncapsulatedPDFStorage)
_class_case("class_private", "1.3.12.2.1107.5.9.1")
_syntax_case("syntax_jpeg_lossy", JPEGBaseline8Bit)
_syntax_case("syntax_jpeg2000_lossy", JPEG2000)
_syntax_case("syntax_video", MPEG2MPML)
_syntax_case("syntax_private", "1.2.840.113619.5.2")

# Cut off, or no data set at all
_bytes_case("empty", lambda _: b"")
_bytes_case("one_byte", lambda data: data[:1])
_bytes_case("cut_within_a_tag", lambda data: data[:40] + data[40:42])
_bytes_case("cut_within_the_header", lambda data: data[: len(data) // 3])
_bytes_case("cut_within_the_pixels", lambda data: data[: -NATIVE_BYTES // 2])
_bytes_case("last_byte_missing", lambda data: data[:-1])
_bytes_case("random_bytes", lambda _: bytes((i * 167 + 13) % 256 for i in range(5000)))
_bytes_case("zeros", lambda _: bytes(100_000))
_bytes_case("http_request", lambda _: b"POST /studies HTTP/1.1\r\nHost: pacs\r\n\r\n")
_bytes_case("elf_program", lambda _: b"\x7fELF\x02\x01\x01" + bytes(2000))
_bytes_case("a_file_within_the_data_set", lambda data: bytes(128) + b"DICM" + data)
_bytes_case("starts_with_group_2", lambda data: _explicit(2, 16, b"UI", b"1.2.840.10008.1.2") + data)
_bytes_case("starts_with_group_0", lambda data: _explicit(0, 2, b"UI", b"1.2.3") + data)

# Lengths
_bytes_case(
    "element_of_4_gib",
    lambda data: _inserted(data, (0x0020, 0x000D), _explicit(0x0019, 0x1001, b"UN", b"x", length=0xFFFFFFFE)),
)
_bytes_case(
    "element_longer_than_the_rest",
    lambda data: _inserted(data, (0x0020, 0x000D), _explicit(0x0019, 0x1001, b"OB", b"x", length=10_000_000)),
)
_bytes_case(
    "element_one_longer_than_the_rest",
    lambda data: _replaced(
        data, (0x7FE0, 0x0010), _explicit(0x7FE0, 0x0010, b"OW", bytes(NATIVE_BYTES), length=NATIVE_BYTES + 1)
    ),
)
_bytes_case(
    "native_pixels_of_undefined_length",
    lambda data: _replaced(
        data, (0x7FE0, 0x0010), _explicit(0x7FE0, 0x0010, b"OW", bytes(NATIVE_BYTES), length=0xFFFFFFFF)
    ),
)
_bytes_case("pixels_absent", lambda data: _replaced(data, (0x7FE0, 0x0010), b""))
_element_case("pixels_empty", (0x7FE0, 0x0010), b"OW", b"")
_element_case("pixels_too_short", (0x7FE0, 0x0010), b"OW", bytes(NATIVE_BYTES - 2))
_element_case("pixels_with_padding", (0x7FE0, 0x0010), b"OW", bytes(NATIVE_BYTES + 2))
_element_case("pixels_of_another_row", (0x7FE0, 0x0010), b"OW", b"\x07" * (NATIVE_BYTES + 24))
_element_case("pixels_of_two_frames", (0x7FE0, 0x0010), b"OW", bytes(NATIVE_BYTES * 2))
_element_case("pixels_of_text", (0x7FE0, 0x0010), b"LO", b"no pixels")

# Transfer syntax lies
_bytes_case("explicit_bytes_said_implicit", lambda data: data, syntax=ImplicitVRLittleEndian)
_bytes_case("little_bytes_said_big", lambda data: data, syntax=ExplicitVRBigEndian)
_bytes_case("plain_bytes_said_deflated", lambda data: data, syntax=DeflatedExplicitVRLittleEndian)
_bytes_case("native_pixels_said_rle", lambda data: data, syntax=RLELossless)
_bytes_case("native_pixels_said_jpeg2000", lambda data: data, syntax=JPEG2000Lossless)
_bytes_case("deflated_bytes_said_plain", _deflated)
_bytes_case("deflate_cut_off", lambda data: _deflated(data)[:-20], syntax=DeflatedExplicitVRLittleEndian)


@case("deflate_bomb")
def _(dataset: FileDataset) -> Malformed:
    """Three hundred mebibytes of pixels in 0.3 MB."""
    head = _replaced(of(dataset).data_set or b"", (0x7FE0, 0x0010), b"")
    squeezer = zlib.compressobj(1, wbits=-zlib.MAX_WBITS)
    squeezed = [squeezer.compress(head + struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 300 * 2**20))]
    squeezed += [squeezer.compress(bytes(2**20)) for _ in range(300)]
    squeezed.append(squeezer.flush())
    return replace(of(dataset), data_set=b"".join(squeezed), transfer_syntax=str(DeflatedExplicitVRLittleEndian))


@case("implicit_bytes_said_explicit")
def _(dataset: FileDataset) -> Malformed:
    return replace(of(dataset), data_set=encoded(dataset, ImplicitVRLittleEndian))


@case("big_bytes_said_little")
def _(dataset: FileDataset) -> Malformed:
    return replace(of(dataset), data_set=encoded(dataset, ExplicitVRBigEndian))


# What the header says of the pixels
_element_case("rows_0", (0x0028, 0x0010), b"US", struct.pack("<H", 0))
_element_case("rows_65535", (0x0028, 0x0010), b"US", struct.pack("<H", 65535))
_element_case("rows_absent", (0x0028, 0x0010), b"US", None)
_element_case("rows_as_text", (0x0028, 0x0010), b"LO", b"ten")
_element_case("rows_as_32_bits", (0x0028, 0x0010), b"UL", struct.pack("<L", 10))
_element_case("columns_0", (0x0028, 0x0011), b"US", struct.pack("<H", 0))
_element_case("bits_allocated_0", (0x0028, 0x0100), b"US", struct.pack("<H", 0))
_element_case("bits_allocated_1", (0x0028, 0x0100), b"US", struct.pack("<H", 1))
_element_case("bits_allocated_32", (0x0028, 0x0100), b"US", struct.pack("<H", 32))
_element_case("bits_stored_17", (0x0028, 0x0101), b"US", struct.pack("<H", 17))
_element_case("bits_stored_0", (0x0028, 0x0101), b"US", struct.pack("<H", 0))
_element_case("high_bit_wrong", (0x0028, 0x0102), b"US", struct.pack("<H", 3))
_element_case("pixel_representation_2", (0x0028, 0x0103), b"US", struct.pack("<H", 2))
_element_case("samples_3", (0x0028, 0x0002), b"US", struct.pack("<H", 3))
_element_case("photometric_rgb", (0x0028, 0x0004), b"CS", b"RGB ")
_element_case("photometric_absent", (0x0028, 0x0004), b"CS", None)


@case("frames_2_billion")
def _(dataset: FileDataset) -> Malformed:
    dataset.NumberOfFrames = 2_000_000_000
    return of(dataset)


@case("frames_2")
def _(dataset: FileDataset) -> Malformed:
    dataset.NumberOfFrames = 2
    return of(dataset)


# Codestreams: the door keeps what is whole and of a taken syntax, the reader refuses it by name
_RLE_HEAD = struct.pack("<16L", 2, 64, 5000, *[0] * 13)
_J2K_HEAD = b"\xff\x4f\xff\x51" + struct.pack(">HHLLLLLLLLH", 41, 0, 65535, 65535, 0, 0, 65535, 65535, 0, 0, 1)
_compressed_case("rle_bomb", RLELossless, _encapsulated([_RLE_HEAD + b"\x81\0" * 50]), Rows=60000, Columns=60000)
_compressed_case("rle_bad_offsets", RLELossless, _encapsulated([_RLE_HEAD + bytes(200)]))
_compressed_case("rle_255_segments", RLELossless, _encapsulated([struct.pack("<16L", 255, *[64] * 15) + bytes(64)]))
_compressed_case(
    "rle_too_little", RLELossless, _encapsulated([struct.pack("<16L", 2, 64, 66, *[0] * 13) + b"\xff\0" * 2])
)
_compressed_case("jpeg2000_garbage", JPEG2000Lossless, _encapsulated([bytes(range(256)) * 4]))
_compressed_case("jpeg2000_of_65535", JPEG2000Lossless, _encapsulated([_J2K_HEAD + bytes(200)]))
_compressed_case(
    "jpegls_cut_off", JPEGLSLossless, _encapsulated([b"\xff\xd8\xff\xf7\x00\x0b\x10\x00\x0a\x00\x0c\x01\x01\x11\0"])
)
_compressed_case(
    "fragment_longer_than_the_rest", RLELossless, struct.pack("<HHL", 0xFFFE, 0xE000, 1_000_000) + bytes(8)
)
_compressed_case("fragments_without_end", RLELossless, struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 3)
_compressed_case(
    "no_fragment", JPEG2000Lossless, struct.pack("<HHL", 0xFFFE, 0xE000, 0) + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
)

# Structure
_bytes_case("sequences_2000_deep", lambda data: _inserted(data, (0x0010, 0x0010), _nested(2000)))
_bytes_case("sequences_100000_deep", lambda data: _inserted(data, (0x0010, 0x0010), _nested(100_000)))
_bytes_case("sequence_never_closed", lambda data: _inserted(data, (0x0010, 0x0010), _nested(1)[:20]))
_bytes_case(
    "delimiter_without_sequence",
    lambda data: _inserted(data, (0x0010, 0x0010), struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)),
)
_bytes_case(
    "elements_60000",
    lambda data: _inserted(
        data,
        (0x0020, 0x000D),
        b"".join(_explicit(0x0019, number, b"SH", b"x") for number in range(0x1000, 0x1000 + 60_000)),
    ),
)
_bytes_case("vr_unknown", lambda data: _inserted(data, (0x0020, 0x000D), _explicit(0x0019, 0x1001, b"ZZ", b"ab")))
_bytes_case("vr_no_letters", lambda data: _inserted(data, (0x0020, 0x000D), _explicit(0x0019, 0x1001, b"\0\0", b"ab")))
_bytes_case(
    "tags_out_of_order", lambda data: _inserted(data, (0x0020, 0x000D), _explicit(0x0008, 0x1090, b"LO", b"model"))
)
_bytes_case(
    "element_twice_with_other_values",
    lambda data: _inserted(data, (0x0020, 0x0052), _explicit(0x0020, 0x0032, b"DS", rb"-40\-100\0 ")),
)
_bytes_case(
    "element_twice_with_equal_values",
    lambda data: _inserted(data, (0x0020, 0x000D), _explicit(0x0008, 0x0060, b"CS", b"CT")),
)
_bytes_case("element_again_after_the_pixels", lambda data: data + _explicit(0x0020, 0x0032, b"DS", rb"-40\-100\0 "))
_bytes_case("private_pixels_alone", lambda data: data.replace(b"\xe0\x7f\x10\x00OW", b"\xe1\x7f\x10\x10OW"))
_bytes_case("bytes_after_the_pixels", lambda data: data + bytes(64))

# Numbers
_element_case("position_nan", (0x0020, 0x0032), b"DS", rb"nan\0\0")
_element_case("position_1e308", (0x0020, 0x0032), b"DS", rb"1e308\0\0")
_element_case("position_text", (0x0020, 0x0032), b"DS", rb"left\right\up")
_element_case("position_two_values", (0x0020, 0x0032), b"DS", rb"1\2")
_element_case("position_absent", (0x0020, 0x0032), b"DS", None)
_element_case("orientation_zero", (0x0020, 0x0037), b"DS", rb"0\0\0\0\0\0")
_element_case("orientation_not_orthogonal", (0x0020, 0x0037), b"DS", rb"1\0\0\1\0\0")
_element_case("orientation_nan", (0x0020, 0x0037), b"DS", rb"1\0\0\0\nan\0")
_element_case("spacing_zero", (0x0028, 0x0030), b"DS", rb"0\0")
_element_case("spacing_negative", (0x0028, 0x0030), b"DS", rb"-1\-1")
_element_case("spacing_nan", (0x0028, 0x0030), b"DS", rb"nan\nan")
_element_case("spacing_inf", (0x0028, 0x0030), b"DS", rb"inf\inf")
_element_case("slope_zero", (0x0028, 0x1053), b"DS", b"0")
_element_case("slope_1e30", (0x0028, 0x1053), b"DS", b"1e30")
_element_case("slope_nan", (0x0028, 0x1053), b"DS", b"nan")
_element_case("slope_absent", (0x0028, 0x1053), b"DS", None)
_element_case("intercept_inf", (0x0028, 0x1052), b"DS", b"inf")
_element_case("instance_number_9e99", (0x0020, 0x0013), b"IS", b"9e99")
_element_case("date_99999999", (0x0008, 0x0022), b"DA", b"99999999")

# Text
_element_case("charset_unknown", (0x0008, 0x0005), b"CS", b"ISO_IR 999")
_element_case("charset_escape_unfinished", (0x0008, 0x0005), b"CS", b"\\ISO 2022 IR 87")
_element_case("name_with_control_letters", (0x0010, 0x0010), b"PN", b"A\r\n^B\x1b\x1b$)C\x07")
_element_case("name_of_60_kb", (0x0010, 0x0010), b"PN", b"N" * 60_000)
_element_case("description_with_escape", (0x0008, 0x103E), b"LO", b"\x1b$B\xff\xfe\x1b[31m")
_element_case("patient_id_of_60_kb", (0x0010, 0x0020), b"LO", b"9" * 60_000)

# Files only
_file_case("file_empty", lambda _: b"")
_file_case("file_without_preamble", lambda file: file[132:])
_file_case("file_without_prefix", lambda file: file[:128] + b"\0\0\0\0" + file[132:])
_file_case("file_of_windows_program", lambda file: b"MZ\x90\0" + bytes(124) + file[128:])
_file_case("file_of_linux_program", lambda file: b"\x7fELF" + bytes(124) + file[128:])
_file_case("file_meta_length_2_gib", lambda file: file[:140] + struct.pack("<L", 2**31) + file[144:])
_file_case("file_without_transfer_syntax", lambda file: file[:132] + file[file.index(b"\x08\0\x05\0") :])
_file_case("file_ends_in_meta", lambda file: file[:160])
