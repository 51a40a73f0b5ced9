"""Every case of the table in docs/pairs.md is answered as it says, on both kinds of pipeline."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from npc_contour.core.evidence import STRONG, ContrastEvidence, SiteWords
from npc_contour.core.roles import Candidate, Knowledge
from npc_contour.core.routing import route
from npc_contour.domain.pipelines import Contrast, Pipeline, Role, Route
from npc_contour.domain.registration import RigidMove
from npc_contour.domain.series import Series
from npc_testkit.ct_headers import ct_headers

DOCUMENT = Path(__file__).parents[2] / "docs" / "pairs.md"
MR = "1.2.840.10008.5.1.4.1.1.4"
BODY = ("HEAD", "NECK", "HEADNECK")


def _role(name: str, contrast: Contrast) -> Role:
    return Role(name=name, modality="CT", contrast=contrast, body_parts=BODY, exclude_pattern="bone")


def _pipeline(name: str, *roles: Role) -> Pipeline:
    return Pipeline(name=name, title="", label="L", planning_role="planning_ct", roles=roles, networks=(), rois=())


PAIR = _pipeline("pair", _role("planning_ct", Contrast.ABSENT), _role("contrast_ct", Contrast.PRESENT))
EITHER = _pipeline("either", _role("planning_ct", Contrast.ANY))


@dataclass
class Arrived:
    """What the second column of the table describes."""

    study: list[Candidate] = field(default_factory=list)
    seen: dict[str, ContrastEvidence] = field(default_factory=dict)
    moves: list[RigidMove] = field(default_factory=list)
    assigned: dict[str, str] = field(default_factory=dict)
    words: SiteWords = field(default_factory=SiteWords)

    @property
    def knowledge(self) -> Knowledge:
        mine = {
            p.name: {r: u for r, u in self.assigned.items() if r in {one.name for one in p.roles}}
            for p in (PAIR, EITHER)
        }
        given = {name: roles for name, roles in mine.items() if roles}
        return Knowledge(self.words, self.seen, tuple(self.moves), given)


def rows() -> list[list[str]]:
    """The cells of each row of the table of cases."""
    lines = DOCUMENT.read_text(encoding="utf-8").split("## The cases")[1].splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def arrived(text: str) -> Arrived:
    found = Arrived()
    for part in text.split(" / "):
        words = shlex.split(part)
        if words[0] == "REG":
            x, y, z = (float(mm) for mm in words[3].removeprefix("move=").split(","))
            matrix = ((1.0, 0.0, 0.0, x), (0.0, 1.0, 0.0, y), (0.0, 0.0, 1.0, z), (0.0, 0.0, 0.0, 1.0))
            found.moves.append(RigidMove(f"9.{words[1]}", f"9.{words[2]}", matrix, ("1.5.66",)))
            continue
        for keyword in ("assign", "words"):
            if keyword in words:
                at = words.index(keyword)
                pairs = dict(word.split("=") for word in words[at + 1 :])
                words = words[:at]
                if keyword == "assign":
                    found.assigned = {role: uid_of(name) for role, name in pairs.items()}
                else:
                    found.words = SiteWords(**{name: (pattern,) for name, pattern in pairs.items()})
        _add_series(found, words)
    return found


def uid_of(name: str) -> str:
    return f"1.2.{ord(name)}"


def _add_series(found: Arrived, words: list[str]) -> None:
    name, description = words[:2]
    options = dict(word.split("=") for word in words[2:])
    uid, modality = uid_of(name), options.get("modality", "CT")
    changes: dict[str, Any] = {
        "series_description": description,
        "contrast_bolus_agent": options.get("agent", ""),
        "frame_of_reference_uid": f"9.{frame}" if (frame := options.get("frame", "1")) else "",
        "acquired_at": _at(options.get("at", "10:15")),
        "injected_at": _at(options["injected"]).time() if "injected" in options else None,
        "body_part": options.get("body", "HEADNECK"),
        "modality": modality,
        "pixel_spacing_mm": (float(options.get("pixel", 1.0)),) * 2,
    }
    if modality == "MR":
        changes["sop_class_uid"] = MR
    headers = ct_headers(int(options.get("slices", 60)), gap_mm=float(options.get("gap", 3.0)), uid=uid, **changes)
    rise_mm = float(options.get("z", -90.0)) + 90.0
    moved = [
        replace(h, position_lps_mm=(-256.0, -256.0, (h.position_lps_mm or (0, 0, 0))[2] + rise_mm)) for h in headers
    ]
    if "gap_after" in options:
        after = int(options["gap_after"])
        moved = moved[:after] + moved[after + 2 :]
    found.study.append(Candidate(Series(tuple(moved))))
    if "seen" in options:
        says = Contrast.PRESENT if options["seen"] == "yes" else Contrast.ABSENT
        found.seen[uid] = ContrastEvidence(says, STRONG, "dense, as vessels with contrast are")


def _at(text: str) -> datetime:
    hour, minute = map(int, text.split(":"))
    return datetime(2026, 1, 2, hour, minute)  # noqa: DTZ001  scanners write local time


def answer_in_words(route_: Route, roles: tuple[str, ...]) -> str:
    """A route as the table writes it."""
    names = {uid_of(chr(code)): chr(code) for code in range(ord("A"), ord("Z") + 1)}
    if route_.choices and route_.waiting_for:
        alone = answer_in_words(replace(route_, waiting_for=()), roles)
        return f"waits {' '.join(route_.waiting_for)}, then {alone}"
    if route_.choices:
        return "person " + ", ".join("+".join(names[choice[role]] for role in roles) for choice in route_.choices)
    if route_.case is None:
        return f"waits {' '.join(route_.waiting_for)}" if route_.waiting_for else "refused"
    text = "+".join(names[route_.case.series[role].series_instance_uid] for role in roles)
    text += " moved" if route_.case.moves else ""
    return f"{text}, better {' '.join(route_.waiting_for)}" if route_.waiting_for else text


@pytest.mark.parametrize("row", rows(), ids=lambda row: re.sub(r"\W+", "-", row[0]))
def test_case(row: list[str]) -> None:
    _, series, pair, either, says = row
    given = arrived(series)

    for study in (given.study, given.study[::-1]):
        for_pair, for_either = route(study, [PAIR, EITHER], given.knowledge)
        assert _sorted(answer_in_words(for_pair, ("planning_ct", "contrast_ct"))) == _sorted(pair), for_pair.reasons
        assert _sorted(answer_in_words(for_either, ("planning_ct",))) == _sorted(either), for_either.reasons
        told = [reason for answer in (for_pair, for_either) for reason in answer.reasons]
        told += [
            reason for answer in (for_pair, for_either) for verdict in answer.verdicts for reason in verdict.reasons
        ]
        assert any(says in reason for reason in told), told


def _sorted(answer: str) -> str:
    """The order in which choices are offered says nothing."""
    before, person, choices = answer.partition("person ")
    return before + person + ", ".join(sorted(choices.split(", ")))


def test_the_table_is_long_enough_to_mean_something() -> None:
    assert len(rows()) >= 30
    assert len({row[1] for row in rows()}) == len(rows())
