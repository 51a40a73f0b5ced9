"""`npc-contour jobs, show, assign, retry, cancel, hold, release, resend, supersede`, and the other orders of a person.

They operate a service: they work on its database, on the machine that runs it, whether or not REST is up. A case is
named by its id or by the beginning of it.
"""

from __future__ import annotations

import argparse
import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from npc_contour.adapters.api.operations import DestinationView, ParkedView, StudyView
from npc_contour.adapters.api.views import CaseView, JobView
from npc_contour.adapters.checks import destinations_of
from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.archives import corrections_of
from npc_contour.app.runtime import running_database_url
from npc_contour.app.shared import catalog_of, spool_at
from npc_contour.app.study import study_reader
from npc_contour.application.assignment import AssignRoles
from npc_contour.application.corrections import Corrections
from npc_contour.application.held_series import HeldSeries
from npc_contour.application.operations import Operations
from npc_contour.cli.arguments import RAW, Verbs, add_config, number_in, role_and_series
from npc_contour.cli.as_json import add_json, print_json
from npc_contour.cli.tables import plain_table, print_table
from npc_contour.domain.jobs import CaseState, DeliveryState
from npc_contour.domain.status import CaseDetails, Part, StudyDetails
from npc_contour.errors import NoSuchRowError
from npc_contour.settings import read_settings
from npc_contour.store.board import StatusBoard
from npc_contour.store.database import Store
from npc_contour.store.held_series import HeldSeriesBoard
from npc_contour.store.work_board import WorkBoard

EXAMPLES = """\
examples:
  npc-contour jobs --config site.toml                      the newest cases
  npc-contour jobs --state failed                          only those that failed
  npc-contour jobs --destinations                          what is waiting for which destination, and why
  npc-contour jobs --parked                                steps that failed and are no longer retried, and why
  npc-contour show 3f2a                                    the timeline of the case whose id begins so
  npc-contour show 1.2.840.113...                          the timeline of a study, from the first image to verification
  npc-contour retry 3f2a                                   retry the step that failed
  npc-contour retry route_study:1.2.840.113...             ... or a parked step
  npc-contour cancel 3f2a --reason "wrong patient"         stop it: nothing is sent
  npc-contour hold 3f2a --reason "the right study?"        stop it where it is ...
  npc-contour release 3f2a                                 ... and let it continue
  npc-contour release 3f2a --seen side,volume --reason "looked at, corrected in the TPS"   one held for its findings
  npc-contour resend 3f2a --to tps                         send the same object again
  npc-contour supersede 3f2a --reason "new networks"       re-contour the same images
  npc-contour assign                                       cases whose series roles must be assigned
  npc-contour assign 3f2a planning_ct=.17 contrast_ct=.23  assign them; the end of a Series Instance UID is enough
  npc-contour pause tps --reason "upgrade of the TPS"      structure sets wait ...
  npc-contour resume tps                                   ... and are sent now"""


@dataclass(frozen=True, slots=True)
class SiteContext:
    """Use cases and read models that the verbs call."""

    operations: Operations
    assignment: AssignRoles
    held_series: HeldSeries
    corrections: Corrections
    board: StatusBoard
    work: WorkBoard
    destinations: tuple[str, ...]

    def case(self, beginning: str) -> str:
        """Return the one case whose id begins so."""
        found = self.work.cases_like(beginning)
        if len(found) != 1:
            words = f"{len(found)} cases match: {', '.join(found)}" if found else "there is no such case"
            raise NoSuchRowError(f"{beginning!r}: {words}")
        return found[0]


Act = Callable[[SiteContext, argparse.Namespace], str]


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs."""
    jobs = add_verb(verbs, "jobs", "list cases, newest first, or what is waiting for which destination")
    jobs.add_argument("--state", choices=[state.value for state in CaseState], help="only cases in this state")
    jobs.add_argument("--pipeline", metavar="NAME", help="only cases of this pipeline")
    jobs.add_argument("--limit", type=number_in(1, 1000), default=20, metavar="N", help="at most N (default: 20)")
    instead = jobs.add_mutually_exclusive_group()
    instead.add_argument("--destinations", action="store_true", help="list destinations instead of cases")
    instead.add_argument(
        "--parked", action="store_true", help="list failed steps that are no longer retried, instead of cases"
    )
    add_json(jobs)
    jobs.set_defaults(run=_jobs)
    show = add_verb(verbs, "show", "the timeline of a case or of a study")
    show.add_argument("what", metavar="CASE|STUDY", help="a case's id or its beginning, or a Study Instance UID")
    add_json(show)
    show.set_defaults(run=_show)
    _order(verbs, "retry", "retry what failed: a case, its deliveries, or a parked step", _retry)
    _order(verbs, "cancel", "end a case that is not finished; nothing more of it is sent", _cancel)
    _order(verbs, "hold", "stop a case where it is", _hold)
    release = _order(verbs, "release", "let a held case continue", _release)
    release.add_argument(
        "--seen",
        default="",
        metavar="CODES",
        help="codes of the findings that were looked at, where it is held for them",
    )
    _order(verbs, "supersede", "re-contour the same images, for example with newer networks", _supersede)
    resend = _order(verbs, "resend", "send a structure set again: the same object with the same UID", _resend)
    resend.add_argument(
        "--to", action="append", default=[], metavar="NAME", help="only to this destination; repeatable"
    )
    assign = add_verb(verbs, "assign", "assign series to roles; without a case, list the cases that need it")
    assign.add_argument("case", metavar="CASE", nargs="?", help="its id or the beginning of it")
    assign.add_argument("roles", metavar="ROLE=SERIES", nargs="*", type=role_and_series, help="repeat for each role")
    assign.add_argument(
        "--pipeline", default="", metavar="NAME", help="for another pipeline than the case's, on the same study"
    )
    assign.add_argument("--reason", default="", help="why, for the timeline; never a patient's name")
    assign.set_defaults(run=_assign)
    for name, words, act in (
        ("pause", "send nothing to a destination; structure sets wait", _pause),
        ("resume", "send to a paused destination again, at once", _resume),
    ):
        parser = add_verb(verbs, name, words)
        parser.add_argument("destination", metavar="NAME", help="a destination of the settings")
        parser.add_argument("--reason", default="", help="why, for the timeline")
        parser.set_defaults(run=acting(act))


def add_verb(verbs: Verbs, name: str, words: str, examples: str = EXAMPLES) -> argparse.ArgumentParser:
    """Add a verb that works on the service's database, and return its parser."""
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=words, epilog=examples, formatter_class=RAW)
    add_config(parser)
    return parser


def _order(verbs: Verbs, name: str, words: str, act: Act) -> argparse.ArgumentParser:
    parser = add_verb(verbs, name, words)
    parser.add_argument("case", metavar="CASE", help="its id or the beginning of it, see `npc-contour jobs`")
    parser.add_argument("--reason", default="", help="why, for the timeline; never a patient's name")
    parser.set_defaults(run=acting(act))
    return parser


def acting(act: Act) -> Callable[[argparse.Namespace], int]:
    """Return what runs a verb that does one thing and prints what was done."""

    def run(args: argparse.Namespace) -> int:
        with site_context(args) as context:
            print(act(context, args))
        return 0

    return run


@contextmanager
def site_context(args: argparse.Namespace) -> Iterator[SiteContext]:
    """Open the service's database, and what works on it."""
    settings = read_settings(args.config)
    destinations = destinations_of(settings)
    with Store(running_database_url(settings), defer, pool_size=3, timeout_s=10.0) as store:
        names = tuple(destination.name for destination in destinations)
        operations = Operations(store, store.clock, destinations)
        catalog = catalog_of(settings)
        spool = spool_at(settings)
        reader = study_reader(settings, catalog, spool.read_image)
        assignment = AssignRoles(store, store.clock, catalog, reader)
        yield SiteContext(
            operations,
            assignment,
            HeldSeries(store, HeldSeriesBoard(store), store.clock),
            corrections_of(settings, store, spool),
            StatusBoard(store, lambda key: str(settings.storage.spool / key)),
            WorkBoard(store),
            names,
        )


def user() -> str:
    """Return the name of the account that runs this, for the timeline."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return "somebody"


def who(args: argparse.Namespace) -> str:
    """Return who orders something, with the reason that was given."""
    return f"{user()} ({args.reason})" if args.reason else user()


def _retry(context: SiteContext, args: argparse.Namespace) -> str:
    kind, colon, key = str(args.case).partition(":")
    if colon:
        return context.operations.retry_step(kind, key, by=who(args))
    return context.operations.retry(context.case(args.case), by=who(args))


def _cancel(context: SiteContext, args: argparse.Namespace) -> str:
    return context.operations.cancel(context.case(args.case), by=who(args))


def _hold(context: SiteContext, args: argparse.Namespace) -> str:
    return context.operations.hold(context.case(args.case), by=who(args))


def _release(context: SiteContext, args: argparse.Namespace) -> str:
    by, seen = user(), [code.strip() for code in args.seen.split(",") if code.strip()]
    return context.operations.release(context.case(args.case), by=by, reason=args.reason, seen=seen)


def _supersede(context: SiteContext, args: argparse.Namespace) -> str:
    return context.operations.supersede(context.case(args.case), by=who(args))


def _resend(context: SiteContext, args: argparse.Namespace) -> str:
    return context.operations.resend(context.case(args.case), by=who(args), to=args.to)


def _assign(args: argparse.Namespace) -> int:
    with site_context(args) as context:
        if args.case is None:
            _print_choices(context)
            return 0
        case_id = context.case(args.case)
        if not args.roles:
            details = context.board.details(case_id)
            if details is not None:
                _print_case(details)
            return 0
        print(context.assignment.assign(case_id, dict(args.roles), by=who(args), pipeline=args.pipeline))
    return 0


def _print_choices(context: SiteContext) -> None:
    console = Console(soft_wrap=True)
    rows = context.board.jobs(Part(), state=CaseState.AMBIGUOUS)
    if not rows:
        console.print("no case waits for a person to say which series is which")
    for row in rows:
        details = context.board.details(row.case_id)
        console.print(f"[bold]{row.case_id[:8]}[/] {row.pipeline}, study {row.study_instance_uid}", highlight=False)
        for choice in details.choices if details is not None else ():
            words = " ".join(f"{role}={series}" for role, series in choice.items())
            console.print(f"  npc-contour assign {row.case_id[:8]} {words}", highlight=False, markup=False)


def _pause(context: SiteContext, args: argparse.Namespace) -> str:
    return context.operations.pause(args.destination, by=who(args))


def _resume(context: SiteContext, args: argparse.Namespace) -> str:
    return context.operations.resume(args.destination, by=who(args))


def _jobs(args: argparse.Namespace) -> int:
    with site_context(args) as context:
        if args.destinations:
            _print_destinations(context, as_json=args.json)
            return 0
        if args.parked:
            print_parked(context, as_json=args.json)
            return 0
        state = CaseState(args.state) if args.state else None
        rows = context.board.jobs(Part(limit=int(args.limit)), state=state, pipeline=args.pipeline)
        if args.json:
            print_json([JobView.of(row) for row in rows])
            return 0
        table = plain_table("case", "made", "pipeline", "state", "study", "why")
        for row in rows:
            marks = "".join((" urgent" if row.urgent else "", " held" if row.held else ""))
            made = f"{row.created_at.astimezone():%m-%d %H:%M}"
            words = row.held or row.reason
            table.add_row(row.case_id[:8], made, row.pipeline, f"{row.state}{marks}", row.study_instance_uid, words)
        print_table(table)
    return 0


def _print_destinations(context: SiteContext, *, as_json: bool) -> None:
    rows = context.work.destinations(context.destinations)
    if as_json:
        print_json([DestinationView.model_validate(row) for row in rows])
        return
    table = plain_table("destination", *DeliveryState, "why")
    for row in rows:
        numbers = [str(row.deliveries.get(state, 0)) for state in DeliveryState]
        table.add_row(row.name, *numbers, row.paused or row.down)
    print_table(table)


def print_parked(context: SiteContext, *, as_json: bool) -> None:
    """Print the steps that are no longer retried."""
    rows = context.work.parked()
    if as_json:
        print_json([ParkedView.model_validate(row) for row in rows])
        return
    if not rows:
        print("no step is parked")
        return
    table = plain_table("step", "since", "tries", "why")
    for row in rows:
        table.add_row(f"{row.kind}:{row.key}", f"{row.parked_at.astimezone():%m-%d %H:%M}", str(row.tries), row.reason)
    print_table(table)


def _show(args: argparse.Namespace) -> int:
    with site_context(args) as context:
        study = context.work.study(args.what)
        if study is not None:
            if args.json:
                print_json(StudyView.model_validate(study))
            else:
                _print_study(study)
            return 0
        details = context.board.details(context.case(args.what))
        if details is None:
            raise NoSuchRowError(f"there is no case {args.what}")
        if args.json:
            print_json(CaseView.of(details))
            return 0
        _print_case(details)
        whole = context.work.study(details.job.study_instance_uid)
        if whole is not None:
            _print_timeline(whole)
    return 0


def _print_case(details: CaseDetails) -> None:
    console = Console(soft_wrap=True)
    job = details.job
    console.print(f"case {job.case_id}, {job.pipeline}, generation {job.generation}: [bold]{job.state}[/] {job.held}")
    console.print(f"study {job.study_instance_uid}", highlight=False)
    for role, series in details.roles.items():
        console.print(f"{role} {series}", highlight=False)
    for reason in details.reasons:
        console.print(f"  {reason}", highlight=False, markup=False)
    if details.findings:
        table = plain_table("finding", "", "slice", "what")
        for one in details.findings:
            table.add_row(one.code, one.severity, "" if one.z_mm is None else f"{one.z_mm:.1f} mm", Text(one.sentence))
        console.print(table)
    if details.verdicts:
        table = plain_table("series", "as", "", "verdict")
        for verdict in details.verdicts:
            mark = "yes" if verdict.accepted else "no"
            uid = f"…{verdict.series_instance_uid[-12:]}"
            table.add_row(uid, verdict.role, mark, Text("; ".join(verdict.reasons)))
        console.print(table)
    for choice in details.choices:
        words = " ".join(f"{role}={series}" for role, series in choice.items())
        console.print(f"choose: npc-contour assign {job.case_id[:8]} {words}", highlight=False, markup=False)
    if details.deliveries:
        table = plain_table("destination", "state", "tries", "status", "verified by", "next", "why")
        for row in details.deliveries:
            at = f"{row.next_attempt_at.astimezone():%m-%d %H:%M:%S}" if row.next_attempt_at else ""
            table.add_row(
                row.destination, row.state, str(row.attempts), row.status, row.verified_by, at, row.last_error
            )
        console.print(table)


def _print_study(study: StudyDetails) -> None:
    console = Console(soft_wrap=True)
    console.print(f"study {study.study_instance_uid}", highlight=False)
    for series in study.series:
        words = f"{series.modality} series {series.series_instance_uid}, {series.images} images: {series.state}"
        words += ", received again with another patient's identity: accept or discard" if series.came_again_at else ""
        console.print(words, highlight=False)
    for case in study.cases:
        console.print(f"case {case.case_id}, {case.pipeline}: {case.state} {case.held or case.reason}", highlight=False)
    _print_timeline(study)


def _print_timeline(study: StudyDetails) -> None:
    table = plain_table("at", "what", "of", "")
    for event in study.timeline:
        if event.seconds is None:
            kind, _, key = event.subject.partition(" ")
            subject = f"{kind} {key[:8] if kind == 'case' else f'…{key[-12:]}'}"
            table.add_row(f"{event.at.astimezone():%m-%d %H:%M:%S}", event.event, subject, event.detail)
    print_table(table)
