"""`npc-contour account`: who may use the page and REST."""

from __future__ import annotations

import argparse
import getpass
import sys
from dataclasses import replace

from npc_contour.app.accounts import open_accounts
from npc_contour.application.accounts import LOCAL, AccessRole
from npc_contour.cli.arguments import RAW, Verbs, add_config, number_in
from npc_contour.errors import AccountError
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour account add anna --role admin --config site.toml       asks for the password
  echo "$PASSWORD" | npc-contour account add bot --role viewer       from a script
  npc-contour account token prometheus --role viewer --days 365      prints a token for a program, this once
  npc-contour account disable anna                                   ends its sessions at once
  npc-contour account list

The service must be running, or database.url must name a PostgreSQL of the site's own."""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "account", help="accounts and tokens of the page and REST", epilog=EXAMPLES, formatter_class=RAW
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("add", "add an account, or give one a new password and role"),
        ("disable", "lock an account out"),
        ("enable", "let it in again"),
        ("list", "list accounts"),
        ("token", "make a token for a program"),
    ):
        action = actions.add_parser(name, help=text)
        add_config(action)
        if name != "list":
            action.add_argument("name", metavar="LABEL" if name == "token" else "NAME")
        if name in {"add", "token"}:
            action.add_argument("--role", type=AccessRole, choices=list(AccessRole), default=AccessRole.VIEWER)
        if name == "token":
            action.add_argument("--days", type=number_in(1, 3650), default=365, help="until it ends (default 365)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do one thing to accounts."""
    with open_accounts(read_settings(args.config)) as accounts:
        if args.action == "list":
            for known in accounts.store.accounts():
                print(f"{known.name}\t{known.role}\t{'disabled' if known.disabled else 'enabled'}")
        elif args.action == "token":
            print(accounts.make_token(args.name, LOCAL, args.role, int(args.days)))
        elif args.action == "add":
            accounts.add(args.name, args.role, _password())
            print(f"{args.name} is {args.role}")
        else:
            account = accounts.store.account(args.name)
            if account is None:
                raise AccountError(f"no account {args.name}")
            accounts.store.put_account(replace(account, disabled=args.action == "disable"))
            accounts.store.end_sessions(account=account.name)
            print(f"{account.name} is {args.action}d")
    return 0


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("password: ")
    if getpass.getpass("once more: ") != first:
        raise AccountError("the two passwords differ")
    return first
