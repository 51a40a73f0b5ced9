"""`npc-contour account`: who may use the page and REST."""

from __future__ import annotations

import argparse
import getpass
import sys
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from npc_contour.app.accounts import open_accounts
from npc_contour.application.accounts import LOCAL, Accounts, By
from npc_contour.cli.arguments import RAW, Verbs, add_config, number_in
from npc_contour.cli.as_json import add_json, print_json
from npc_contour.cli.tables import plain_table, print_table
from npc_contour.domain.accounts import AccessRole
from npc_contour.errors import AccountError
from npc_contour.settings import read_settings

EXAMPLES = """\
examples:
  npc-contour account add anna --role admin --config site.toml       asks for the password
  echo "$PASSWORD" | npc-contour account add bot --role viewer       from a script
  npc-contour account token prometheus --role viewer --days 365      prints a token for a program, this once
  npc-contour account role anna --role operator                      gives an account another role
  npc-contour account password anna                                  gives it a new password
  npc-contour account disable anna                                   ends its sessions at once
  npc-contour account unlock anna                                    after too many wrong passwords
  npc-contour account list
  npc-contour account tokens                                         tokens of programs: whose, until when, last used
  npc-contour account revoke 3                                       ends the token of that number

The service must be running, or database.url must name a PostgreSQL of the site's own."""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "account", help="accounts and tokens of the page and REST", epilog=EXAMPLES, formatter_class=RAW
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("add", "add an account"),
        ("role", "give an account another role"),
        ("password", "give an account a new password"),
        ("disable", "lock an account out"),
        ("enable", "let it in again"),
        ("unlock", "let it log in at once after too many wrong passwords"),
        ("list", "list accounts"),
        ("token", "make a token for a program"),
        ("tokens", "list tokens"),
        ("revoke", "end a token"),
    ):
        action = actions.add_parser(name, help=text)
        add_config(action)
        if name in {"list", "tokens"}:
            add_json(action)
        elif name == "revoke":
            action.add_argument("number", type=int, metavar="NUMBER", help="see `npc-contour account tokens`")
        else:
            action.add_argument("name", metavar="LABEL" if name == "token" else "NAME")
        if name in {"add", "token", "role"}:
            default = None if name == "role" else AccessRole.VIEWER
            action.add_argument(
                "--role", type=AccessRole, choices=list(AccessRole), default=default, required=default is None
            )
        if name == "token":
            action.add_argument("--days", type=number_in(1, 3650), default=365, help="until it ends (default 365)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do one thing to accounts; everything but the list is in the audit trail."""
    with open_accounts(read_settings(args.config)) as accounts:
        if args.action == "list":
            _print_accounts(accounts, as_json=args.json)
        elif args.action == "tokens":
            _print_tokens(accounts, as_json=args.json)
        elif args.action == "revoke":
            print(_revoke(accounts, args.number, By(getpass.getuser(), "command line")))
        else:
            print(_do(accounts, args, By(getpass.getuser(), "command line")))
    return 0


class AccountView(BaseModel):
    """An account."""

    model_config = ConfigDict(from_attributes=True)
    name: str
    role: AccessRole
    disabled: bool
    created_at: datetime
    last_login_at: datetime | None


class TokenView(BaseModel):
    """A token of a program; the token itself is nowhere."""

    model_config = ConfigDict(from_attributes=True)
    token_id: int
    label: str
    account: str
    role: AccessRole
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


def _print_accounts(accounts: Accounts, *, as_json: bool) -> None:
    known = [AccountView.model_validate(one) for one in accounts.store.accounts()]
    if as_json:
        print_json(known)
        return
    table = plain_table("name", "role", "state", "last login")
    for one in known:
        table.add_row(one.name, one.role, "disabled" if one.disabled else "enabled", _day(one.last_login_at))
    print_table(table)


def _print_tokens(accounts: Accounts, *, as_json: bool) -> None:
    known = [TokenView.model_validate(one) for one in accounts.store.tokens()]
    if as_json:
        print_json(known)
        return
    table = plain_table("number", "label", "account", "role", "until", "last used")
    for one in known:
        days = (_day(one.expires_at), _day(one.last_used_at))
        table.add_row(str(one.token_id), one.label, one.account, one.role, *days)
    print_table(table)


def _day(at: datetime | None) -> str:
    return "never" if at is None else f"{at.astimezone():%Y-%m-%d}"


def _do(accounts: Accounts, args: argparse.Namespace, by: By) -> str:
    """Return what was done, or the new token."""
    if args.action == "token":
        return accounts.make_token(args.name, LOCAL, args.role, int(args.days), by)
    if args.action == "add":
        accounts.add(args.name, args.role, _password(), by)
        return f"{args.name} is {args.role}"
    if args.action == "role":
        accounts.set_role(args.name, args.role, by)
        return f"{args.name} is {args.role}"
    if args.action == "password":
        accounts.set_password(args.name, _password(), by)
        return f"{args.name} has a new password"
    if args.action == "unlock":
        return f"{args.name} may log in again: {accounts.unlock(args.name, by)} refused logins are forgotten"
    accounts.disable(args.name, disabled=args.action == "disable", by=by)
    return f"{args.name} is {args.action}d"


def _revoke(accounts: Accounts, number: int, by: By) -> str:
    if not accounts.remove_token(number, by):
        raise AccountError(f"there is no token {number}: see `npc-contour account tokens`")
    return f"token {number} is revoked"


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("password: ")
    if getpass.getpass("once more: ") != first:
        raise AccountError("the two passwords differ")
    return first
