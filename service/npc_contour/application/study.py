"""What is known of one study when its roles are filled: its stacks, its registrations, a person's word, its vessels."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from npc_contour.application.ports import ContrastLooker, RegistrationReader
from npc_contour.core.completeness import count_faults
from npc_contour.core.evidence import NO_WORDS, ContrastEvidence, SiteWords
from npc_contour.core.grouping import SPATIAL_REGISTRATION_STORAGE, group
from npc_contour.core.roles import Candidate, Knowledge
from npc_contour.core.routing import to_compare, undecided_by_headers
from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.pipelines import Pipeline
from npc_contour.domain.received import SeriesRecord
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import Series
from npc_contour.errors import CaseRefused, InstanceRefused
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

MOST_KEPT = 500
_Key = tuple[str, int]
"""Series Instance UID and how many images are here."""
REGISTRATION = "REG"


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """A study as the router wants it.

    Attributes:
        series: every series of it, in any state.
        candidates: the complete stacks.
        assigned_at: pipeline → when a person said which series fill its roles.
    """

    series: tuple[SeriesRecord, ...]
    candidates: tuple[Candidate, ...]
    knowledge: Knowledge
    assigned_at: Mapping[str, datetime] = field(default_factory=dict)


class StudyReader:
    """Gathers what is known of studies.

    Args:
        pipelines: those that run at this site.
        looker: looks at voxels, where headers leave the contrast phase open or may be wrong.
        registrations: reads Spatial Registration objects.
        words: the site's own.
    """

    def __init__(
        self,
        pipelines: Sequence[Pipeline],
        looker: ContrastLooker,
        registrations: RegistrationReader,
        words: SiteWords = NO_WORDS,
    ) -> None:
        self._pipelines = tuple(pipelines)
        self._looker = looker
        self._registrations = registrations
        self._words = words
        self._seen: OrderedDict[_Key, ContrastEvidence | None] = OrderedDict()
        self._compared: OrderedDict[tuple[_Key, _Key], tuple[ContrastEvidence, ContrastEvidence] | None] = OrderedDict()

    def look(self, store: Store, study_instance_uid: str) -> None:
        """Look at voxels where headers leave the phase open, and at pairs of T1; takes seconds, so without a lock."""
        with store.transaction() as tx:
            facts = self.gather(tx, study_instance_uid)
        for candidate in undecided_by_headers(facts.candidates, self._pipelines, facts.knowledge):
            key = _key(candidate)
            if key in self._seen:
                continue
            try:
                self._seen[key] = self._looker.look(candidate.series)
            except (CaseRefused, OSError) as error:
                # Whoever contours the series will say so again; here it only means that nothing was seen.
                logger.warning(Event.SERIES_NOT_SEEN, extra={"series_instance_uid": key[0], "reason": str(error)})
                self._seen[key] = None
            while len(self._seen) > MOST_KEPT:
                self._seen.popitem(last=False)
        for one, other in to_compare(facts.candidates, self._pipelines, facts.knowledge):
            pair = _key(one), _key(other)
            if pair in self._compared:
                continue
            try:
                self._compared[pair] = self._looker.compare(one.series, other.series)
            except (CaseRefused, OSError) as error:
                logger.warning(Event.SERIES_NOT_SEEN, extra={"series_instance_uid": pair[0][0], "reason": str(error)})
                self._compared[pair] = None
            while len(self._compared) > MOST_KEPT:
                self._compared.popitem(last=False)

    def gather(self, tx: Transaction, study_instance_uid: str) -> StudyFacts:
        """Return what is known, and what was seen so far."""
        series = tx.series_of_study(study_instance_uid)
        candidates = tuple(
            Candidate(stack, one.called_ae_title, _said_whole(one, stack))
            for one in series
            if one.state is SeriesState.READY
            for stack in group(tx.headers(one.series_instance_uid)).series
        )
        keys = {candidate.series.series_instance_uid: _key(candidate) for candidate in candidates}
        known = dict(self._seen)
        for pair, told in self._compared.items():
            known.update(zip(pair, told or (), strict=False))
        seen = {uid: found for uid, key in keys.items() if (found := known.get(key)) is not None}
        moves, faults = self._moves(tx, series)
        knowledge = Knowledge(self._words, seen, moves, tx.assigned(study_instance_uid), faults)
        return StudyFacts(tuple(series), candidates, knowledge, tx.assigned_at(study_instance_uid))

    def _moves(self, tx: Transaction, series: Sequence[SeriesRecord]) -> tuple[tuple[RigidMove, ...], tuple[str, ...]]:
        moves: list[RigidMove] = []
        faults: list[str] = []
        for one in sorted(series, key=lambda row: row.first_instance_at):
            if one.modality != REGISTRATION:
                continue
            for header in tx.headers(one.series_instance_uid):
                if header.sop_class_uid != SPATIAL_REGISTRATION_STORAGE:
                    continue
                try:
                    moves += self._registrations.read(header)
                except InstanceRefused as error:
                    faults.append(f"registration {header.sop_instance_uid} is not used: {error}")
        return tuple(moves), tuple(faults)


def with_assignment(facts: StudyFacts, pipeline: str, roles: Mapping[str, str]) -> StudyFacts:
    """What would be known if a person said this."""
    assigned = {**facts.knowledge.assigned, pipeline: roles}
    return replace(facts, knowledge=replace(facts.knowledge, assigned=assigned))


def _said_whole(series: SeriesRecord, stack: Series) -> str:
    missing = count_faults(stack.instances) if series.is_said_whole else []
    return "; ".join(f"a person said that it is whole: {fault.text}" for fault in missing)


def _key(candidate: Candidate) -> _Key:
    return candidate.series.series_instance_uid, len(candidate.series.instances)
