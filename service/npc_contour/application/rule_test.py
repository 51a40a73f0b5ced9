"""What would the rules make of these images? Headers in, the router's own answer out; nothing is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from npc_contour.core.evidence import NO_WORDS, SiteWords
from npc_contour.core.grouping import group
from npc_contour.core.roles import Candidate, Knowledge
from npc_contour.core.routing import route
from npc_contour.domain.pipelines import Pipeline, Route
from npc_contour.domain.series import InstanceHeader, Series


@dataclass(frozen=True, slots=True)
class SeriesLine:
    """A series as found among the headers; `aside` says why it is left out, "" for one that is judged."""

    series_instance_uid: str
    modality: str
    description: str
    images: int
    aside: str = ""


@dataclass(frozen=True, slots=True)
class StudyAnswer:
    """The router's answer for one study."""

    study_instance_uid: str
    series: tuple[SeriesLine, ...]
    routes: tuple[Route, ...]

    @property
    def lines(self) -> Mapping[str, SeriesLine]:
        """The series that are judged, by UID."""
        return {line.series_instance_uid: line for line in self.series if not line.aside}


def ask_rules(
    headers: Sequence[InstanceHeader],
    pipelines: Iterable[Pipeline],
    called_ae_title: str = "",
    words: SiteWords = NO_WORDS,
) -> tuple[StudyAnswer, ...]:
    """Route images as if they had just been received.

    Args:
        headers: of any number of studies; an image given twice counts once.
        pipelines: with the site's rules.
        called_ae_title: to which of our AE titles they would be sent; "" is none.
        words: the site's own in descriptions.

    Returns:
        One answer per study, in the order of their UIDs.
    """
    once = {header.sop_instance_uid: header for header in headers}
    studies: dict[str, list[InstanceHeader]] = {}
    for header in once.values():
        studies.setdefault(header.study_instance_uid, []).append(replace(header, key=""))
    asked = tuple(pipelines)
    return tuple(_ask(uid, studies[uid], asked, called_ae_title, words) for uid in sorted(studies))


def _ask(
    study: str,
    headers: Sequence[InstanceHeader],
    pipelines: tuple[Pipeline, ...],
    called_ae_title: str,
    words: SiteWords,
) -> StudyAnswer:
    grouped = group(headers)
    candidates = [Candidate(series, called_ae_title) for series in grouped.series]
    lines = [_line(series.instances) for series in grouped.series]
    lines += [_line(one.instances, one.reason) for one in grouped.excluded]
    return StudyAnswer(study, tuple(lines), route(candidates, pipelines, Knowledge(words)) if candidates else ())


def _line(instances: Sequence[InstanceHeader], aside: str = "") -> SeriesLine:
    first = Series(tuple(instances[:1])).first
    return SeriesLine(first.series_instance_uid, first.modality, first.series_description, len(instances), aside)
