"""Cases about the page that only a browser can show: tabs, a phone's width, the review of contours."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from npc_contour.domain.jobs import CaseState
from npc_testkit.cases import Seen
from npc_testkit.page import CYLINDER, chromium
from npc_testkit.page_cases import looking

WIDTH = 390
TABS = 10


def seven_tabs(_: Path, work: Path) -> Seen:
    """Ten tabs load, and each hears that a case has come."""
    with looking(work) as look, look.world.served() as url, chromium() as browser:
        context = browser.new_context()
        tabs = [context.new_page() for _ in range(TABS)]
        for tab in tabs:
            tab.goto(f"{url}/work", wait_until="commit")
            expect(tab.locator("#work")).to_be_visible(timeout=15_000)
        look.world.add_case(state=CaseState.FAILED, reason="the network did not answer")
        for tab in tabs:
            expect(tab.locator("#work")).to_contain_text("the network did not answer", timeout=20_000)
        return look.seen()


def mobile_overflow(_: Path, work: Path) -> Seen:
    """No page is wider than a phone, and all of the head is on the screen."""
    with looking(work) as look:
        case_id = look.world.add_case(measured=True)
        look.world.add_held("gap")
        with look.world.served() as url, chromium() as browser:
            page = browser.new_context(viewport={"width": WIDTH, "height": 844}).new_page()
            for path in (
                "work",
                f"cases/{case_id}",
                f"cases/{case_id}/review",
                "held",
                "settings",
                "rules",
                "accounts",
            ):
                page.goto(f"{url}/{path}")
                look.expect(f"width of {path}", page.evaluate("document.documentElement.scrollWidth"), WIDTH)
                box = page.locator("[data-theme-toggle]").bounding_box()
                look.must(f"{path}: the head ends off the screen", box and box["x"] + box["width"] <= WIDTH)
        return look.seen()


def review_viewer(_: Path, work: Path) -> Seen:
    """The viewer keeps its size, place and slice while pointer, keys and wheel are used; the patient where allowed."""
    with looking(work) as look:
        look.world.settings = look.world.settings.model_copy(
            update={"web": look.world.settings.web.model_copy(update={"show_patient": True})}
        )
        case_id = look.world.add_case()
        with look.world.served() as url, chromium() as browser:
            page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
            page.goto(f"{url}/cases/{case_id}/review")
            expect(page.locator("#set-info")).to_contain_text("found", timeout=30_000)
            look.must("no patient", "TK0001" in page.locator(".rois-panel").inner_text())
            view = page.locator(".view.main")
            box = view.bounding_box()
            if box is None:
                raise AssertionError("no view is shown")
            x, y = box["x"] + box["width"] / 2 + 50, box["y"] + box["height"] / 2 + 30
            page.mouse.move(x, y)
            look.expect("size after the pointer has moved", view.bounding_box(), box)
            look.must("the ROI under the pointer is not named", CYLINDER in _readout(page))
            page.keyboard.press("Home")
            expect(view.locator(".place")).to_contain_text("1 / 12 ")
            look.must(f"the readout is of another slice: {_readout(page)}", "z 100.0" in _readout(page))
            before = _place(page)
            page.keyboard.down("Control")
            page.mouse.wheel(0, -300)
            page.keyboard.up("Control")
            page.wait_for_timeout(300)
            off = max(abs(a - b) for a, b in zip(before, _place(page), strict=True))
            look.must(f"the point under the pointer has moved by {off:g} mm", off <= 1.0)
            knob = view.locator(".scroll").evaluate("(one) => getComputedStyle(one).direction")
            look.expect("direction of the slider", knob, "rtl")
            page.locator("#windows button").last.click()
            page.keyboard.press("2")
            expect(page.locator(".view.main figcaption")).to_contain_text("Coronal")
            ink = page.locator(".view[data-axis=axial] canvas.image").evaluate(
                "(one) => { const d = one.getContext('2d').getImageData(0, 0, one.width, one.height).data;"
                " let n = 0; for (let i = 0; i < d.length; i += 4) n += d[i] > 0; return n / (d.length / 4); }"
            )
            look.must(f"the small axial view shows an image on {ink:.0%} of it", ink > 0.3)
        return look.seen()


def _readout(page: Page) -> str:
    return page.locator("#probe").inner_text()


def _place(page: Page) -> list[float]:
    return [float(value) for value in re.findall(r"[xyz] (-?[0-9.]+)", _readout(page))]
