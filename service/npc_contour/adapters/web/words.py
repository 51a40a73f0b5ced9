"""Labels of the page: states, events and times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby

from markupsafe import Markup

from npc_contour.domain.findings import Finding
from npc_contour.domain.status import TimelineEvent

STATES: dict[str, tuple[str, str, str]] = {
    "waiting": ("Waiting", "wait", "clock"),
    "routed": ("Segmenting", "work", "loader-circle"),
    "segmented": ("Contouring", "work", "loader-circle"),
    "contoured": ("Delivering", "work", "send"),
    "sent": ("Sent", "good", "circle-check"),
    "verified": ("Verified", "good", "shield-check"),
    "refused": ("Refused", "bad", "ban"),
    "failed": ("Failed", "bad", "circle-x"),
    "superseded": ("Superseded", "quiet", "history"),
    "queued": ("Queued", "work", "clock"),
    "blocked": ("Blocked", "warn", "ban"),
    "held": ("Held", "wait", "pause"),
    "cancelled": ("Cancelled", "quiet", "x"),
    "combined": ("Part of a combined set", "quiet", "history"),
    "ambiguous": ("Needs a decision", "warn", "circle-help"),
    "receiving": ("Receiving", "work", "loader-circle"),
    "ready": ("Complete", "good", "circle-check"),
    "aside": ("Excluded", "quiet", "x"),
}
"""State → label, tone (a class of the style sheet), icon."""

EVENTS: dict[str, tuple[str, str]] = {
    "series.ready": ("Series complete", "good"),
    "series.held": ("Series held", "wait"),
    "series.aside": ("Series excluded", "quiet"),
    "series.came_again": ("Received again with another patient's identity: accept or discard", "warn"),
    "series.corrected": ("Duplicates accepted or discarded", "work"),
    "case.created": ("Case created", "work"),
    "case.waiting": ("Waiting", "wait"),
    "case.ambiguous": ("Series roles are ambiguous: assign them", "warn"),
    "case.assigned": ("Series roles assigned", "work"),
    "case.combined": ("Combined into one structure set", "work"),
    "pipelines.unconcerned": ("Not applicable to these pipelines", "quiet"),
    "partner.sought": ("PACS queried for the missing series", "work"),
    "phases.shifted": ("The phases are misaligned", "warn"),
    "case.refused": ("Refused", "bad"),
    "case.failed": ("Failed", "bad"),
    "case.superseded": ("Superseded by a newer case", "quiet"),
    "case.segmented": ("Segmented", "work"),
    "structure_set.written": ("Structure set written and checked", "work"),
    "structure_set.blocked": ("Structure set failed its own check", "bad"),
    "delivery.sent": ("Sent", "good"),
    "delivery.verified": ("Verified at the destination", "good"),
    "delivery.retry": ("Not accepted, will be retried", "wait"),
    "delivery.blocked": ("Delivery blocked", "warn"),
    "delivery.failed": ("Delivery failed, no more retries", "bad"),
    "case.retried": ("Retried", "work"),
    "case.cancelled": ("Cancelled", "quiet"),
    "case.held": ("Held", "wait"),
    "case.released": ("Released", "work"),
    "delivery.resent": ("Resent", "work"),
    "delivery.unverified": ("Not verified", "warn"),
    "instance.conflict": ("Duplicate SOP Instance UID, different content", "warn"),
    "instance.discarded": ("Duplicate discarded", "quiet"),
    "series.waiting": ("Series is waiting for more images", "wait"),
    "case.verified": ("Verified at every destination", "good"),
    "pull.asked": ("Requested from the PACS", "work"),
    "pull.fetched": ("Fetched from the PACS", "good"),
    "pull.incomplete": ("Fetched in part", "warn"),
    "pull.failed": ("Fetch failed", "bad"),
    "site.shifted": ("Values of this site have shifted", "warn"),
    "webhook.delivered": ("Webhook delivered", "quiet"),
    "webhook.failed": ("Webhook failed", "warn"),
}
"""Event → label, tone."""

MEASURES = {
    "volume_cc": ("volume", "cc"),
    "soft_tissue_hu": ("values inside organs", "HU"),
    "noise_hu": ("noise inside organs", "HU"),
    "slice_mm": ("slice spacing", "mm"),
    "findings": ("findings", ""),
    "not_found": ("structures not found", ""),
}
"""What the site's statistics measure, and its unit."""

SEVERITIES = {"stop": "bad", "check": "warn", "note": "quiet"}
"""Severity of a finding → tone."""

OBJECTS = {
    "rtstruct": "RTSTRUCT",
    "segmentation": "SEG",
    "measurements": "SR",
    "findings": "Findings SR",
    "findings_pdf": "Findings PDF",
}
"""DICOM objects of a case, as physicists call them."""

ORDERS = {
    "newest": "Newest first",
    "oldest": "Oldest first",
    "pipeline": "By pipeline",
    "state": "By state",
}
GROUPS = {
    "all": "All",
    "attention": "Needs attention",
    "working": "In progress",
    "waiting": "Waiting",
    "done": "Done",
}


def severities(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each severity, worst first."""
    counts = Counter(one.severity for one in findings)
    return ", ".join(f"{counts[one]} {one}" for one in sorted(counts, key=lambda one: -one.rank))


def state(value: str) -> tuple[str, str, str]:
    """Return label, tone and icon of a state."""
    return STATES.get(value, (value.replace("_", " ").capitalize(), "quiet", "circle-dot"))


def event(name: str) -> tuple[str, str]:
    """Return label and tone of an event."""
    return EVENTS.get(name, (name.replace(".", " ").replace("_", " ").capitalize(), "quiet"))


def collapsed(timeline: Sequence[TimelineEvent]) -> Iterator[tuple[TimelineEvent, int]]:
    """Yield each event with how often it was repeated in a row; of a repeated one only the last."""
    for _, same in groupby(
        timeline, key=lambda line: (line.event, line.detail, line.seconds, line.series_instance_uid)
    ):
        lines = list(same)
        yield lines[-1], len(lines)


def when(at: datetime) -> Markup:
    """Return a time in this machine's zone, with the date where it is not today; a browser shows it in its own.

    Its title has the whole time with the zone.
    """
    local = at.astimezone()
    today = datetime.now().astimezone().date()
    text = f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"
    whole = f"{local:%Y-%m-%d %H:%M:%S} {zone(local)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), whole, text)


def zone(local: datetime) -> str:
    """Return the zone of a time: its name, and its hours from UTC."""
    name = f"{local:%Z}"
    return name if name == "UTC" else f"{name} (UTC{local.isoformat()[-6:]})"


def ago(at: datetime) -> str:
    """Return how long ago a time was, in words."""
    passed_s = max(0.0, (datetime.now(UTC) - at).total_seconds())
    if passed_s < 60:
        return "just now"
    if passed_s < 3600:
        return f"{passed_s / 60:.0f} min ago"
    if passed_s < 86400:
        return f"{passed_s / 3600:.0f} h ago"
    return f"{passed_s / 86400:.0f} d ago"


def seconds(value: float | None) -> str:
    """Return a duration; "" without one."""
    if value is None:
        return ""
    return f"{value:.1f} s" if value < 90 else f"{value / 60:.1f} min"


def short_uid(uid: str) -> str:
    """Return the last ten characters of a UID: enough to tell two apart."""
    return uid if len(uid) <= 12 else f"…{uid[-10:]}"


def measured(value: float) -> str:
    """Return a value of the site's statistics with three digits, whole where it is large."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def volume(value_cc: float) -> str:
    """Return a volume with as many digits as it deserves."""
    return f"{value_cc:.2f}" if value_cc < 10 else f"{value_cc:.1f}"
