"""Which case answers the same question as another: what it was given, and what is new about the next generation."""

from __future__ import annotations

from collections.abc import Sequence

from npc_contour.domain.cases import CaseInput, CaseRecord
from npc_contour.domain.series import Case


def inputs_of(case: Case) -> dict[str, CaseInput]:
    """Return what a case takes: role → series, its images, and how it is moved."""
    return {
        role: CaseInput(
            series.series_instance_uid,
            tuple(sorted(image.sop_instance_uid for image in series.instances)),
            case.moves.get(role),
        )
        for role, series in case.series.items()
    }


def has_these_inputs(live: Sequence[CaseRecord], case: Case) -> bool:
    """Whether one of these cases was given exactly this."""
    inputs = inputs_of(case)
    return any(old.inputs == inputs for old in live)


def gives_way(old: CaseRecord, inputs: dict[str, CaseInput], frame_of_reference_uid: str) -> bool:
    """Whether a live case answers the same question: it has no images, shares a series, or lies in the same frame."""
    ours = {given.series_instance_uid for given in inputs.values()}
    theirs = {given.series_instance_uid for given in old.inputs.values()}
    return not theirs or bool(ours & theirs) or old.frame_of_reference_uid == frame_of_reference_uid


def difference(old: CaseRecord, new: CaseRecord) -> str:
    """Say what a case has that the one it takes the place of had not."""
    if not old.inputs:
        return "the missing series arrived"
    if old.inputs == new.inputs:
        return "images of it were replaced by a person's word"
    changes = []
    for role, given in new.inputs.items():
        before = old.inputs.get(role)
        if before is None:
            changes.append(f"{role} arrived")
        elif before.series_instance_uid != given.series_instance_uid:
            changes.append(f"{role} is another series")
        elif before.sop_instance_uids == given.sop_instance_uids:
            changes.append(f"{role} lies elsewhere by another registration")
        elif before != given:
            changes.append(
                f"{role} has {len(given.sop_instance_uids)} images instead of {len(before.sop_instance_uids)}"
            )
    return ", ".join(changes) or "other images"
