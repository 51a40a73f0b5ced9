"""The trial of an upgrade: a newer version migrates the database and takes over while the older one is at work."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from contextlib import ExitStack
from pathlib import Path

from npc_testkit.fault_lab import Lab, Outcome, audit, send_all, sending, started, verified, wait_verified
from npc_testkit.fault_site import debian_postgres, wait_for

REPOSITORY = Path(__file__).parents[2]
MIGRATIONS = "service/npc_contour/*store/migrations/*.sql"
"""Wherever they lay: a file that was moved is not a new migration."""
APPLIED = "SELECT count(*) AS n FROM migration"


def rolling_upgrade(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001 - the signature of every trial
    """The last version with an older schema works; this one starts beside it and migrates; the older one is stopped."""
    count = 4 if short else 16
    outcome = Outcome("rolling upgrade with work in flight")
    older = older_version(lab.folder)
    if older is None:
        outcome.detail = "not run: no history of the repository here"
        return outcome
    with ExitStack() as running:
        url, _ = running.enter_context(debian_postgres(lab.folder / f"pg-{time.time_ns()}"))
        spool = f'shared_spool = "{lab.folder / f"spool-{time.time_ns()}"}"'
        old = running.enter_context(started(lab.service("old", database=url, spool=spool, roots=older)))
        new = lab.service("new", database=url, spool=spool)
        before = int(old.query(APPLIED)[0]["n"])
        studies = lab.studies("upgrade", count)
        senders, jobs = send_all(old, studies[: count // 2])
        with sending(jobs, at_once=2) as errors:
            wait_for(lambda: verified(old) >= 1, "the first case of the older version", 180)
            running.enter_context(started(new))
            applied = int(new.query(APPLIED)[0]["n"]) - before
            worked_on = verified(old)
        assert not errors, errors
        # The older version goes on, on the newer schema, beside the newer one.
        wait_verified(old, min(worked_on + 2, count // 2), 180)
        more_senders, more_jobs = send_all(new, studies[count // 2 :])
        with sending(more_jobs, at_once=2) as errors:
            time.sleep(1.0)
            old.stop()
        assert not errors, errors
        wait_verified(new, count, 60 + 8 * count)
        audit(lab, new, studies, [*senders, *more_senders], outcome)
    outcome.held = outcome.held and applied > 0
    outcome.more["migrations_under_work"] = applied
    outcome.detail = f"{applied} migrations applied under a working older version, all {count} studies verified"
    return outcome


def older_version(folder: Path) -> str | None:
    """Take the last version before the newest migration out of the repository; return its packages' PYTHONPATH."""
    newest = _git("log", "-1", "--diff-filter=A", "--format=%H", "--", MIGRATIONS)
    archive = _git("archive", f"{newest.decode().strip()}~1", "service", "triton_repo") if newest else b""
    if not archive:
        return None
    target = folder / f"older-{time.time_ns()}"
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(target, filter="data")
    return str(target / "service")


def _git(*arguments: str) -> bytes:
    try:
        done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, check=False)
    except FileNotFoundError:
        return b""
    return done.stdout if done.returncode == 0 else b""
