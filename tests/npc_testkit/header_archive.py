"""A PACS that holds headers alone: what is fetched from it goes straight to the intake, for use cases without files."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from npc_contour.application.intake import Intake
from npc_contour.domain.queries import Match, Query, Retrieved, Wanted
from npc_contour.domain.received import AssociationRow
from npc_contour.domain.series import InstanceHeader
from npc_contour.errors import ArchiveError


class HeaderArchive:
    """Answers every query with all its series; `down` makes it silent."""

    def __init__(self, intake: Intake, series: Sequence[list[InstanceHeader]]) -> None:
        self.series = list(series)
        self.down = False
        self.queries: list[Query] = []
        self.fetched: list[str] = []
        self._intake = intake

    def find(self, query: Query) -> tuple[Match, ...]:
        self.queries.append(query)
        if self.down:
            raise ArchiveError("the PACS does not answer")
        return tuple(_match(images) for images in self.series)

    def retrieve(
        self,
        wanted: Wanted,
        _keep: Callable[[bytes], None],
        _progress: Callable[[int, int], None] | None = None,
    ) -> Retrieved:
        self.fetched.append(wanted.series_instance_uid)
        images = next(s for s in self.series if s[0].series_instance_uid == wanted.series_instance_uid)
        row = AssociationRow(f"fetch-{wanted.series_instance_uid}", "pull", "PACS", "NPC_CONTOUR", "pacs")
        for header in images:
            self._intake.keep(header, f"instances/{header.sop_instance_uid}", row)
        return Retrieved(completed=len(images), failed=0, failed_uids=())


class NoKeeper:
    """Keeps nothing: a `HeaderArchive` gives no files."""

    def keep(self, file: bytes, association: AssociationRow, *, asked: Wanted | None = None) -> InstanceHeader:
        who = f"{association.calling_ae_title} for {asked}"
        raise AssertionError(f"{len(file)} bytes by {who}, but headers alone are fetched here")


def _match(images: list[InstanceHeader]) -> Match:
    first = images[0]
    return Match(
        study_instance_uid=first.study_instance_uid,
        series_instance_uid=first.series_instance_uid,
        patient_id=first.patient_id,
        modalities=(first.modality,),
        description=first.series_description,
        instances=len(images),
    )
