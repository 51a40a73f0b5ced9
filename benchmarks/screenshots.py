"""Pictures of the page: python screenshots.py [OUT] [--every] [--site DIR], behind `make screenshots`.

The service runs as a user would start it and contours synthetic patients that arrive by C-STORE, so that a picture
shows what the product shows. Beside the patient whose contours come back there are studies that wait, are refused or
need a person. With `--every`, all pages in both themes at two widths, for looking at; without it, the pictures of the
README. With `--site DIR` the data stays there, and a later call begins with it.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import pydicom
from PIL import Image
from playwright.sync_api import Browser, Page

from npc_contour.cli import local_run, phantom
from npc_contour.errors import AutocontourError
from npc_phantom import PhantomOptions
from npc_phantom.chest_patient import ChestOptions
from npc_phantom.mr import MrOptions
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.page import chromium

SITE = (
    local_run.SITE.replace("quiet_s = 5", "quiet_s = 5\nheld_after_s = 8")
    .replace("partner_wait_s = 60", "partner_wait_s = 86400")
    .replace("first_retry_s = 1", "first_retry_s = 60")
)
ALL_PIPELINES = '["npc_oar_gtv", "ln_ctv", "mediastinal_ln", "npc_mr_gtv"]'
ENDED = {"sent", "verified", "refused", "failed", "waiting", "ambiguous", "superseded"}
DONE = {"sent", "verified"}
DEADLINE_S = 420.0
STORY, REVIEW = "/cases/{npc_oar_gtv}", "/cases/{npc_oar_gtv}/review#88,255,262"
PAGES = {
    "work": "/work",
    "attention": "/work?group=attention",
    "held": "/held",
    "case": STORY,
    "case-nodes": "/cases/{mediastinal_ln}",
    "case-mr": "/cases/{npc_mr_gtv}",
    "case-ambiguous": "/cases/{ambiguous}",
    "case-refused": "/cases/{refused}",
    "review": REVIEW,
    "review-nodes": "/cases/{mediastinal_ln}/review",
    "review-mr": "/cases/{npc_mr_gtv}/review",
    "rules": "/rules",
    "settings": "/settings",
    "accounts": "/accounts",
    "login": "/login",
    "missing": "/cases/none",
}
"""Name of a picture → path; a name in braces is the case of that pipeline, or else in that state."""
README = {"worklist": "/work", "story": STORY, "review": REVIEW}


def main() -> None:
    """Fill a site unless it is filled, and take pictures of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", default=Path("docs/images"), help="default docs/images")
    parser.add_argument("--every", action="store_true", help="every page, dark and light, 1280 and 1920 wide")
    parser.add_argument("--only", default="", help="with --every: pages whose name contains one of these, by commas")
    parser.add_argument("--site", type=Path, help="keep the data here")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        root = args.site or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="npc-shots-")))
        filled = (root / "site.toml").exists()
        root.mkdir(parents=True, exist_ok=True)
        tps_port = stack.enter_context(local_run.planning_system(root / "tps"))
        site = SITE + local_run.destination_toml("tps", "TPS", tps_port)
        if args.every:
            site = site.replace("[routing]\n", f"[routing]\npipelines = {ALL_PIPELINES}\n")
            site += local_run.destination_toml("off", "OFF", 9)
        config = root / "site.toml"
        config.write_text(site, encoding="utf-8")
        running = stack.enter_context(local_run.service(config))
        if not filled:
            fill(root, running, every_kind=args.every)
        cases = wait(running)
        browser = stack.enter_context(chromium())
        url = f"http://127.0.0.1:{running.web_port}"
        if args.every:
            every(browser, url, cases, args.out, args.only)
        else:
            readme(browser, url, cases, args.out)


def fill(root: Path, running: local_run.Running, *, every_kind: bool) -> None:
    """Send one patient who is contoured in full, where asked a chest and an MR, and studies that need a person."""
    sent = root / "sent"
    plan = CtPlan(slices=70, rows=128, columns=128, pixel_spacing_mm=(2.0, 2.0), description="HEAD NECK 2.5 STD")

    def series(name: str, *plans: CtPlan, lacking: Sequence[int] = ()) -> None:
        for number, one in enumerate(plans):
            images = [image for index, image in enumerate(ct_datasets(one)) if index not in lacking]
            write_series(sent / name / str(number), images)
        local_run.send(sent / name, running.dicom_port)

    def study(name: str, **changed: object) -> CtPlan:
        return replace(plan, seed=name, study_seed=name, frame_seed=name, **changed)  # type: ignore[arg-type]

    series("alone", study("alone", contrast_agent="IOHEXOL 350", description="HEAD NECK + C"))
    series("lung", study("lung", description="CHEST LUNG B60", body_part="CHEST"))
    series("gap", study("gap", description="HEAD NECK 2.5 FC43"), lacking=(20, 21, 44))
    twice = study("twice", description="PLAIN 2.5 STD")
    series("twice", twice, replace(twice, seed="twice-again", description="PLAIN 2.5 STD REPEATED"))
    image = pydicom.dcmread(min((sent / "alone" / "0").iterdir()))
    image.PixelData = bytes(len(image.PixelData))
    (sent / "conflict").mkdir()
    image.save_as(sent / "conflict" / "one.dcm")
    try:
        local_run.send(sent / "conflict", running.dicom_port)
    except AutocontourError:
        print("a duplicate UID with different content was refused, as it should be")
    phantom.write(sent / "pair", 1, PhantomOptions(matrix=512, slice_spacing_mm=2.5, slices=150))
    local_run.send(sent / "pair", running.dicom_port)
    if every_kind:
        phantom.write_kind(sent / "chest", 2, ChestOptions(matrix=512, slice_spacing_mm=5.0, slices=None))
        phantom.write_kind(sent / "mr", 3, MrOptions(matrix=512, slice_spacing_mm=5.0, slices=None))
        for kind in ("chest", "mr"):
            local_run.send(sent / kind, running.dicom_port)


def wait(running: local_run.Running) -> dict[str, str]:
    """Wait until everything has come to rest; return a case for each pipeline that was sent, and for each state."""
    deadline_s, jobs = time.monotonic() + DEADLINE_S, list[dict[str, str]]()
    while time.monotonic() < deadline_s:
        jobs = running.get("/jobs?limit=100")
        series = running.get("/series?limit=100")
        if (
            any(job["pipeline"] == "npc_oar_gtv" and job["state"] in DONE for job in jobs)
            and {job["state"] for job in jobs} <= ENDED
            and all(row["state"] != "receiving" or row["reasons"] for row in series)
        ):
            break
        time.sleep(1)
    by_state = {job["state"]: job["case_id"] for job in jobs}
    return by_state | {job["pipeline"]: job["case_id"] for job in jobs if job["state"] in DONE}


def every(browser: Browser, url: str, cases: dict[str, str], out: Path, only: str) -> None:
    """Take a picture of each page in both themes at two widths."""
    for dark in (True, False):
        for width, height in ((1280, 800), (1920, 1080)):
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            page = context.new_page()
            for name, path in PAGES.items():
                try:
                    address = path.format(**cases)
                except KeyError as missing:
                    print(f"{name}: no case {missing}")
                    continue
                if any(part in name for part in only.split(",")):
                    open_page(page, url + address)
                    picture = out / f"{name}-{'dark' if dark else 'light'}-{width}.png"
                    page.screenshot(path=picture, full_page="review" not in name)
            context.close()


def readme(browser: Browser, url: str, cases: dict[str, str], out: Path) -> None:
    """Take the README's pictures, as WebP."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    page = context.new_page()
    for name, path in README.items():
        open_page(page, url + path.format(**cases))
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.save(out / f"{name}.webp", quality=82, method=6)
        print(f"{out / name}.webp: {(out / f'{name}.webp').stat().st_size / 1024:.0f} KB")
    context.close()


def open_page(page: Page, address: str) -> None:
    """Open a page and wait until it is drawn; in a review, choose nothing and show the contours."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function("() => !document.querySelector('.system .muted')")
    if "/review" in address:
        page.wait_for_function("() => window.contoursAt")
        page.wait_for_timeout(3000)
    page.wait_for_timeout(300)


if __name__ == "__main__":
    main()
