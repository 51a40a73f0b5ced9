"""`npc-contour completion`: verbs and options at the press of Tab."""

from __future__ import annotations

import argparse

from npc_contour.cli.arguments import RAW, Verbs

EXAMPLES = """\
examples:
  npc-contour completion bash > ~/.local/share/bash-completion/completions/npc-contour
  npc-contour completion zsh > ~/.zfunc/_npc-contour        with fpath+=~/.zfunc before compinit in ~/.zshrc
  npc-contour completion fish > ~/.config/fish/completions/npc-contour.fish"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "completion",
        help="print a script that completes verbs and options in a shell",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    # Its own parser has this verb alone; the script is of all.
    import shtab  # noqa: PLC0415 - of no use to any other verb

    from npc_contour.cli import build_parser  # noqa: PLC0415 - imports this module

    print(shtab.complete(build_parser(), shell=args.shell))
    return 0
