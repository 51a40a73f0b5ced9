"""`npc-tools conformance`: the DICOM Conformance Statement of this version."""

from __future__ import annotations

import argparse
from pathlib import Path

from markdown_it import MarkdownIt

from npc_contour.cli.arguments import RAW, Verbs
from npc_tools.conformance.statement import statement

EXAMPLES = """\
examples:
  npc-tools conformance                                   as Markdown, on standard output
  npc-tools conformance --html --out conformance.html     to print, or to make a PDF of"""
STYLE = """\
@page { size: A4; margin: 16mm 12mm 18mm; @bottom-left { content: string(title); font: 7pt sans-serif }
@bottom-right { content: counter(page) " / " counter(pages); font: 7pt sans-serif } }
body { font: 9pt/1.35 sans-serif } h1 { font-size: 17pt; string-set: title content() } h2 { font-size: 13pt }
h1, h2, h3 { break-after: avoid } table { border-collapse: collapse; width: 100% } tr { break-inside: avoid }
td, th { border: 0.4pt solid #999; padding: 2pt 4pt; text-align: left; vertical-align: top }
th { background: #eee } code { font-size: 7.5pt } p code { overflow-wrap: anywhere }"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "conformance", help="the DICOM Conformance Statement (PS3.2)", epilog=EXAMPLES, formatter_class=RAW
    )
    parser.add_argument("--html", action="store_true", help="as a page of HTML instead of Markdown")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write here (default: standard output)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write it."""
    text = statement()
    if args.html:
        body = MarkdownIt().enable("table").render(text)
        text = '<!doctype html><html lang="en"><meta charset="utf-8"><title>DICOM Conformance Statement</title>\n'
        text += f"<style>{STYLE}</style>\n<body>{body}</body></html>\n"
    if args.out is None:
        print(text, end="")
    else:
        args.out.write_text(text, encoding="utf-8")
    return 0
