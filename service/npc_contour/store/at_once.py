"""One prepared statement over a connection of its own, committed by one message, while its caller does something else.

A transaction by psycopg is five messages to the server and back: is the connection alive, begin, two statements,
commit. Each wakes the server and then us, which at hundreds of images a second costs more than the work. libpq sends a
statement without waiting for its result (docs: "Asynchronous Command Processing"); what the caller has to wait for
besides, a flush of a file, is waited for in the same thread meanwhile.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Sequence

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

CONNECT_S = 5
_NAME = b"at_once"


class AtOnce:
    """One statement, for one caller at a time.

    Args:
        url: of the database.
        statement: with $1, $2, ... for its values; it commits by itself.
    """

    def __init__(self, url: str, statement: str) -> None:
        self._url = url
        self._statement = statement.encode()
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def run(self, values: Sequence[str], meanwhile: Callable[[], None]) -> list[tuple[str | None, ...]] | None:
        """Run the statement.

        Args:
            values: as text.
            meanwhile: called once, while the server works.

        Returns:
            Its rows as text; None where the server or the connection failed: whether it was done is not known.
        """
        with self._lock:
            try:
                server = self._ready()
                server.send_query_prepared(_NAME, [value.encode() for value in values])
                _send(server)
            except psycopg.Error:
                self._drop()
                meanwhile()
                return None
            try:
                meanwhile()
            finally:
                rows = self._rows(server)
            return rows

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._drop()

    def _ready(self) -> PGconn:
        if self._connection is None:
            connection = psycopg.connect(
                self._url, autocommit=True, fallback_application_name="npc-contour", connect_timeout=CONNECT_S
            )
            prepared = connection.pgconn.prepare(_NAME, self._statement)
            if prepared.status != ExecStatus.COMMAND_OK:
                connection.close()
                raise psycopg.errors.error_from_result(prepared)
            self._connection = connection
        return self._connection.pgconn

    def _rows(self, server: PGconn) -> list[tuple[str | None, ...]] | None:
        try:
            return _rows(_result(server))
        except psycopg.Error:
            self._drop()
            return None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _send(server: PGconn) -> None:
    while server.flush():
        _wait(server, select.POLLIN | select.POLLOUT)
        server.consume_input()


def _result(server: PGconn) -> PGresult:
    """Wait for the one result, without holding up other threads."""
    last: PGresult | None = None
    while True:
        while server.is_busy():
            _wait(server, select.POLLIN)
            server.consume_input()
        result = server.get_result()
        if result is None:
            break
        last = result
    if last is None:
        raise psycopg.OperationalError("the server sent no result")
    return last


def _rows(result: PGresult) -> list[tuple[str | None, ...]]:
    if result.status != ExecStatus.TUPLES_OK:
        raise psycopg.errors.error_from_result(result)
    return [
        tuple(
            None if (value := result.get_value(row, column)) is None else value.decode()
            for column in range(result.nfields)
        )
        for row in range(result.ntuples)
    ]


def _wait(server: PGconn, events: int) -> None:
    poll = select.poll()
    poll.register(server.socket, events)
    poll.poll()
