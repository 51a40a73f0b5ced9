"""What the fuzzer begins with: whole images and conversations, and the malformed ones that are short."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification  # type: ignore[attr-defined]

from npc_contour.adapters.dicom.read.headers import split_file
from npc_testkit.fuzz_targets import MAX_BYTES, SYNTAXES
from npc_testkit.malformed import BUILDERS, build, encoded, whole
from npc_testkit.raw_dicom import ECHO_RQ, NO_DATA_SET, STORE_RQ, WITH_DATA_SET, associate_rq, command_set, p_data
from npc_testkit.real_input import files

RELEASE = struct.pack(">BBL4x", 5, 0, 4)


def reader_seeds() -> Iterator[bytes]:
    """Data sets behind the number of their transfer syntax, and files."""
    for number, syntax in enumerate(SYNTAXES[:4]):
        yield bytes([number]) + encoded(whole(), syntax)
    for name in BUILDERS:
        item = build(name)
        if item.data_set and item.transfer_syntax in SYNTAXES:
            yield bytes([SYNTAXES.index(item.transfer_syntax)]) + item.data_set
        if item.file is not None:
            yield item.file
    for _, _, path in files():
        if path.name.startswith("MR_small") or path.parent.name == "CT5N":
            meta, data_set = split_file(path.read_bytes())
            yield bytes([SYNTAXES.index(meta.uid("TransferSyntaxUID"))]) + bytes(data_set)


def door_seeds() -> Iterator[bytes]:
    """Conversations: echo, store, commitment, and what should not be said."""
    echo = command_set(ECHO_RQ, str(Verification).encode(), NO_DATA_SET)
    yield associate_rq(Verification, [ExplicitVRLittleEndian], called="X") + p_data(echo, is_command=True) + RELEASE
    for name in BUILDERS:
        item = build(name)
        if item.file is None:
            kind = NO_DATA_SET if item.data_set is None else WITH_DATA_SET
            command = command_set(STORE_RQ, item.sop_class, kind, instance=item.instance)
            said = associate_rq(item.context_class, [item.transfer_syntax], called="X")
            said += p_data(command, is_command=True)
            if item.data_set is not None:
                said += p_data(item.data_set, is_command=False)
            yield said + RELEASE
    store = command_set(STORE_RQ, str(CTImageStorage).encode(), WITH_DATA_SET, instance=b"1.2.3")
    image = associate_rq(CTImageStorage, [ExplicitVRLittleEndian], called="X")
    yield image + p_data(store, is_command=True) + p_data(b"\x08\0", is_command=False, is_last=False) + RELEASE
    yield image + p_data(b"data first", is_command=False)
    action = command_set(0x0130, str(StorageCommitmentPushModel).encode(), WITH_DATA_SET)
    yield (
        associate_rq(StorageCommitmentPushModel, [ExplicitVRLittleEndian], called="X")
        + p_data(action, is_command=True)
        + p_data(b"\x08\0\x95\x11UI\x06\x002.25.1", is_command=False)
    )


def write_seeds(folder: Path, seeds: Iterator[bytes]) -> None:
    """Write those that are short enough."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        if len(seed) <= MAX_BYTES:
            (folder / f"seed-{number:03}").write_bytes(seed)
