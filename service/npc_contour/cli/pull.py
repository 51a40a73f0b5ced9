"""`npc-contour pull`: fetch from a PACS what was not sent, into the running service or into a folder."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from rich.table import Table

from npc_contour.adapters.dicom.pacs.worklist import scheduled_on
from npc_contour.adapters.dicom.read.headers import header_of, parse_data_set, split_file
from npc_contour.adapters.dicom.read.incoming import DATA_SET_MISMATCH
from npc_contour.adapters.dicom.spool.files import INVALID_UID
from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.archives import archive_of, node_of
from npc_contour.app.runtime import FILE, Runtime
from npc_contour.application.ports import Archive
from npc_contour.application.pulling import Fetched, asked_of, find_series, named_by, want
from npc_contour.cli.arguments import RAW, Verbs, add_config, ae_title, host_port, number_in
from npc_contour.cli.progress import bar
from npc_contour.cli.tables import plain_table, print_table
from npc_contour.domain.pulls import PullState
from npc_contour.domain.queries import ArchiveNode, Match, Query, QueryLevel
from npc_contour.domain.uids import is_uid
from npc_contour.errors import ArchiveError, InstanceRefused, SettingsError
from npc_contour.settings import PacsSettings, read_settings
from npc_contour.store.database import Store

EXAMPLES = """\
examples:
  npc-contour pull --config site.toml --accession A2026001        into the running service
  npc-contour pull --config site.toml --patient 4711 --list       only show what the PACS has
  npc-contour pull --config site.toml --today --modality CT       every CT of today
  npc-contour pull --config site.toml --worklist                  what the worklist of today names
  npc-contour pull --from 10.0.0.7:104 --called PACS --study 1.2.3 --out ct   into a folder, no service needed"""
LOOK_EVERY_S = 0.5


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "pull",
        help="fetch series from a PACS (C-FIND and C-GET or C-MOVE, or DICOMweb)",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    add_config(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--accession", metavar="NUMBER", help="the study of this accession number")
    what.add_argument("--study", metavar="UID", help="the study of this Study Instance UID")
    what.add_argument("--patient", metavar="ID", help="all studies of this patient")
    what.add_argument("--today", action="store_true", help="all studies of today")
    what.add_argument(
        "--worklist",
        nargs="?",
        const="",
        metavar="NAME",
        help="what a modality worklist names for today; NAME is the [[pacs]] that has the worklist (default: the PACS)",
    )
    parser.add_argument("--modality", default="CT", help="only series of this modality (default CT)")
    parser.add_argument("--pacs", metavar="NAME", help="which [[pacs]] of the settings (default: the first)")
    parser.add_argument("--from", dest="peer", type=host_port, metavar="HOST:PORT", help="a PACS outside the settings")
    parser.add_argument("--called", type=ae_title, default="PACS", help="its AE title, with --from (default PACS)")
    parser.add_argument("--calling", type=ae_title, help="our AE title (default: of the settings)")
    parser.add_argument("--timeout", type=number_in(0.1, whole=False), default=60.0, metavar="S", help="with --from")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write files here instead of into the service")
    parser.add_argument("--list", action="store_true", help="only show what is found")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Find, show, fetch; exit code 1 when nothing was found or not everything was fetched."""
    settings = read_settings(args.config)
    pacs = _pacs(args, settings.pacs)
    calling = args.calling or settings.dicom.ae_title
    archive = archive_of(pacs, calling, settings.dicom.tls)
    worklist = pacs if not args.worklist else _named(settings.pacs, args.worklist)
    series = _found(args, node_of(worklist, settings.dicom.tls), archive, calling, worklist.timeout_s)
    print_table(_table(series))
    if not series:
        print(f"{pacs.name} has nothing of that")
        return 1
    if args.list:
        return 0
    if args.out is not None:
        return _into_folder(archive, series, args.out)
    return _into_service(settings.storage.root / FILE, pacs.name, series)


def _pacs(args: argparse.Namespace, known: Sequence[PacsSettings]) -> PacsSettings:
    if args.peer is not None:
        if args.out is None and not args.list:
            raise SettingsError(
                "--from needs --out or --list: the service fetches only from a [[pacs]] of its settings"
            )
        host, port = args.peer
        return PacsSettings(name="pacs", ae_title=args.called, host=host, port=port, timeout_s=args.timeout)
    return _named(known, args.pacs)


def _named(known: Sequence[PacsSettings], name: str | None) -> PacsSettings:
    for pacs in known:
        if name in {None, pacs.name}:
            return pacs
    names = ", ".join(pacs.name for pacs in known) or "none"
    raise SettingsError(f"pacs: {name or 'one'} is needed, the settings have {names}; or give --from HOST:PORT")


def _found(
    args: argparse.Namespace, worklist: ArchiveNode, archive: Archive, calling: str, timeout_s: float
) -> tuple[Match, ...]:
    today = datetime.now().astimezone().date()
    try:
        queries = _queries(args, today)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if args.worklist is not None:
        listed = scheduled_on(worklist, today, args.modality, calling, timeout_s)
        queries = [
            Query(
                level=QueryLevel.STUDY,
                modality=args.modality,
                accession_number=one.accession_number,
                study_instance_uid="" if one.accession_number else one.study_instance_uid,
                patient_id=one.patient_id,
            )
            for one in listed
        ]
    found = [match for query in queries for match in find_series(archive, query)]
    return tuple({match.series_instance_uid: match for match in found}.values())


def _queries(args: argparse.Namespace, today: date) -> list[Query]:
    if args.worklist is not None:
        return []
    return [
        Query(
            level=QueryLevel.STUDY,
            modality=args.modality,
            accession_number=args.accession or "",
            study_instance_uid=args.study or "",
            patient_id=args.patient or "",
            since=today if args.today else None,
            until=today if args.today else None,
        )
    ]


def _table(series: Sequence[Match]) -> Table:
    searched = ("date", "patient", "accession", "modality", "images")
    table = plain_table(*searched, "description", "series", whole=frozenset(searched))
    for match in series:
        count = "" if match.instances is None else str(match.instances)
        table.add_row(
            match.study_date,
            match.patient_id,
            match.accession_number,
            "/".join(match.modalities),
            count,
            match.description,
            match.series_instance_uid,
        )
    return table


def _into_folder(archive: Archive, series: Sequence[Match], folder: Path) -> int:
    """Write each file as `<series>/<instance>.dcm`."""
    fetched = [_one_into_folder(archive, match, folder / match.series_instance_uid) for match in series]
    kept = sum(one.result.completed for one in fetched)
    print(f"{kept} images in {folder}")
    lacking = [(match, one) for match, one in zip(series, fetched, strict=True) if not one.whole]
    for match, one in lacking:
        print(f"incomplete {match.series_instance_uid}: {one.words}")
    return 1 if lacking else 0


def _one_into_folder(archive: Archive, match: Match, target: Path) -> Fetched:
    """Write what the PACS gives of a series, and nothing that was not asked for."""
    target.mkdir(parents=True, exist_ok=True)
    asked, here, strangers = asked_of(match), set[str](), list[str]()

    def keep(file: bytes) -> None:
        meta, data_set = split_file(file)
        header = header_of(parse_data_set(data_set, meta.uid("TransferSyntaxUID")), key="")
        if not is_uid(header.sop_instance_uid):
            raise InstanceRefused(f"not a UID: {header.sop_instance_uid[:64]!r}", status=INVALID_UID)
        if why := asked.stranger(header):
            strangers.append(why)
            raise InstanceRefused(why, status=DATA_SET_MISMATCH)
        (target / f"{header.sop_instance_uid}.dcm").write_bytes(file)
        here.add(header.sop_instance_uid)

    named = named_by(archive, match)
    with bar(f"fetching {match.description or match.series_instance_uid}"[:44]) as update:
        result = archive.retrieve(asked, keep, lambda done, total: update(done / max(total, 1)))
    for why in dict.fromkeys(strangers):
        print(f"refused: {why}")
    return Fetched(result, frozenset(here), named, match.instances, len(strangers))


def _into_service(runtime_file: Path, pacs: str, series: Sequence[Match]) -> int:
    """Have the running service fetch it, and wait: what is asked for is durable, also when this command is stopped."""
    if not runtime_file.is_file():
        raise SettingsError(f"no service is running: there is no {runtime_file}; start it, or give --out FOLDER")
    runtime = Runtime.read(runtime_file)
    with Store(runtime.database_url, defer) as store:
        waiting = dict.fromkeys(want(store, pacs, series, store.clock.now(), again=True))
        ended: dict[int, tuple[PullState, str]] = {}
        with bar(f"the service fetches {len(waiting)} series") as update:
            while len(ended) < len(waiting):
                time.sleep(LOOK_EVERY_S)
                with store.transaction() as tx:
                    rows = [tx.pulled_series(pull_id) for pull_id in waiting if pull_id not in ended]
                for row in rows:
                    if row is not None and row.state is not PullState.WANTED:
                        ended[row.pull_id] = (row.state, f"{row.series_instance_uid}: {row.message}")
                update(len(ended) / max(len(waiting), 1))
    for state, message in ended.values():
        print(f"{state.value:<10} {message}")
    if any(state is PullState.FAILED for state, _ in ended.values()):
        raise ArchiveError(f"{pacs} did not give everything; the reasons are above")
    return 0 if all(state is PullState.FETCHED for state, _ in ended.values()) else 1
