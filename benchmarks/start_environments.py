"""Cases of odd environments: each runs the installed wheel as a user would, and looks around."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from start_bench import DEMO, Bench, Case, do
from start_machines import ROOT, RUN_S
from start_watch import SHARED_MEMORY, Ended, watched

ENDINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
ARRIVED = r"RTSTRUCT +.*out/tps/RS"
CLOSED = "http://127.0.0.1:9"
PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
NOBODY = (
    "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
    "--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search",
)  # fmt: skip
"""A user who may read everything (the installation may lie in root's home) and write nothing of others."""
DEMO_SH = '"$1" demo --slice-spacing 4 --out'
TWO_FOLDERS = f"{DEMO_SH} first-out & one=$!; {DEMO_SH} second-out; two=$?; wait $one && exit $two"
ONE_FOLDER = f"""
{DEMO_SH} out > first 2>&1 & one=$!
while [ ! -e out/.npc-contour-demo ] && kill -0 $one; do sleep 0.1; done
timeout 20 {DEMO_SH} out > second 2>&1; two=$?
wait $one || {{ cat first; exit 0; }}
cat second; exit $two
"""
"""The second demo's status and words; status 0, which no refusal has, when the first does not go on to its end."""
AGAIN = f"""
{DEMO_SH} out > first 2>&1 & one=$!
while ! grep -qs triton.started out/service.log && kill -0 $one; do sleep 0.2; done
kill -KILL $one; sleep 5; {DEMO_SH} out
"""


def environments() -> list[Case]:
    """Return every case, in the order in which they run."""
    return [
        Case("demo, spaces and umlauts in every path", "environment", _odd_folder, shows=r"démo drei/tps/RS"),
        Case("make demo and make clean in a checkout with spaces", "environment", _odd_checkout, shows=ARRIVED),
        _demo("a proxy for HTTP", [f"{name}={CLOSED}" for name in PROXIES]),
        _demo("a home that cannot be written", ["HOME=/proc"]),
        _demo("no home", ["--unset=HOME"]),
        _demo("installed by root, run by nobody", ["HOME=/nonexistent", *NOBODY], root=True),
        _demo("64 MB of /dev/shm", _with_tmpfs(str(SHARED_MEMORY), "size=64m"), refusal="shm has 64 MiB", root=True),
        _demo("a full disk", _with_tmpfs("$PWD", "size=300m"), refusal=r"\d MiB free at .* choose another", root=True),
        _demo("TMPDIR noexec", _with_tmpfs("$TMPDIR", "noexec,mode=1777"), root=True),
        _demo("TMPDIR of 1 MB", _with_tmpfs("$TMPDIR", "size=1m,mode=1777"), root=True),
        Case(
            "demo twice at once, one folder",
            "environment",
            _shell(ONE_FOLDER),
            "another demo is running",
            refused_within_s=RUN_S,
        ),
        Case("demo twice at once, two folders", "environment", _shell(TWO_FOLDERS), shows=r"RTSTRUCT +second-out/tps"),
        Case("demo again after SIGKILL", "environment", _shell(AGAIN), shows=ARRIVED),
        *(_killed(verb, how) for verb in ("demo", "segment", "serve") for how in ENDINGS),
    ]


def _demo(name: str, environment: Sequence[str], *, refusal: str = "", root: bool = False) -> Case:
    """Return the case of a demo that `env` starts with these words before it."""

    def run(bench: Bench) -> Ended:
        folder = _folder(bench, name)
        if root:
            folder.chmod(0o777)
        return watched(["env", *environment, bench.contour(), *DEMO, "out"], folder)

    return Case(f"demo, {name}", "environment", run, refusal, "" if refusal else ARRIVED, root=root)


def _with_tmpfs(where: str, options: str) -> list[str]:
    mount = f'mount -t tmpfs -o {options} tmpfs "{where}" && cd "$PWD" && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", mount, "sh"]


def _shell(script: str) -> Callable[[Bench], Ended]:
    return lambda bench: watched(["sh", "-c", script, "sh", bench.contour()], _folder(bench, str(hash(script))))


def _odd_folder(bench: Bench) -> Ended:
    temporary = bench.folder("temporär zwei")
    command = ["env", f"TMPDIR={temporary}", bench.contour(), *DEMO, "démo drei"]
    return watched(command, bench.folder("Prüfung eins"))


def _odd_checkout(bench: Bench) -> Ended:
    """Whether all works, and `make clean` leaves what git has, no more."""
    clone = bench.work / "mein Prüfstand & 'x'"
    do(["git", "clone", "-q", "--no-hardlinks", ROOT, clone])
    script = 'make demo && make clean && left=$(git status --porcelain --ignored) && echo "$left" && [ -z "$left" ]'
    ended = watched(["sh", "-c", script], clone)
    shutil.rmtree(clone)
    return ended


def _killed(verb: str, how: signal.Signals) -> Case:
    """Return the case of a command that is ended while its Triton runs: nothing of it goes on, nothing lies about."""

    def run(bench: Bench) -> Ended:
        contour = bench.contour()
        folder = _folder(bench, f"{verb}-{how.name}")
        if verb == "segment" and not (bench.work / "patient").is_dir():
            do([contour, "phantom", bench.work / "patient", "--slices", "60", "--matrix", "512"])
        if verb == "serve":
            site = "[storage]\nroot = 'data'\nmin_free_mb = 100\n[dicom]\nport = 0\n[web]\nport = 0\n"
            (folder / "site.toml").write_text(site, encoding="utf-8")
        more = {
            "demo": [*DEMO[1:], "out"],
            "segment": [bench.work / "patient", "--out", "out.dcm"],
            "serve": ["--config", "site.toml"],
        }[verb]
        ended = watched([contour, verb, *more], folder, kill=how)
        # Ended as it was asked to, unless it was not there any more; what it leaves is what is looked at.
        code = 0 if ended.killed else 1
        return Ended(code, ended.output, ended.seconds, ended.processes, ended.files)

    return Case(f"{verb}, {how.name} to it alone", "environment", run)


def _folder(bench: Bench, name: str) -> Path:
    return bench.folder("".join(letter if letter.isalnum() else "-" for letter in name))
