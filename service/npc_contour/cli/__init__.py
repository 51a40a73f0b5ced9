"""The command line: `npc-contour VERB`.

What a user sees: results on standard output, progress bars and errors on standard error, and an exit code:
0 done, 1 it did not work (the message says what was found and what to do), 2 wrong arguments or settings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from rich.console import Console

from npc_contour import __version__, logs
from npc_contour.cli.arguments import RAW
from npc_contour.errors import AutocontourError, CatalogError, SettingsError
from npc_contour.lifetime import leave_when_told

VERSION = f"npc-contour {__version__}"
DESCRIPTION = """\
Auto-contouring for radiotherapy of nasopharyngeal carcinoma: CT series in over DICOM, RTSTRUCT out.
Not a medical device: every RTSTRUCT is UNAPPROVED and must be reviewed by a radiation oncologist."""

EXAMPLES = """\
examples:
  npc-contour demo --out demo-out              the whole job on a synthetic patient, over real wires
  npc-contour phantom patient --seed 7         write a synthetic patient as DICOM with ground truth
  npc-contour segment patient --out rt.dcm     contour a folder of DICOM, no network needed
  npc-contour rtstruct CT MASKS --out rt.dcm   make an RTSTRUCT of masks; `masks` goes the other way
  npc-contour check --config site.toml         is this machine ready? what is missing?
  npc-contour self-test                        do the networks contour a phantom as they should?
  npc-contour serve --config site.toml         run the service until stopped
  npc-contour jobs --config site.toml          what is being done; show, retry, cancel, hold, resend, pause
  npc-contour echo 10.0.0.7:104 --called TPS   does that node answer?
  npc-contour pull --config site.toml --today  fetch today's CTs from the PACS"""


MODULES = {
    "serve": "serve",
    "check": "doctor",
    "self-test": "self_test",
    "segment": "folder",
    "phantom": "phantom",
    "rtstruct": "rtstruct",
    "masks": "masks",
    "picture": "picture",
    "judge": "judge",
    "compare": "compare",
    "profile": "rtstruct",
    "echo": "network",
    "send-test": "network",
    "inbox": "network",
    "pull": "pull",
    "triton": "triton",
    "demo": "demo",
    **dict.fromkeys(
        (
            "jobs",
            "show",
            "assign",
            "retry",
            "cancel",
            "hold",
            "release",
            "resend",
            "supersede",
            "pause",
            "resume",
        ),
        "operations",
    ),
    **dict.fromkeys(("held", "exclude", "whole", "accept", "discard"), "held"),
    "account": "account",
    "webhook": "webhook",
    "migrate": "migrate",
    "adopt-spool": "adopt",
    "completion": "completion",
}
"""Verb → module of this package. Only the verb's own is imported: `serve` runs for months and needs no pictures."""


def build_parser(verb: str | None = None) -> argparse.ArgumentParser:
    """Return the parser.

    Args:
        verb: the only verb that will be asked for; None builds every verb, for help.
    """
    parser = argparse.ArgumentParser(prog="npc-contour", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=RAW)
    parser.add_argument("--version", action="version", version=VERSION)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in dict.fromkeys(MODULES.values()) if verb is None else (MODULES[verb],):
        import_module(f"npc_contour.cli.{name}").add_verbs(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code.

    Args:
        argv: its arguments; None takes those of this process, which then ends in order when it is told to.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    if argv is None:
        leave_when_told()
    if arguments[:1] == ["--version"]:
        print(VERSION)
        return 0
    foreign = [argument for argument in arguments if not _is_utf8(argument)]
    if foreign:
        print(f"{foreign[0]!a} is not UTF-8: rename the file or folder", file=sys.stderr)
        return 2
    return run_command(build_parser(arguments[0] if arguments[:1] and arguments[0] in MODULES else None), arguments)


def run_command(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Parse the arguments, run what they name, print errors as sentences, and return the exit code."""
    logs.configure("WARNING")
    errors = Console(stderr=True, soft_wrap=True)
    try:
        args = parser.parse_args(arguments)
        code: int = args.run(args)
    except (SettingsError, CatalogError) as error:
        errors.print(f"[bold red]wrong settings[/] {_plain(error)}", highlight=False)
        return 2
    except AutocontourError as error:
        errors.print(f"[bold red]{type(error).__name__}[/] {_plain(error)}", highlight=False)
        return 1
    except KeyboardInterrupt:
        errors.print("stopped")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        errors.print(f"[bold red]cannot read or write[/] {_plain(where)}{error.strerror or error}", highlight=False)
        return 1
    return code


def _is_utf8(argument: str) -> bool:
    """Whether every library can take a path: some end the process over a name in another encoding."""
    try:
        argument.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain(error: Exception | str) -> str:
    return str(error).replace("[", "\\[")
