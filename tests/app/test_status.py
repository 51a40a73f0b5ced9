"""The status port says which processes of a machine do not run, and the database's password stays in its file."""

from __future__ import annotations

import os
import socket
from collections import Counter
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import PGconn

from npc_contour.app.status import processes_check
from npc_contour.errors import ProcessMissingError, SettingsError
from npc_contour.settings import Settings, read_settings


def test_a_process_that_does_not_run_is_named() -> None:
    settings = Settings.model_validate({"dicom": {"processes": 2}, "workers": {"processes": 3}})
    roles = ("receiver", "worker")

    def found(**running: int) -> str:
        return processes_check(settings, roles, lambda: Counter(running)).probe()

    assert found(receiver=2, worker=3, status=1) == "running: 2 receiver, 3 worker"
    with pytest.raises(ProcessMissingError, match="not running: 1 receiver, 3 worker, of 2 receiver, 3 worker"):
        found(receiver=1)


def test_the_password_of_the_database_comes_from_a_file_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p@ss/word\n")
    site = tmp_path / "site.toml"
    site.write_text('[database]\nurl = "postgresql://npc@db:5433/npc?sslmode=require"\npassword_file = "secret"\n')

    url = read_settings(site).database.url
    assert url.startswith("postgresql://npc:p%40ss%2Fword@db:5433/npc?sslmode=require&tcp_user_timeout=")

    site.write_text('[database]\nurl = "postgresql://npc:x@db/npc"\npassword_file = "secret"\n')
    with pytest.raises(SettingsError, match="holds a password itself"):
        read_settings(site)
    site.write_text('[database]\nurl = "postgresql://npc@db/npc"\npassword_file = "other"\n')
    with pytest.raises(SettingsError, match="other"):
        read_settings(site)


def test_a_database_whose_machine_is_gone_is_noticed_unless_the_site_says_otherwise(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[database]\nurl = "postgresql://npc@db/npc?keepalives_idle=300"\n')

    options = conninfo_to_dict(read_settings(site).database.url)

    assert options["keepalives_idle"] == "300"
    assert options["tcp_user_timeout"] == "30000"
    assert options["dbname"] == "npc"


def test_the_kernel_is_told_how_long_to_wait_for_the_database(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    with socket.create_server(("127.0.0.1", 0)) as database:
        site.write_text(f'[database]\nurl = "postgresql://npc@127.0.0.1:{database.getsockname()[1]}/npc"\n')
        connecting = PGconn.connect_start(read_settings(site).database.url.encode())
        with socket.socket(fileno=os.dup(connecting.socket)) as ours:
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        connecting.finish()
