"""Whose images they are: one patient and one study in a series, and in all that is contoured together.

Patient IDs are compared as the Standard compares LO (PS3.5 6.2): padding at either end does not count (headers are read
without it), upper and lower case do. An ID that is absent from some images is another than that of the others: it
proves nothing. An Issuer of Patient ID (0010,0021) that is absent contradicts none: a PACS adds it on the way. Under
one Patient ID (a "0000" typed in a hurry, none at all) birth dates tell people apart, and without any ID names do.
Nothing here says an ID: what is found goes into logs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from npc_contour.domain.series import InstanceHeader

REMEDY = "correct it where the images come from, and send each patient's images under UIDs of their own"


def mixed_patients(images: Iterable[InstanceHeader]) -> str:
    """Return in what images are not of one patient and one study, in words without an ID; "" where they are."""
    found = tuple(images)
    patients = Counter(image.patient_id for image in found)
    issuers = Counter(image.patient_id_issuer for image in found if image.patient_id_issuer)
    people = Counter(image.person for image in found if image.person)
    studies = Counter(image.study_instance_uid for image in found)
    faults = []
    if len(patients) > 1:
        faults.append(f"{_patients(patients)} ({_shares(patients)} images)")
    if len(issuers) > 1:
        faults.append(f"{len(issuers)} issuers of the Patient ID ({_shares(issuers)} images)")
    if len(people) > 1 and len(patients) == 1:
        faults.append(f"{len(people)} people by birth date or name under one Patient ID ({_shares(people)} images)")
    if len(studies) > 1:
        faults.append(f"{len(studies)} studies ({_shares(studies)} images)")
    return f"mixed patients: {', '.join(faults)}" if faults else ""


def is_one_patient(images: Sequence[InstanceHeader]) -> bool:
    """Whether images are of one patient and one study."""
    return not mixed_patients(images)


def _patients(counts: Counter[str]) -> str:
    named = [patient for patient in counts if patient]
    words = f"{len(named)} Patient IDs" if len(named) > 1 else "one Patient ID"
    if len(named) > 1 and len({patient.casefold() for patient in named}) == 1:
        words += ", which differ in upper and lower case only"
    return words if len(named) == len(counts) else f"{words} and images without any"


def _shares(counts: Counter[str]) -> str:
    return " and ".join(str(count) for _, count in counts.most_common())
