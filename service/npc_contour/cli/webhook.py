"""`npc-contour webhook`: what other programs were told, another try, and a new secret."""

from __future__ import annotations

import argparse
import base64
import secrets
from uuid import UUID

from rich.text import Text

from npc_contour.adapters.api.webhooks import WebhookMessageView
from npc_contour.adapters.webhooks import PREFIX
from npc_contour.adapters.workflow.queue import defer
from npc_contour.app.runtime import running_database_url
from npc_contour.application.webhooks import WebhookBoard
from npc_contour.cli.arguments import RAW, Verbs, add_config, number_in
from npc_contour.cli.as_json import add_json, print_json
from npc_contour.cli.tables import plain_table, print_table
from npc_contour.domain.status import Part
from npc_contour.domain.timeline import WebhookState
from npc_contour.settings import read_settings
from npc_contour.store.database import Store

EXAMPLES = """\
examples:
  npc-contour webhook list --state failed --config site.toml     what could not be delivered, and why
  npc-contour webhook retry 6f1c1b9e-6c0e-4b57-9d5e-5b1f0d1c2a3b --config site.toml
  npc-contour webhook secret > ris.secret                        for webhooks.secret_file and the receiver"""


def add_verbs(verbs: Verbs) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "webhook", help="what other programs were told by webhook", epilog=EXAMPLES, formatter_class=RAW
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list messages, newest first")
    listing.add_argument("--state", type=WebhookState, choices=list(WebhookState), help="only messages in this state")
    listing.add_argument("--limit", type=number_in(1, 1000), default=50, help="at most this many (default 50)")
    add_json(listing)
    retry = actions.add_parser("retry", help="deliver a message that was given up again")
    retry.add_argument("message_id", type=UUID, metavar="ID")
    for action in (listing, retry):
        add_config(action)
    actions.add_parser("secret", help="print a new secret")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show or do one thing."""
    if args.action == "secret":
        print(PREFIX + base64.b64encode(secrets.token_bytes(32)).decode())
        return 0
    with Store(running_database_url(read_settings(args.config)), defer, pool_size=2, timeout_s=5.0) as store:
        board = WebhookBoard(store, store.clock)
        if args.action == "retry":
            print(board.retry(str(args.message_id)))
            return 0
        rows = board.messages(args.state, Part(limit=int(args.limit)))
        if args.json:
            print_json([WebhookMessageView.model_validate(row) for row in rows])
            return 0
        heads = ("message", "hook", "event", "state", "tries", "last")
        table = plain_table(*heads, whole=frozenset({"message", "state"}))
        for row in rows:
            table.add_row(row.message_id, row.hook, row.event, row.state, str(row.attempts), Text(row.message))
        print_table(table)
    return 0
