"""One spool, one database: both carry the installation's id, and a service refuses to start with another's spool.

A worker that looks into a folder of its own instead of the shared one would take every image for lost; two services on
one spool would contour and send each study twice. So nothing is read or written before the two are known to belong
together, and the comparison of files and rows asks again each time.
"""

from __future__ import annotations

import uuid
from typing import Protocol

from npc_contour.domain.received import Known
from npc_contour.errors import SpoolForeignError
from npc_contour.store.database import Store
from npc_contour.store.transaction import Transaction

HELP = (
    "let storage.root or storage.shared_spool name the spool that belongs to this database (is it mounted?), or restore"
    " both from one backup; if the two are to belong together from now on, stop every service on them and run"
    " `npc-contour adopt-spool`"
)

TOGETHER = "the spool is this database's"


class SeenSpool(Protocol):
    """What is seen of a spool."""

    def installation_id(self) -> str:
        """Return the id that lies in it; "" where there is none."""
        ...

    def has_files(self) -> bool:
        """Whether images or artefacts are in it."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the file of a key is there."""
        ...


class IdentifiedSpool(SeenSpool, Protocol):
    """The spool as far as it must belong to the database."""

    def set_installation_id(self, installation_id: str) -> None:
        """Put an id into it, durably."""
        ...


def take_spool(store: Store, spool: IdentifiedSpool) -> None:
    """Prove that a spool is the database's, or make it so at the first start and after an upgrade.

    Raises:
        SpoolForeignError: it is not, or cannot be told to be; the message says what was found and what helps.
        StoreError: the database does not answer.
    """
    with store.transaction() as tx:
        known = _checked(tx, spool)
        if known.has_spool:
            return
        if not known.installation_id:
            tx.set_installation(spool.installation_id() or uuid.uuid4().hex, has_spool=False)
    # The id is durable in the database before it lies in the spool, and noted as lying there after it does: a start
    # that was cut short in between is taken up by the next one. Another machine may have come first.
    with store.transaction() as tx:
        known = _checked(tx, spool)
        if not known.has_spool:
            spool.set_installation_id(known.installation_id)
            tx.set_installation(known.installation_id, has_spool=True)


def _checked(tx: Transaction, spool: IdentifiedSpool) -> Known:
    known = tx.lock_installation()
    prove(known, spool)
    return known


def prove(known: Known, spool: SeenSpool) -> str:
    """Say what a start will make of a spool; nothing is changed.

    Raises:
        SpoolForeignError: it will refuse to start.
    """
    refusal = _refusal(known, spool.installation_id(), spool)
    if refusal:
        raise SpoolForeignError(f"{refusal}; {HELP}")
    return TOGETHER if known.has_spool else "the first start joins the spool to this database"


def adopt_spool(store: Store, spool: IdentifiedSpool) -> None:
    """Let a spool and a database belong together from now on, whatever they belonged to."""
    installation_id = uuid.uuid4().hex
    with store.transaction() as tx:
        tx.lock_installation()
        spool.set_installation_id(installation_id)
        tx.set_installation(installation_id, has_spool=True)


def check_spool(store: Store, spool: IdentifiedSpool) -> str:
    """Say that the spool is the database's still.

    Raises:
        SpoolForeignError: it is not (any more): a disk was unmounted, or another one lies there.
    """
    with store.transaction() as tx:
        expected = tx.installation_id()
    found = spool.installation_id()
    if found != expected:
        raise SpoolForeignError(f"{_unlike(expected, found)}; {HELP}")
    return TOGETHER


def _refusal(known: Known, found: str, spool: SeenSpool) -> str:
    if known.installation_id and (found or known.has_spool):
        return "" if found == known.installation_id else _unlike(known.installation_id, found)
    if not known.has_studies:
        if found:
            return "the spool belongs to another installation, and this database is empty"
        return "the spool holds images or results, and this database is empty" if spool.has_files() else ""
    missing = sum(not spool.exists(key) for key in known.newest_keys)
    if missing * 2 > len(known.newest_keys):
        return f"of the newest {len(known.newest_keys)} files that the database knows, {missing} are not in the spool"
    return ""


def _unlike(expected: str, found: str) -> str:
    if not found:
        return "the spool has no installation id (file `installation`), and this database has one"
    if not expected:
        return "the spool belongs to an installation, and this database to none"
    return "the spool belongs to another installation than this database"
