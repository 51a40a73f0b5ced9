"""A trial of a service behind a reverse proxy that names its clients, drops what is idle, and is abused by one of them.

Each client has an address of its own in 127.0.0.0/8; the service sees the proxy alone and what it writes down.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, suppress
from socket import create_connection

import httpx

from npc_contour.adapters.api.uploads import LIMITS
from npc_contour.application.accounts import MAX_REFUSED_FROM_PEER
from npc_testkit.fault_lab import Lab, Outcome, audit, started, wait_verified
from npc_testkit.fault_site import Service, Study, wait_for
from npc_testkit.reverse_proxy import reverse_proxy

PASSWORD = "seven small stones"  # noqa: S105
IDLE_S = 8.0
SCANNER, STRANGER, GUESSER, ADMIN, OPERATOR = (f"127.0.0.{number}" for number in range(11, 16))
WEB = f"""\
accounts = "required"
trusted_proxies = ["127.0.0.1/32"]
stow_networks = ["{SCANNER}/32"]
"""
STOW = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=B'}
HALF = (
    b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\nContent-Type: "
    + STOW["Content-Type"].encode()
    + b"\r\n\r\n--B\r\n\r\nDICM"
)


def proxy(lab: Lab, short: bool) -> Outcome:  # noqa: FBT001 - as every trial
    """Post, log in and look through a proxy while others guess, post without leave and leave uploads half sent."""
    outcome = Outcome("behind a reverse proxy")
    studies = lab.studies("proxy", 2 if short else 6)
    service = lab.service("proxy")
    service.config.write_text(service.config.read_text().replace("[web]\n", f"[web]\n{WEB}"), encoding="utf-8")
    faults: list[str] = []
    wrong: list[str] = []
    with ExitStack() as running:
        running.enter_context(started(service)).wait_page()
        _account(service, "add", "the-admin", "--role", "admin")
        token = {"Authorization": f"Bearer {_account(service, 'token', 'test', '--role', 'operator')}"}
        port, gate = running.enter_context(reverse_proxy(service.runtime["web_port"], IDLE_S))
        clients = {
            address: running.enter_context(
                httpx.Client(
                    base_url=f"http://127.0.0.1:{port}",
                    transport=httpx.HTTPTransport(local_address=address),
                    timeout=120,
                )
            )
            for address in (SCANNER, STRANGER, GUESSER, ADMIN, OPERATOR)
        }
        message = _message(studies[0])
        wrong += _without_leave(clients[STRANGER], message)
        guesses = [_login(clients[GUESSER], "x" * 12) for _ in range(MAX_REFUSED_FROM_PEER + 1)]
        faults += [] if guesses[-1] == 429 else [f"guessing is answered {guesses[-1]} in the end"]
        found = _login(clients[ADMIN], PASSWORD)
        faults += [] if found == 303 else [f"the admin's login beside it is answered {found}"]
        for _ in range(LIMITS.most_of_sender + 4):
            half = create_connection(("127.0.0.1", port), source_address=(SCANNER, 0))
            running.enter_context(half).sendall(HALF)
        found = clients[OPERATOR].post("/dicom-web/studies", content=message, headers=STOW | token).status_code
        faults += [] if found == 200 else [f"an upload beside half-sent ones is answered {found}"]
        with clients[ADMIN].stream("GET", "/live") as stream:  # and leaves it in the middle
            faults += [] if next(stream.iter_bytes()) else ["the live page says nothing"]
        found = clients[ADMIN].get("/work").status_code
        faults += [] if found == 200 else [f"the page after a stream that was left is answered {found}"]
        wait_for(lambda: gate.dropped >= LIMITS.most_of_sender // 2, "the proxy's end of what is idle", 60)
        for study in studies[1:]:
            found = clients[SCANNER].post("/dicom-web/studies", content=_message(study), headers=STOW).status_code
            faults += [] if found == 200 else [f"the scanner's upload is answered {found}"]
        wait_verified(service, len(studies), 300)
        audit(lab, service, studies, [], outcome)
        lines = service.query("SELECT action, peer FROM web_audit WHERE peer <> 'command line'")
        brought = service.query("SELECT DISTINCT peer FROM association WHERE receiver = 'stow'")
    named, known = {line["peer"] for line in lines}, {GUESSER, ADMIN, OPERATOR}
    wrong += [f"the audit trail names {sorted(named)}"] if not lines or not named <= known | {STRANGER, SCANNER} else []
    wrong += [f"images came from {brought}"] if {row["peer"] for row in brought} != {SCANNER, OPERATOR} else []
    outcome.more["silent_wrong"] = len(wrong)
    outcome.held = outcome.held and not wrong and not faults
    outcome.detail = "; ".join((*wrong, *faults)) or (
        f"{len(guesses)} guesses kept out the guesser alone, {gate.dropped} idle connections were dropped,"
        f" {len(lines)} lines of the audit trail name who asked"
    )
    return outcome


def _without_leave(stranger: httpx.Client, message: bytes) -> list[str]:
    """Post images from an address that may not, which claims to be one that may; what was wrong with the answers.

    The answer may come before all was sent, and the connection end with it: then there is none to be read.
    """
    tried: tuple[dict[str, str], ...] = ({}, {"X-Forwarded-For": SCANNER}, {"X-Forwarded-For": f"{SCANNER}, 127.0.0.1"})
    found = []
    for more in tried:
        with suppress(httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
            found.append(stranger.post("/dicom-web/studies", content=message, headers=STOW | more).status_code)
    return [f"images without leave are answered {status}" for status in found if status not in {401, 403, 413}]


def _account(service: Service, *arguments: str) -> str:
    command = [sys.executable, "-m", "npc_contour", "account", *arguments, "--config", str(service.config)]
    done = subprocess.run(command, input=PASSWORD + "\n", capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def _login(client: httpx.Client, password: str) -> int:
    answer = client.post("/login", data={"name": "the-admin", "password": password})
    # The session is for HTTPS alone, which the proxy says it speaks; this client speaks HTTP to it.
    if cookies := [value.partition(";")[0] for value in answer.headers.get_list("set-cookie")]:
        client.headers["Cookie"] = "; ".join(cookies)
    return answer.status_code


def _message(study: Study) -> bytes:
    parts = (b"--B\r\nContent-Type: application/dicom\r\n\r\n" + path.read_bytes() for path in study.all_files)
    return b"\r\n".join((*parts, b"--B--\r\n"))
