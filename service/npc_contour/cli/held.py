"""`npc-contour held, exclude, whole, accept, discard`: what does not go on until a person acts, and the acts."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from npc_contour.cli.arguments import Verbs
from npc_contour.cli.as_json import add_json, print_json
from npc_contour.cli.operations import SiteContext, acting, add_verb, print_parked, site_context, user, who
from npc_contour.domain.jobs import SeriesState

EXAMPLES = """\
examples:
  npc-contour held --config site.toml                      what is held, why, and the command that helps
  npc-contour exclude 1.2.840.113... --reason "scout"      a held series is not wanted: its study is routed without it
  npc-contour whole 1.2.840.113... --reason "2 kernels"    a held series is complete, although the scanner counted more
  npc-contour accept 1.2.840.113... --reason "ID merged"   the later of two versions of these images is right ...
  npc-contour discard 1.2.840.113...                       ... or is not"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs."""
    held = add_verb(verbs, "held", "list what is held until a person acts, with the command that helps", EXAMPLES)
    add_json(held)
    held.set_defaults(run=_held)
    for name, words, act in (
        ("exclude", "route the study without a held series", _exclude),
        ("whole", "confirm that a held series is complete, although the scanner counted more images", _whole),
        ("accept", "replace stored images by those received later with the same UIDs", _accept),
        ("discard", "delete images received later with the same UIDs; the stored ones stay", _discard),
    ):
        parser = add_verb(verbs, name, words, EXAMPLES)
        parser.add_argument("series", metavar="SERIES", help="its Series Instance UID, see `npc-contour held`")
        parser.add_argument("--reason", default="", help="why, for the timeline; never a patient's name")
        parser.set_defaults(run=acting(act))


def _exclude(context: SiteContext, args: argparse.Namespace) -> str:
    return context.held_series.set_aside(args.series, by=user(), reason=args.reason)


def _whole(context: SiteContext, args: argparse.Namespace) -> str:
    return context.held_series.take_as_whole(args.series, by=who(args))


def _accept(context: SiteContext, args: argparse.Namespace) -> str:
    return context.corrections.accept(args.series, by=who(args))


def _discard(context: SiteContext, args: argparse.Namespace) -> str:
    return context.corrections.discard(args.series, by=who(args))


class HeldView(BaseModel):
    """What is held until a person acts: a series, or images received again with the same UIDs."""

    kind: Literal["held series", "excluded series", "received again"]
    series_instance_uid: str
    study_instance_uid: str
    description: str
    images: int
    at: datetime
    why: str
    commands: list[str]


def _held(args: argparse.Namespace) -> int:
    with site_context(args) as context:
        views = [*_held_series(context), *_received_again(context)]
        if args.json:
            print_json(views)
            return 0
        for one in views:
            what = f"{one.description or 'no description'}, {one.images} images"
            print(f"{one.kind}: {what}, {one.at.astimezone():%m-%d %H:%M}")
            print(f"  study {one.study_instance_uid}")
            print(f"  {one.why}")
            for command in one.commands:
                print(f"  {command}")
        parked = context.work.parked()
        if parked:
            print_parked(context, as_json=False)
        if not views and not parked:
            print("nothing is held")
    return 0


def _held_series(context: SiteContext) -> Iterator[HeldView]:
    for one in context.held_series.series():
        uid, is_excluded = one.series_instance_uid, one.state is SeriesState.ASIDE
        verbs = () if is_excluded else ("whole", "exclude") if one.may_be_whole else ("exclude",)
        yield HeldView(
            kind="excluded series" if is_excluded else "held series",
            series_instance_uid=uid,
            study_instance_uid=one.study_instance_uid,
            description=one.description,
            images=one.images,
            at=one.last_instance_at,
            why="; ".join(one.reasons),
            commands=[f"npc-contour {verb} {uid}" for verb in verbs],
        )


def _received_again(context: SiteContext) -> Iterator[HeldView]:
    for one in context.corrections.series():
        verbs = ("accept", "discard") if one.may_be_accepted else ("discard",)
        differs = ", ".join(difference.what for difference in one.differences)
        yield HeldView(
            kind="received again",
            series_instance_uid=one.series_instance_uid,
            study_instance_uid=one.study_instance_uid,
            description=one.description,
            images=one.images,
            at=one.at,
            why=f"the same UIDs with different content{f': {differs}' if differs else ''}",
            commands=[f"npc-contour {verb} {one.series_instance_uid}" for verb in verbs],
        )
