"""What gathers the facts of a study, over files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from npc_contour.adapters.dicom.read.reader import ReadImage, read_at_key, read_volume
from npc_contour.adapters.dicom.read.registration import read_registration
from npc_contour.application.study import StudyReader
from npc_contour.catalog import Catalog
from npc_contour.core.enhancement import compare_brightness
from npc_contour.core.evidence import ContrastEvidence, SiteWords
from npc_contour.core.grouping import SPATIAL_REGISTRATION_STORAGE
from npc_contour.core.roles import Candidate, Knowledge
from npc_contour.core.routing import route, to_compare, undecided_by_headers
from npc_contour.core.vessels import look_at_vessels
from npc_contour.domain.pipelines import Pipeline, Route
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.errors import CaseRefused, InstanceRefused
from npc_contour.settings import Settings


class VesselLooker:
    """Looks at the vessels of CT, and at the brightness of MR, in series whose files `read_image` gives."""

    def __init__(self, read_image: ReadImage) -> None:
        """Read files with this."""
        self._read_image = read_image

    def look(self, series: Series) -> ContrastEvidence | None:
        """Return what the vessels of a CT say of contrast; None where they do not tell, and for other modalities."""
        if series.first.modality != "CT":
            return None
        return look_at_vessels(read_volume(series, self._read_image)).evidence

    def compare(self, one: Series, other: Series) -> tuple[ContrastEvidence, ContrastEvidence] | None:
        """Return what the brightness of two MR series says of contrast in each; None where it does not tell."""
        found = compare_brightness(*(read_volume(series, self._read_image) for series in (one, other)))
        return None if found is None else found.evidence(*(repr(s.first.series_description) for s in (one, other)))


class FileRegistrations:
    """Reads Spatial Registration objects."""

    def __init__(self, read_image: ReadImage) -> None:
        """Read files with this."""
        self._read_image = read_image

    def read(self, header: InstanceHeader) -> tuple[RigidMove, ...]:
        """Return how its frames of reference map to the registered one."""
        return read_registration(self._read_image(header))


def words_of(settings: Settings) -> SiteWords:
    """Return the site's own words."""
    return SiteWords(**settings.routing.words.model_dump())


def study_reader(settings: Settings, catalog: Catalog, read_image: ReadImage) -> StudyReader:
    """Return what gathers the facts of studies."""
    pipelines = tuple(catalog.pipelines.values())
    return StudyReader(pipelines, VesselLooker(read_image), FileRegistrations(read_image), words_of(settings))


def route_files(
    settings: Settings,
    catalog: Catalog,
    series: Sequence[Series],
    headers: Sequence[InstanceHeader],
    assign: Mapping[str, str],
) -> tuple[Route, ...]:
    """Route one study whose headers' keys are paths, as the service would.

    Args:
        settings: whose words count.
        catalog: whose pipelines are asked.
        series: stack candidates of one study, at least one.
        headers: of all files, registrations among them.
        assign: role → Series Instance UID or an ending of it, as a person said; what other studies have is left out.

    Returns:
        One route for each pipeline; where a person must choose, the reasons end with what to type.
    """
    moves: list[RigidMove] = []
    faults = []
    study = series[0].first.study_instance_uid
    for header in headers:
        if header.sop_class_uid == SPATIAL_REGISTRATION_STORAGE and header.study_instance_uid == study:
            try:
                moves += read_registration(Path(header.key))
            except InstanceRefused as error:
                faults.append(f"registration {header.sop_instance_uid} is not used: {error}")
    candidates = [Candidate(one) for one in series]
    pipelines = tuple(catalog.pipelines.values())
    knowledge = Knowledge(words_of(settings), {}, moves, _assigned(pipelines, series, assign), faults)
    looker = VesselLooker(read_at_key)
    seen: dict[str, ContrastEvidence] = {}
    for candidate in undecided_by_headers(candidates, pipelines, knowledge):
        try:
            found = looker.look(candidate.series)
        except CaseRefused:
            continue
        if found is not None:
            seen[candidate.series.series_instance_uid] = found
    for pair in to_compare(candidates, pipelines, knowledge):
        try:
            told = looker.compare(*(candidate.series for candidate in pair))
        except CaseRefused:
            continue
        for candidate, evidence in zip(pair, told or (), strict=False):
            seen.setdefault(candidate.series.series_instance_uid, evidence)
    answers = route(candidates, pipelines, replace(knowledge, seen=seen))
    return tuple(replace(answer, reasons=(*answer.reasons, *map(_typed, answer.choices))) for answer in answers)


def _assigned(
    pipelines: Sequence[Pipeline], series: Sequence[Series], assign: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Pipeline → role → Series Instance UID of what was said and is in the study."""
    uids = [one.series_instance_uid for one in series]
    meant = {role: [uid for uid in uids if uid.endswith(ending)] for role, ending in assign.items()}
    said = {role: found[0] for role, found in meant.items() if len(found) == 1}
    of_pipelines = {one.name: {r.name: said[r.name] for r in one.roles if r.name in said} for one in pipelines}
    return {name: roles for name, roles in of_pipelines.items() if roles}


def _typed(choice: Mapping[str, str]) -> str:
    return "choose: " + " ".join(f"--assign {role}={uid}" for role, uid in choice.items())
