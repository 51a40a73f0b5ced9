"""What an RTSTRUCT says in words: demo marks, provenance, dates."""

from __future__ import annotations

from datetime import datetime

from npc_contour.adapters.dicom.read.planning_header import PlanningHeader
from npc_contour.domain.structures import NetworkProvenance

DEMO_WORDS = "DEMO - NOT FOR CLINICAL USE"


def clock_time(moment: datetime, header: PlanningHeader) -> datetime:
    """Return a moment as the planning images' clock shows it: by their Timezone Offset From UTC, else this machine's.

    A moment without zone is taken as it is.
    """
    if moment.tzinfo is None:
        return moment
    offset = header.copied.get("TimezoneOffsetFromUTC", b"").decode("ascii", "replace").strip()
    try:
        return moment.astimezone(datetime.strptime(offset, "%z").tzinfo) if offset else moment.astimezone()
    except ValueError:
        return moment.astimezone()


def utc_offset(clock: datetime) -> str | None:
    """Return Timezone Offset From UTC of what `clock_time` gave; None for a moment without zone (PS3.3 C.12.1.1)."""
    return None if clock.tzinfo is None else f"{clock:%z}"[:5]


def shortened(text: str, most: int) -> str:
    """Return the text, cut with an ellipsis where it is longer than an attribute allows."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def demo_label(label: str) -> str:
    """Return a Structure Set Label of at most 16 characters that says DEMO."""
    return label if "DEMO" in label.upper() else f"DEMO {label}"[:16]


def generation_description(network: NetworkProvenance) -> str:
    """Return ROI Generation Description (LO, 64): network, version and the start of its weights' SHA-256."""
    prefix = f"{DEMO_WORDS}: " if network.demo else ""
    return shortened(f"{prefix}{network.name} {network.version} {network.weights_sha256[:12]}", 64)


def weights_sentence(network: NetworkProvenance | None) -> str:
    """Return a sentence that names a network and its weights; "" for none."""
    if network is None:
        return ""
    return f" Network {network.name} {network.version}, weights SHA-256 {network.weights_sha256}."
