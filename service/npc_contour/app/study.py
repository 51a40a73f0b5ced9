"""What gathers the facts of a study, over files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from npc_contour.adapters.dicom.reader import read_volume
from npc_contour.adapters.dicom.registration import read_registration
from npc_contour.application.study import StudyReader
from npc_contour.catalog import Catalog
from npc_contour.core.evidence import ContrastEvidence, SiteWords
from npc_contour.core.vessels import look_at_vessels
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import InstanceHeader, Series
from npc_contour.settings import Settings

OpenPath = Callable[[str], Path]


class VesselLooker:
    """Looks at the vessels of series whose files `open_path` finds by key."""

    def __init__(self, open_path: OpenPath) -> None:
        """Find files with this."""
        self._open_path = open_path

    def look(self, series: Series) -> ContrastEvidence | None:
        """Return what the vessels of a CT say of contrast; None where they do not tell, and for other modalities."""
        if series.first.modality != "CT":
            return None
        return look_at_vessels(read_volume(series, self._open_path)).evidence


class FileRegistrations:
    """Reads Spatial Registration objects by key."""

    def __init__(self, open_path: OpenPath) -> None:
        """Find files with this."""
        self._open_path = open_path

    def read(self, header: InstanceHeader) -> tuple[RigidMove, ...]:
        """Return how its frames of reference map to the registered one."""
        return read_registration(self._open_path(header.key))


def words_of(settings: Settings) -> SiteWords:
    """Return the site's own words."""
    words = settings.routing.words
    return SiteWords(words.contrast, words.no_contrast, words.t1, words.t2)


def study_reader(settings: Settings, catalog: Catalog, open_path: OpenPath) -> StudyReader:
    """Return what gathers the facts of studies."""
    pipelines = tuple(catalog.pipelines.values())
    return StudyReader(pipelines, VesselLooker(open_path), FileRegistrations(open_path), words_of(settings))
