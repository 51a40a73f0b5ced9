"""`npc-contour migrate`: make a database ready, before the processes that use it start."""

from __future__ import annotations

import argparse
from pathlib import Path

from npc_contour.app.accounts import open_accounts
from npc_contour.application.accounts import Accounts, By
from npc_contour.cli.arguments import RAW, Verbs, add_config, existing_file
from npc_contour.domain.accounts import AccessRole
from npc_contour.errors import SettingsError
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour migrate --config site.toml
  npc-contour migrate --config site.toml --first-admin admin --password-file /run/secrets/admin-password

`serve` migrates too, so this verb is for installations that start many machines at once, or that give the right to
change tables to one account of the database only. Safe to run again: an account is made only where there is none."""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "migrate",
        help="bring the site's PostgreSQL to this version, and make the first administrator",
        epilog=EXAMPLES,
        formatter_class=RAW,
    )
    add_config(parser)
    parser.add_argument("--first-admin", metavar="NAME", help="make this administrator where there is no account yet")
    parser.add_argument(
        "--password-file", type=existing_file, metavar="FILE", help="holds the first administrator's password"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Migrate; make the first account where asked."""
    if (args.first_admin is None) is not (args.password_file is None):
        raise SettingsError("--first-admin and --password-file go together")
    settings = read_settings(args.config)
    if settings.database.url == "embedded":
        raise SettingsError("database.url is embedded: `npc-contour serve` starts that database and migrates it itself")
    # Accounts are opened in a migrated database.
    with open_accounts(settings) as accounts:
        print("the database is of this version")
        if args.first_admin is not None:
            print(_first_admin(accounts, args.first_admin, args.password_file))
    return 0


def _first_admin(accounts: Accounts, name: str, password_file: Path) -> str:
    known = accounts.store.accounts()
    if known:
        return f"there are {len(known)} accounts, none was made"
    accounts.add(
        name, AccessRole.ADMIN, password_file.read_text(encoding="utf-8-sig").strip(), By("migrate", "command line")
    )
    return f"{name} is {AccessRole.ADMIN}"
