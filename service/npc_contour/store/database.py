"""The connection pool, migrations, claims; every psycopg error becomes a StoreError here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import TracebackType
from typing import Self

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from npc_contour.domain.received import Added, ArrivedImage
from npc_contour.domain.work import Job, JobKind
from npc_contour.errors import StoreError, UnusableValueError
from npc_contour.logs import Event
from npc_contour.store.at_once import AtOnce
from npc_contour.store.clock import DatabaseClock
from npc_contour.store.connection import CLAIM_CLASSES, MIGRATION_LOCK, SLOT_CLASS, Connection, Row, words_of
from npc_contour.store.images import ADD_TO_OPEN, added_to_open, values_of
from npc_contour.store.transaction import Transaction

logger = logging.getLogger(__name__)

Defer = Callable[[Connection, Job], None]
Schema = Callable[[Connection], None]
MIGRATIONS = files("npc_contour.store") / "migrations"
GIVE_WAY_S = 0.5
"""How long a migration waits for a table; less than PostgreSQL's deadlock_timeout of a second."""
MIGRATE_WITHIN_S = 120.0


class Store:
    """State in PostgreSQL; safe to share between threads."""

    def __init__(
        self, url: str, defer: Defer, *, pool_size: int = 8, timeout_s: float = 15.0, process: str = ""
    ) -> None:
        """Connect when first used.

        Args:
            url: of the database.
            defer: adds a job to the queue over an open transaction.
            pool_size: connections at most.
            timeout_s: how long to wait for a connection.
            process: as which this machine's clock is noted beside the database's; "" for what runs a moment only.
        """
        self._defer = defer
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url,
            min_size=1,
            max_size=pool_size,
            timeout=timeout_s,
            check=ConnectionPool.check_connection,
            kwargs={"row_factory": dict_row, "fallback_application_name": "npc-contour"},
            open=False,
        )
        self._pool.open()
        self._adding = AtOnce(url, ADD_TO_OPEN)
        self.clock = DatabaseClock(url, process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._adding.close()
        self.clock.close()
        self._pool.close()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Begin; commit at the end of the block, roll back when it raises."""
        with _translated(), self._pool.connection() as connection:
            tx = Transaction(connection, self._defer)
            yield tx
            tx.count_steps()

    def add_to_open_series(
        self, images: Sequence[ArrivedImage], at: datetime, meanwhile: Callable[[], None]
    ) -> tuple[Added, ...] | None:
        """Add images by one committed statement where all their series are being received; None where one is not.

        `meanwhile` is called once, while the database works; what it raises is raised when the database is done.

        Trouble with the database is None, too: the transaction that follows says what it is. What was committed
        before the connection broke is found there as known.
        """
        rows = self._adding.run(values_of(images, at), meanwhile)
        return None if rows is None else added_to_open(images, rows)

    def query(self, statement: str, values: Mapping[str, object] | None = None) -> list[Row]:
        """Run one statement that only reads; `statement` is a constant of this package."""
        with _translated(), self._pool.connection() as connection:
            return connection.execute(statement.encode(), values).fetchall()

    @contextmanager
    def claim(self, kind: JobKind, key: str) -> Iterator[bool]:
        """Take sole charge of one row; gives False when another has it. PostgreSQL drops it when this process dies."""
        with _translated(), self._pool.connection() as connection:
            connection.autocommit = True
            try:
                lock = (CLAIM_CLASSES[kind], key)
                row = connection.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s)) AS held", lock).fetchone()
                held = bool(row and row["held"])
                try:
                    yield held
                finally:
                    if held:
                        _unlock(connection, "SELECT pg_advisory_unlock(%s, hashtext(%s))", lock)
            finally:
                if not connection.closed:
                    connection.autocommit = False

    @contextmanager
    def slot(self, at_once: int) -> Iterator[bool]:
        """Hold one of `at_once` places; gives False when none is free."""
        with _translated(), self._pool.connection() as connection:
            connection.autocommit = True
            try:
                place = _take_place(connection, at_once)
                try:
                    yield place is not None
                finally:
                    if place is not None:
                        _unlock(connection, "SELECT pg_advisory_unlock(%s, %s)", (SLOT_CLASS, place))
            finally:
                if not connection.closed:
                    connection.autocommit = False


def migrate(url: str, queue_schema: Schema, folder: Traversable = MIGRATIONS) -> int:
    """Bring the database to this version's schema; safe to call from several processes at once, and while others work.

    Tables are locked one after another, and workers of the version before read them in an order of their own. So
    whoever migrates gives way before PostgreSQL takes the two for a deadlock, and starts over.

    Args:
        url: of the database.
        queue_schema: brings the queue's own tables up to date, in the same transaction.
        folder: of the migrations.

    Returns:
        How many migrations were applied.

    Raises:
        StoreError: the database does not answer, is of a newer version, or others never let a table go.
    """
    deadline_s = time.monotonic() + MIGRATE_WITHIN_S
    with _translated():
        while True:
            try:
                return _migrate(url, queue_schema, folder)
            except psycopg.errors.LockNotAvailable:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(GIVE_WAY_S)


def _migrate(url: str, queue_schema: Schema, folder: Traversable) -> int:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        connection.execute(f"SET LOCAL lock_timeout = '{GIVE_WAY_S:g}s'".encode())
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migration (number integer PRIMARY KEY, name text NOT NULL, "
            "applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = connection.execute("SELECT number FROM migration").fetchall()
        applied = {int(row["number"]) for row in rows}
        known = _migrations(folder)
        unknown = applied - {number for number, _, _ in known}
        if unknown:
            raise StoreError(f"the database has migrations {sorted(unknown)} of a newer version: do not downgrade")
        pending = [(number, name, text) for number, name, text in known if number not in applied]
        queue_schema(connection)
        for number, name, text in pending:
            connection.execute(text.encode())
            connection.execute("INSERT INTO migration (number, name) VALUES (%s, %s)", (number, name))
    logger.info(Event.DATABASE_MIGRATED, extra={"applied": [name for _, name, _ in pending]})
    return len(pending)


def _migrations(folder: Traversable) -> list[tuple[int, str, str]]:
    found = [item for item in folder.iterdir() if item.name.endswith(".sql")]
    return sorted((int(item.name[:4]), item.name, item.read_text(encoding="utf-8")) for item in found)


def _unlock(connection: Connection, statement: str, lock: tuple[int, object]) -> None:
    # With its connection the lock is gone already; what was done under it is committed over others.
    with suppress(psycopg.OperationalError):
        connection.execute(statement.encode(), lock)


def _take_place(connection: Connection, at_once: int) -> int | None:
    for place in range(at_once):
        row = connection.execute("SELECT pg_try_advisory_lock(%s, %s) AS held", (SLOT_CLASS, place)).fetchone()
        if row and row["held"]:
            return place
    return None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (psycopg.DataError, UnicodeEncodeError):
        # Not in PostgreSQL's or Python's words, nor with them behind it in a traceback: those repeat the value.
        raise UnusableValueError(
            "a value cannot be kept: text with a zero byte or half a character, or a number too large"
        ) from None
    except (psycopg.Error, PoolTimeout) as error:
        # Without the error behind it: a traceback would write its detail, values of a row, into the log.
        raise StoreError(f"database: {words_of(error)}") from None
