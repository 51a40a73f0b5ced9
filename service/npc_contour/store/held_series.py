"""Series that are held and duplicates, read from the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from npc_contour.core.completeness import OF_ACQUISITION
from npc_contour.domain.jobs import SeriesState
from npc_contour.store.database import Store
from npc_contour.store.rows import read

_HELD = """
SELECT series.*, ARRAY(
    SELECT DISTINCT calling_ae_title FROM series_association JOIN association ON association.id = association_id
    WHERE series_association.series_instance_uid = series.series_instance_uid ORDER BY 1) AS senders
FROM series WHERE state = 'held' OR (state = 'receiving' AND cardinality(reasons) > 0)
    OR (state = 'aside' AND images >= 4 AND reasons[1] !~ '^(excluded|left aside) by '
        AND last_instance_at > clock_timestamp() - interval '14 days' AND NOT EXISTS (
        SELECT FROM contour_case WHERE contour_case.study_instance_uid = series.study_instance_uid))
ORDER BY state = 'held' DESC, state = 'receiving' DESC, last_instance_at DESC, series_instance_uid LIMIT %(limit)s"""

_KEPT = """
SELECT sop_instance_uid, key, series_instance_uid, study_instance_uid, description, images AS series_images,
    correction_at IS NOT NULL AS asked
FROM instance JOIN series USING (series_instance_uid) WHERE sop_instance_uid = ANY(%(uids)s)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSeriesRow:
    """A series that does not go on by itself.

    Attributes:
        senders: AE titles from which its images came.
        reasons: what was found, and what was expected.
    """

    series_instance_uid: str
    study_instance_uid: str
    state: SeriesState
    modality: str
    description: str
    images: int
    reasons: Sequence[str]
    senders: Sequence[str]
    first_instance_at: datetime
    last_instance_at: datetime

    @property
    def may_be_whole(self) -> bool:
        """Whether the scanner's count alone speaks against it: then a person may know better."""
        return any(reason.endswith(OF_ACQUISITION) for reason in self.reasons)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptImage:
    """An image that is kept under the UID of another in quarantine.

    Attributes:
        series_images: how many images its series has.
        asked: whether a person is asked whose the images of its series are.
    """

    key: str
    study_instance_uid: str
    series_instance_uid: str
    description: str
    series_images: int
    asked: bool


class HeldSeriesBoard:
    """Every method may raise StoreError."""

    def __init__(self, store: Store) -> None:
        """Read this store."""
        self._store = store

    def held_series(self, limit: int) -> Sequence[HeldSeriesRow]:
        """Return series that are held, wait for more, or were excluded with all of their study; held ones first."""
        return tuple(read(HeldSeriesRow, row) for row in self._store.query(_HELD, {"limit": limit}))

    def held_count(self) -> int:
        """Return how many series are held."""
        return int(self._store.query("SELECT count(*) AS n FROM series WHERE state = 'held'")[0]["n"])

    def kept_images(self, sop_instance_uids: Sequence[str]) -> Mapping[str, KeptImage]:
        """Return by SOP Instance UID the images that are kept."""
        if not sop_instance_uids:
            return {}
        rows = self._store.query(_KEPT, {"uids": list(sop_instance_uids)})
        return {row["sop_instance_uid"]: read(KeptImage, row) for row in rows}
