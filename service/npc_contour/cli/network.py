"""`npc-contour echo`, `send-test` and `inbox`: try the wires without the service."""

from __future__ import annotations

import argparse
from pathlib import Path

from npc_contour.adapters.dicom.receive.inbox import Inbox
from npc_contour.adapters.dicom.send import scu
from npc_contour.cli.arguments import RAW, Verbs, ae_title, existing_folder, host_port, number_in
from npc_contour.cli.progress import bar
from npc_contour.domain.dimse import status_words
from npc_contour.domain.jobs import Destination
from npc_contour.lifetime import asked_to_end


def add_verbs(verbs: Verbs) -> None:
    """Add the verbs."""
    echo = verbs.add_parser(
        "echo",
        help="does a DICOM node answer? (C-ECHO)",
        epilog="example:\n  npc-contour echo 127.0.0.1:11112 --called NPC_CONTOUR",
        formatter_class=RAW,
    )
    echo.add_argument("peer", type=host_port, metavar="HOST:PORT", help="the node")
    _add_peer(echo)
    echo.set_defaults(run=run_echo)

    send = verbs.add_parser(
        "send-test",
        help="send a folder of DICOM to a node (C-STORE)",
        epilog="examples:\n  npc-contour send-test patient --to 127.0.0.1:11112\n"
        "  npc-contour send-test patient --to 127.0.0.1:11112 --associations 4 --shuffle-seed 1",
        formatter_class=RAW,
    )
    send.add_argument(
        "folder", type=existing_folder, help="searched with its subfolders; files that are no DICOM are skipped"
    )
    send.add_argument("--to", dest="peer", type=host_port, metavar="HOST:PORT", help="the node", required=True)
    _add_peer(send)
    send.add_argument(
        "--associations", type=number_in(1, 64), default=1, help="send over this many at once (default 1)"
    )
    send.add_argument("--shuffle-seed", type=int, metavar="N", help="send in this random order (default: by file name)")
    send.set_defaults(run=run_send)

    inbox = verbs.add_parser(
        "inbox",
        help="a DICOM node on this machine that keeps what it is sent (stands for a planning system)",
        epilog="example:\n  npc-contour inbox received --port 11113",
        formatter_class=RAW,
    )
    inbox.add_argument("folder", type=Path, help="where files go; made when absent")
    inbox.add_argument("--port", type=number_in(0, 65535), default=0, help="0 takes a free one and prints it (default)")
    inbox.add_argument("--ae-title", type=ae_title, default="TPS", help="this node's AE title (default TPS)")
    inbox.set_defaults(run=run_inbox)


def run_echo(args: argparse.Namespace) -> int:
    """Ask once; an error message and exit code 1 when there is no answer."""
    peer = _peer(args)
    result = scu.echo(peer, args.calling, args.timeout)
    who = f" ({result.implementation})" if result.implementation else ""
    print(f"{peer.ae_title} at {peer.host}:{peer.port} answers in {result.seconds * 1000:.0f} ms{who}")
    return 0


def run_send(args: argparse.Namespace) -> int:
    """Send everything; exit code 1 when the peer did not take it all."""
    peer = _peer(args)
    with bar(f"sending to {peer.ae_title}") as update:
        report = scu.send_series(
            args.folder,
            peer,
            args.calling,
            args.timeout,
            associations=args.associations,
            shuffle_seed=args.shuffle_seed,
            progress=lambda done, total: update(done / total),
        )
    stored = len(report.receipts) - len(report.failures)
    print(f"{stored} of {len(report.receipts)} objects stored in {report.seconds:.1f} s")
    for failure in report.failures:
        print(f"  {failure.sop_instance_uid}: {status_words(failure.status)}")
    return 1 if report.failures or not report.receipts else 0


def run_inbox(args: argparse.Namespace) -> int:
    """Listen until stopped; print each object's path as it arrives."""
    stop = asked_to_end()
    with Inbox(
        args.folder, ae_title=args.ae_title, port=args.port, on_kept=lambda path: print(path, flush=True)
    ) as node:
        print(f"listening on 127.0.0.1:{node.port} as {args.ae_title}", flush=True)
        stop.wait()
    return 0


def _add_peer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--called", type=ae_title, default="NPC_CONTOUR", help="its AE title (default NPC_CONTOUR)")
    parser.add_argument("--calling", type=ae_title, default="NPC_TEST", help="our AE title (default NPC_TEST)")
    parser.add_argument(
        "--timeout", type=number_in(0.1, whole=False), default=30.0, metavar="S", help="seconds to wait for each answer"
    )


def _peer(args: argparse.Namespace) -> Destination:
    host, port = args.peer
    return Destination(name="peer", ae_title=args.called, host=host, port=port)
