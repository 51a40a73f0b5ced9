"""The embedded PostgreSQL keeps its data over restarts and kills, and never outlives the one who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from npc_contour.adapters.postgres_embedded import EmbeddedPostgres
from npc_contour.errors import EmbeddedServerError

OWNER = """
import sys, time
from pathlib import Path
from npc_contour.adapters.postgres_embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(120)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(server: EmbeddedPostgres) -> None:
    while server.pid is not None:
        time.sleep(0.05)


def test_it_runs_as_its_own_user_though_what_is_written_is_for_ours_alone(open_folder: Path) -> None:
    open_folder.chmod(0o755)
    before = os.umask(0o077)
    try:
        (open_folder / "root").mkdir()
        with EmbeddedPostgres(open_folder / "root" / "db", log_file=open_folder / "root" / "logs" / "db.log") as server:
            psycopg.connect(server.url).close()
    finally:
        os.umask(before)

    assert not (open_folder / "root" / "db").stat().st_mode & 0o077
    assert not (open_folder / "root" / "logs").stat().st_mode & 0o077


def test_data_survives_a_stop_and_a_kill(open_folder: Path) -> None:
    with EmbeddedPostgres(open_folder / "db") as server:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(server.pid or 0, signal.SIGQUIT)
        wait_for_end(server)
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert server.pid is None
    with EmbeddedPostgres(open_folder / "db") as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_it_ends_with_its_owner_and_the_next_owner_takes_over(open_folder: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(open_folder / "db")], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    with EmbeddedPostgres(open_folder / "db") as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not alive(pid)


def test_it_listens_on_no_network_address(open_folder: Path) -> None:
    with EmbeddedPostgres(open_folder / "db") as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        row = connection.execute("SHOW unix_socket_directories").fetchone()
        assert row is not None
        assert Path(row[0]).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", ["long" * 30, "mit Träger, 'x' & y=1%20"])
def test_a_path_that_no_socket_can_have_still_works(open_folder: Path, name: str) -> None:
    with EmbeddedPostgres(open_folder / name / "db") as server:
        socket_folder = Path(server.url.split("host=")[1])
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not socket_folder.exists()


def test_the_machines_languages_do_not_matter(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "xx_XX.UTF-8")
    with EmbeddedPostgres(open_folder / "db") as server, psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT lower('Ä')").fetchone() == ("ä",)


def test_what_was_interrupted_is_not_taken_for_data(open_folder: Path) -> None:
    (open_folder / "db.part").mkdir()
    (open_folder / "db.part" / "PG_VERSION").write_text("18")

    with EmbeddedPostgres(open_folder / "db") as server:
        assert server.pid is not None
    assert not (open_folder / "db.part").exists()


def test_a_folder_of_something_else_is_left_alone(open_folder: Path) -> None:
    (open_folder / "db").mkdir()
    (open_folder / "db" / "thesis.txt").write_text("keep")

    with pytest.raises(EmbeddedServerError, match="not empty"):
        EmbeddedPostgres(open_folder / "db").start()
    assert (open_folder / "db" / "thesis.txt").read_text() == "keep"


def test_a_damaged_folder_is_an_error_with_the_servers_own_words(open_folder: Path) -> None:
    with EmbeddedPostgres(open_folder / "db"):
        pass
    (open_folder / "db" / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="no_such_setting"):
        EmbeddedPostgres(open_folder / "db", start_timeout_s=10).start()
