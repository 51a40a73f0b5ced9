"""Signs of life of every process of every machine, by the database's clock alone."""

from __future__ import annotations

import psycopg

from npc_contour.domain.status import ProcessRow
from npc_contour.errors import StoreError
from npc_contour.store.database import Store

CONNECT_S = 5
ANSWER_S = 10
GAP_S = 30
"""A process that was silent for so long has restarted."""
_BEAT = f"""
INSERT INTO process (place, name, role, machine) VALUES (%(place)s, %(name)s, %(role)s, %(machine)s)
ON CONFLICT (place, name) DO UPDATE SET role = excluded.role, machine = excluded.machine, beat_at = now(),
since = CASE WHEN process.beat_at < now() - interval '{GAP_S} s' THEN now() ELSE process.since END
"""  # noqa: S608 - constants only
_ALL = """
SELECT name, role, machine, place, extract(epoch FROM now() - beat_at)::float AS silent_s FROM process
WHERE beat_at > now() - interval '1 day' ORDER BY machine, place, name
"""
_CUT_OFF = """
SELECT coalesce(name, split_part(application_name, ' ', 2)) AS name,
coalesce(machine, host(client_addr), '') AS machine, pg_terminate_backend(pid) AS ended
FROM pg_stat_activity LEFT JOIN process ON application_name = left('npc-contour ' || name || ' ' || place, 63)
WHERE datname = current_database() AND (name IS NOT NULL OR application_name LIKE 'npc-contour worker-%%')
AND coalesce(beat_at, state_change) < now() - make_interval(secs => %(silent_s)s)
AND EXISTS (SELECT FROM process own WHERE own.place = %(place)s AND own.name = %(name)s
    AND own.since < now() - make_interval(secs => %(silent_s)s)
    AND own.beat_at > now() - make_interval(secs => %(silent_s)s))
"""


def forget_processes(url: str, place: str) -> None:
    """Forget the processes of a place, which start or have ended, and those that nobody has heard of for a day.

    Raises:
        StoreError: the database does not answer.
    """
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_S) as connection:
            connection.execute("DELETE FROM process WHERE place = %s OR beat_at < now() - interval '1 day'", (place,))
    except psycopg.Error as error:
        raise StoreError(f"database: {error}") from error


class Beats:
    """Writes one process's signs of life, over a connection of its own: no queue for one keeps it from telling.

    Args:
        url: of the database.
        row: of the process; `silent_s` is not written.
    """

    def __init__(self, url: str, row: ProcessRow) -> None:
        self._url = url
        self._values = {"place": row.place, "name": row.name, "role": row.role, "machine": row.machine}
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def report(self) -> None:
        """Write that the process works now.

        Raises:
            StoreError: the database does not take it.
        """
        try:
            if self._connection is None:
                self._connection = psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=CONNECT_S,
                    fallback_application_name="npc-contour",
                    options=f"-c statement_timeout={ANSWER_S}s",
                )
            self._connection.execute(_BEAT.encode(), self._values)
        except psycopg.Error as error:
            self.close()
            raise StoreError(f"database: {error}") from error

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Processes:
    """What is known of all processes.

    Args:
        store: the database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def rows(self) -> tuple[ProcessRow, ...]:
        """Return every process that was not ended in good order, by machine and name.

        Raises:
            StoreError: the database does not answer.
        """
        return tuple(ProcessRow(**row) for row in self._store.query(_ALL))

    def cut_off(self, own: ProcessRow, silent_s: float) -> tuple[ProcessRow, ...]:
        """End the connections of processes that have been silent, and their claims with them.

        A worker that stopped before it was ever heard is known by its connections alone.

        Nobody is, unless our own process has beaten all that time: after an outage of the database all are silent.

        Args:
            own: our own process.
            silent_s: for how long.

        Returns:
            Whose connections were ended.
        """
        values = {"place": own.place, "name": own.name, "silent_s": silent_s}
        rows = self._store.query(_CUT_OFF, values)
        found = {(row["name"], row["machine"]) for row in rows if row["ended"]}
        return tuple(ProcessRow(name=name, role="", machine=machine, place="") for name, machine in sorted(found))
