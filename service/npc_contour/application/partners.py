"""A pair lacks a partner: does a PACS have it? What it has of the study and was not sent here is fetched.

What is fetched comes in by the normal durable intake: the series is closed when it is quiet, the study routed again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from npc_contour.application.pulling import PullTools, want
from npc_contour.catalog import Catalog
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.queries import Match, Query, QueryLevel
from npc_contour.domain.received import SeriesRecord
from npc_contour.domain.timeline import TimelineEntry
from npc_contour.errors import ArchiveError
from npc_contour.logs import Event

logger = logging.getLogger(__name__)

REGISTRATION = "REG"


class FindPartner:
    """Asks the PACS of the settings for the rest of a study.

    Args:
        tools: of pulling.
        catalog: whose roles say which modalities are looked for.
        pacs: names of those that are asked, in this order; a later one only when the earlier ones had nothing.
    """

    def __init__(self, tools: PullTools, catalog: Catalog, pacs: Sequence[str]) -> None:
        self._tools = tools
        self._catalog = catalog
        self._pacs = tuple(pacs)

    def run(self, study_instance_uid: str) -> None:
        """Do it for one study with a case that waits, or asks a person, for want of a partner.

        Raises:
            ArchiveError: no PACS had anything, and one of them did not answer: try again.
        """
        with self._tools.store.transaction() as tx:
            waiting = [
                case
                for case in tx.live_cases(study_instance_uid)
                if case.state in {CaseState.WAITING, CaseState.AMBIGUOUS} and case.waiting_for
            ]
            known = tx.series_of_study(study_instance_uid)
            patient_id = tx.patient_id(study_instance_uid)
        modalities = {
            role.modality
            for case in waiting
            if case.pipeline in self._catalog.pipelines
            for role in self._catalog.pipelines[case.pipeline].roles
            if role.name in case.waiting_for
        }
        if not modalities:
            return
        query = Query(level=QueryLevel.SERIES, study_instance_uid=study_instance_uid, patient_id=patient_id)
        silent: ArchiveError | None = None
        for name in self._pacs:
            try:
                matches = self._tools.archives[name].find(query)
            except ArchiveError as error:
                silent = error
                self._record(study_instance_uid, f"{name} did not answer: {error}")
                continue
            missing = [one for one in matches if _is_missing(one, known, modalities | {REGISTRATION})]
            self._record(study_instance_uid, _words(name, matches, missing))
            if missing:
                want(self._tools.store, name, missing, self._tools.clock.now(), again=True)
                return
        if silent is not None:
            raise silent

    def _record(self, study: str, detail: str) -> None:
        with self._tools.store.transaction() as tx:
            tx.record(TimelineEntry(event=Event.PARTNER_SOUGHT, at=self._tools.clock.now(), study=study, detail=detail))
        logger.info(Event.PARTNER_SOUGHT, extra={"study_instance_uid": study, "detail": detail})


def _is_missing(match: Match, known: Sequence[SeriesRecord], modalities: set[str]) -> bool:
    """Whether a series is of a kind that is looked for and not here, or here with fewer images."""
    if not modalities & set(match.modalities):
        return False
    here = next((one for one in known if one.series_instance_uid == match.series_instance_uid), None)
    return here is None or (match.instances is not None and here.images < match.instances)


def _words(name: str, matches: Sequence[Match], missing: Sequence[Match]) -> str:
    if not missing:
        return f"{name} has {len(matches)} series of the study, none that is looked for and not here"
    listed = ", ".join(f"{one.description!r} ({one.instances or '?'} images)" for one in missing)
    return f"{name} has {len(matches)} series of the study, fetched from it: {listed}"
