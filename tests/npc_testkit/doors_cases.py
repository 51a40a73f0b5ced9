"""Cases about the doors: a running service with accounts, asked over HTTP and by the command line as others would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from packaging.requirements import Requirement

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.adapters.triton.loopback import prefix_of
from npc_contour.adapters.triton.regions import SHARED_MEMORY
from npc_contour.application.accounts import MAX_REFUSED_FROM_PEER, MAX_REFUSED_OF_NAME
from npc_testkit.cases import Seen
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets
from npc_testkit.fault_site import ROOTS, Service
from npc_testkit.tiny_network import write_tiny_network
from npc_testkit.tiny_server import blocks, volume_of

PASSWORD = "seven small stones"  # noqa: S105
RELATED = 'multipart/related; type="application/dicom"; boundary=B'
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
HALF = (b"", b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-", b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: "
        b"application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nname=")  # fmt: skip


@dataclass
class Door:
    """A service that runs the page alone, and what was found wrong with it."""

    service: Service
    faults: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.service.runtime['web_port']}"

    def account(self, *arguments: str, stdin: str = PASSWORD) -> subprocess.CompletedProcess[str]:
        """Run `npc-contour account`."""
        command = [sys.executable, "-m", "npc_contour", "account", *arguments, "--config", str(self.service.config)]
        return subprocess.run(command, input=stdin + "\n", capture_output=True, text=True, check=False, timeout=120)

    def token(self, role: str) -> dict[str, str]:
        """The header of a new token."""
        return {"Authorization": f"Bearer {self.account('token', 'test', '--role', role).stdout.strip()}"}

    def must(self, what: str, holds: object) -> None:
        """Note what does not hold."""
        self.faults += [] if holds else [what]

    def expect(self, what: str, found: object, *wanted: object) -> None:
        """Note what is not as it must be."""
        if found not in wanted:
            self.faults.append(f"{what}: {found!r}, expected {' or '.join(map(repr, wanted))}")

    def login(self, name: str, password: str = PASSWORD, **headers: str) -> int:
        """Log in in a new browser; the status."""
        data = {"name": name, "password": password}
        return httpx.post(f"{self.url}/login", data=data, headers=headers, timeout=60).status_code

    def seen(self) -> Seen:
        """What was found, tracebacks in the log included."""
        log = (self.service.folder / "service.log").read_text(errors="replace")
        return Seen(tuple(self.faults), tracebacks=log.count("Traceback"))


@contextmanager
def door(work: Path) -> Iterator[Door]:
    """Run the page with accounts; `the-admin` and `the-viewer` have one."""
    config = work / "site.toml"
    config.write_text('[storage]\nroot = "data"\n[dicom]\nport = 0\n[web]\nport = 0\naccounts = "required"\n')
    opened = Door(Service(work, config, "web", ROOTS))
    opened.service.start()
    try:
        opened.service.wait_ready()
        opened.service.wait_page()
        for role in ("admin", "viewer"):
            opened.account("add", f"the-{role}", "--role", role)
        yield opened
    finally:
        opened.service.stop()


def stow_behind_proxy(_: Path, work: Path) -> Seen:
    """Images through a proxy on this machine need a token, whatever the proxy writes down."""
    image = as_bytes(ct_datasets(CtPlan(slices=1))[0])
    body = b"--B\r\nContent-Type: application/dicom\r\n\r\n" + image + b"\r\n--B--\r\n"
    with door(work) as opened:

        def post(headers: dict[str, str]) -> int:
            url = f"{opened.url}/dicom-web/studies"
            return httpx.post(url, content=body, headers={"Content-Type": RELATED} | headers, timeout=60).status_code

        for headers in ({}, {"Host": "contour.hospital.example"}, {"X-Forwarded-For": "10.9.9.9"},
                        {"X-Forwarded-For": "127.0.0.1, 10.9.9.9"}, {"X-Forwarded-For": "10.9.9.9, 127.0.0.1"},
                        {"Forwarded": "for=127.0.0.1"}):  # fmt: skip
            opened.expect(f"without a token, {headers}", post(headers), 401, 403)
        opened.expect("with a viewer's token", post(opened.token("viewer")), 403)
        opened.expect("with an operator's token", post(opened.token("operator") | {"X-Forwarded-For": "10.9.9.9"}), 200)
        return opened.seen()


def login_lockout(_: Path, work: Path) -> Seen:
    """Password guessing locks out neither others behind the same proxy nor, permanently, the account."""
    with door(work) as opened:
        for number in range(MAX_REFUSED_FROM_PEER + 1):
            opened.login(f"no-{number}", "x" * 12)
        opened.expect("the right password after wrong names", opened.login("the-admin"), 303)
        for _number in range(MAX_REFUSED_OF_NAME):
            opened.login("the-admin", "x" * 12)
        opened.expect("after wrong passwords from the same place", opened.login("the-admin"), 429)
        opened.expect("unlock", opened.account("unlock", "the-admin").returncode, 0)
        opened.expect("after that", opened.login("the-admin"), 303)
        return opened.seen()


def idle_connections(_: Path, work: Path) -> Seen:
    """1100 half-sent requests of each kind, and health, page and REST go on."""
    with door(work) as opened, ExitStack() as stack:
        place = urlsplit(opened.url)
        viewer = opened.token("viewer")
        for half in HALF:
            for _number in range(1100):
                connection = socket.create_connection((place.hostname or "", place.port or 0), timeout=20)
                stack.enter_context(connection).sendall(half)
            for path in ("/health/live", "/jobs", "/work"):
                found = httpx.get(opened.url + path, headers=viewer, timeout=20).status_code
                opened.expect(f"{path} beside {half[:20]!r}", found, 200)
        log = (opened.service.folder / "service.log").stat().st_size
        opened.must(f"a log of less than 200 kB, not {log} bytes", log < 200_000)
        return opened.seen()


def odd_headers(_: Path, work: Path) -> Seen:
    """What nobody sends is answered 400 or another refusal, never 5xx, and leaves no traceback."""
    odd = (
        b"GET /health/live HTTP/1.1\r\nHost: [", b"GET /jobs HTTP/1.1\r\nHost: \xff\xfe",
        b"POST /login HTTP/1.1\r\nHost: x\r\nOrigin: http://[\r\nContent-Length: 0",
        b"GET /work?text=%00 HTTP/1.1\r\nHost: x", b"GET /jobs/%00 HTTP/1.1\r\nHost: x",
        b"GET /work HTTP/1.1\r\nHost: x\r\nCookie: npc_session=\xff\xfe; a=b",
        b"GET /jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer npc_\xff",
    )  # fmt: skip
    with door(work) as opened, httpx.Client(base_url=opened.url, timeout=60) as client:
        place = urlsplit(opened.url)
        for lines in odd:
            with socket.create_connection((place.hostname or "", place.port or 0), timeout=20) as connection:
                connection.sendall(lines + b"\r\nConnection: close\r\n\r\n")
                status = int(connection.recv(65536).split(b" ", 2)[1])
            opened.must(f"{lines[:40]!r} is answered {status}", status < 500)
        client.post("/login", data={"name": "the-admin", "password": PASSWORD})
        wrong = client.post("/accounts/tokens", headers=[(b"x-csrf-token", b"\xe9\xe9")])
        opened.expect("a secret of the page with odd bytes", wrong.status_code, 400, 403)
        opened.expect("a name with a zero byte", opened.login("a\0b", "x"), 400)
        admin = opened.token("admin")
        label = client.post("/accounts/tokens", data={"label": "a\0b", "role": "viewer"}, headers=admin)
        opened.expect("a label with a zero byte", label.status_code, 400)
        return opened.seen()


def accounts_overwrite(_: Path, work: Path) -> Seen:
    """An account is not written over, the last admin stays, and every change has a line in the audit trail."""
    with door(work) as opened:
        admin = opened.token("admin")
        form = {"name": "the-viewer", "password": "nine round pebbles", "role": "operator"}
        opened.expect("add over", httpx.post(f"{opened.url}/accounts", data=form, headers=admin).status_code, 409)
        role = {"name": "the-admin", "role": "viewer"}
        opened.expect("role", httpx.post(f"{opened.url}/accounts/role", data=role, headers=admin).status_code, 409)
        for command in (("role", "the-admin", "--role", "viewer"), ("disable", "the-admin"), ("add", "the-viewer")):
            opened.expect(" ".join(command), opened.account(*command).returncode, 1, 2)
        opened.expect("her password", opened.login("the-viewer"), 303)
        opened.account("disable", "the-viewer")
        lines = opened.service.query("SELECT action, what FROM web_audit WHERE peer = 'command line'")
        told = {(line["action"], line["what"]) for line in lines}
        for line in (("account.add", "the-admin: admin"), ("account.disable", "the-viewer")):
            opened.must(f"the audit trail has {line}", line in told)
        return opened.seen()


def link_and_login(_: Path, work: Path) -> Seen:
    """A link keeps its query over the login, and a browser sends the session along with it."""
    with door(work) as opened, httpx.Client(base_url=opened.url, timeout=60) as client:
        asked = client.get("/work?group=attention&text=abc", headers={"Accept": "text/html"})
        where = "/login?next=/work%3Fgroup%3Dattention%26text%3Dabc"
        opened.expect("the way to the login", asked.headers.get("location"), where)
        form = {"name": "the-viewer", "password": PASSWORD, "after": "/work?group=attention&text=abc#1,2,3"}
        inside = client.post("/login", data=form)
        opened.expect("the way back", inside.headers.get("location"), form["after"])
        cookies = " ".join(inside.headers.get_list("set-cookie")).lower()
        opened.must("the session follows a link", "samesite=lax" in cookies and "httponly" in cookies)
        return opened.seen()


def docs_page(_: Path, work: Path) -> Seen:
    """The description of REST has its style from a file, and a browser is refused in a page."""
    with door(work) as opened, httpx.Client(base_url=opened.url, headers=opened.token("viewer")) as client:
        docs = client.get("/docs")
        opened.must("no style inside the page", "<style" not in docs.text)
        opened.expect("its style", client.get("/docs.css").headers["content-type"].split(";")[0], "text/css")
        for path, status in (("/accounts", 403), ("/work?group=bogus", 422)):
            answer = client.get(path, headers={"Accept": "text/html"})
            found = answer.status_code, answer.headers["content-type"].split(";")[0]
            opened.expect(path, found, (status, "text/html"))
        return opened.seen()


def triton_doors(_: Path, work: Path) -> Seen:
    """The embedded Triton has no HTTP, and what it shares in memory has no name that others could open."""
    contract = write_tiny_network(work / "repository")
    faults: list[str] = []
    regions = f"{prefix_of(os.getpid())}*"  # others of this machine may run a Triton, too
    with EmbeddedTriton(work / "repository", work / "work") as server, TritonEngine(server.urls.grpc) as engine:
        volume = volume_of(blocks((8, 40, 40)))
        engine.segment(contract, [volume])
        base = server.urls.metrics.removesuffix("/metrics")
        for path in ("/v2/repository/index", "/v2/repository/models/tiny/unload"):
            status = httpx.post(base + path, json={}, timeout=10).status_code
            faults += [f"{path} is answered {status}"] if status == 200 else []
        named = {path.name for path in SHARED_MEMORY.glob(regions)}
        faults += [f"shared memory has names: {sorted(named)}"] if named else []
    return Seen(tuple(faults))


def lowest_fastapi(_: Path, __: Path) -> Seen:
    """The declared range does not begin with a FastAPI that lacks what the code passes to it."""
    wanted = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    fastapi = next(one for one in map(Requirement, wanted) if one.name == "fastapi")
    return Seen(("fastapi 0.115.12 is in the range",) if "0.115.12" in fastapi.specifier else ())
