"""The trial of processes that hang: noticed, named, replaced, and nothing done twice."""

from __future__ import annotations

import os
import signal
import time
from functools import partial

import httpx

from npc_testkit.fault_lab import Lab, Outcome, audit, send_all, started, wait_verified
from npc_testkit.fault_site import ROOTS, Service, wait_for

UNNOTICED_LIMIT_S = 60.0
HOLD, LOOP = signal.SIGRTMIN, signal.SIGRTMIN + 1
HANGS = r"""
import signal, sys, threading

def hold(*_):
    # A call into C that lets no other thread run and does not end.
    import re
    threading.Thread(target=re.match, args=(r"^(\w+\s?)+$", "THORAX_NATIVE_WITHOUT_CONTRAST_5_0_B31f -")).start()

def loop(*_):
    # Signals are handled in the main thread, in which the main loop runs.
    while True:
        pass

if "npc_contour.app" in sys.orig_argv:
    signal.signal(signal.SIGRTMIN, hold)
    signal.signal(signal.SIGRTMIN + 1, loop)
"""
"""Makes the service's own processes hang when they are told to; Python imports it before all else."""
WAYS: tuple[tuple[str, str, int], ...] = (
    ("stopped", "worker", signal.SIGSTOP),
    ("holds the interpreter", "worker", HOLD),
    ("loops", "worker", LOOP),
    ("stopped", "receiver", signal.SIGSTOP),
    ("stopped", "web", signal.SIGSTOP),
)
UNDER_WAY = "SELECT 1 AS x FROM contour_case WHERE state IN ('routed', 'segmented')"


def hangs(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001 - the signature of every trial
    """Processes hang in every way while a study is under way; each is replaced, and its work is done, once."""
    outcome = Outcome("processes that hang")
    ways = WAYS[:2] if short else WAYS
    folder = lab.folder / f"hangs-{time.time_ns()}"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HANGS.replace("\\\\\\\\", "\\\\"), encoding="utf-8")
    studies = lab.studies("hang", len(ways))
    with started(lab.service("hang", roots=f"{folder}{os.pathsep}{ROOTS}")) as service:
        senders, jobs = send_all(service, studies)
        wait_for(lambda: ready(service), "readiness", 180)
        for number, ((how, role, number_of_signal), send) in enumerate(zip(ways, jobs, strict=True), start=1):
            (victim,) = service.pids(f"npc_contour.app {role}")
            if role == "worker":
                send()
                wait_for(lambda: bool(service.query(UNDER_WAY)), "a case under way", 60)
            os.kill(victim, number_of_signal)
            hung_at = time.monotonic()
            outcome.kills += 1
            named = partial(not_ready, service) if role == "worker" else None
            if named is not None:
                outcome.more[f"named_s_{number}"] = round(wait_for(named, f"readiness without a worker ({how})", 60), 1)
            wait_for(partial(_replaced, service, role, victim), f"another {role} ({how})", 120)
            unnoticed_s = time.monotonic() - hung_at
            if role != "worker":
                send()
            outcome.resume_s.append(round(unnoticed_s, 1))
            wait_verified(service, number, 120)
            wait_for(lambda: ready(service), "readiness again", 60)
        audit(lab, service, studies, senders, outcome)
    longest_s = max(outcome.resume_s)
    outcome.more["longest_unnoticed_hang_s"] = longest_s
    outcome.held = outcome.held and longest_s <= UNNOTICED_LIMIT_S
    outcome.detail = f"{len(ways)} hangs, replaced after {longest_s:.0f} s at most, cases went on"
    return outcome


def _replaced(service: Service, role: str, victim: int) -> bool:
    found = service.pids(f"npc_contour.app {role}")
    return bool(found) and victim not in found


def ready(service: Service) -> bool:
    """Whether readiness says so; the TPS of all trials may be busy, which leaves it degraded."""
    return _status(service) in {"ready", "degraded"}


def not_ready(service: Service) -> bool:
    """Whether readiness says that nobody takes jobs."""
    return _status(service) == "not ready"


def _status(service: Service) -> str:
    try:
        url = f"http://127.0.0.1:{service.runtime['web_port']}/health/ready"
        return str(httpx.get(url, timeout=20, trust_env=False).json()["status"])
    except (httpx.HTTPError, OSError, ValueError):
        return ""
