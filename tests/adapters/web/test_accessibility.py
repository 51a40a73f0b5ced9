"""Every page can be used by everybody: axe-core finds nothing in either theme, and each action works by keyboard alone.

axe-core computes the contrast of every text on its ground, and looks at names, roles, landmarks and focus order.
"""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from npc_contour.domain.accounts import AccessRole
from npc_contour.domain.jobs import CaseState
from npc_contour.settings import Settings, Web
from npc_testkit.page import World, a_page

PASSWORD = "seven small stones"  # noqa: S105


def complaints(page: Page) -> list[str]:
    """What axe-core says of the page as it is now: rule, what to look at."""
    found = Axe().run(page).response["violations"]
    return [
        f"{page.url}: {rule['id']}: {node['html'][:160]}: {node['failureSummary'][:200]}"
        for rule in found
        for node in rule["nodes"]
    ]


def tab_to(page: Page, name: str, limit: int = 60) -> None:
    """Press Tab until the control of this name has the focus, as somebody without a mouse does."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => (document.activeElement.ariaLabel || document.activeElement.innerText || '').trim()"
        )
        if focused == name:
            return
    pytest.fail(f"Tab does not come to {name!r}")


@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(world: World, browser: Browser, *, dark: bool) -> None:
    sent = world.add_case(seed="sent")
    failed = world.add_case(seed="failed", state=CaseState.FAILED, reason="Triton is gone")
    world.add_held("held")
    world.add_other_bytes("sent")
    world.accounts.add("ann", AccessRole.ADMIN, PASSWORD)
    cases = (f"cases/{sent}", f"cases/{failed}", f"cases/{sent}/review", "cases/none")
    paths = (*cases, "work", "held", "rules", "settings", "accounts", "account", "login")

    with world.served() as url, a_page(browser, dark=dark, may_fail=True) as page:
        found = []
        for path in paths:
            page.goto(f"{url}/{path}")
            page.wait_for_load_state("networkidle") if path in {"rules", "settings"} else page.wait_for_timeout(400)
            found += complaints(page)
        page.goto(f"{url}/cases/{failed}")
        page.get_by_role("button", name="Retry").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        found += complaints(page)
        page.goto(f"{url}/cases/{sent}/review")
        page.wait_for_function("() => window.contoursAt")
        page.keyboard.press("?")
        found += complaints(page)

    assert not found, "\n".join(found)


def test_case_is_retried_by_keyboard_alone(world: World, browser: Browser) -> None:
    case_id = world.add_case(state=CaseState.FAILED, reason="Triton is gone")

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/work")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{url}/cases/{case_id}")
        tab_to(page, "Retry")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("button", name="Retry")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.type("Triton is back")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_contain_text("Segmenting")
        expect(page.locator(".timeline")).to_contain_text("Triton is back")


def test_login_and_logout_by_keyboard_alone(world: World, browser: Browser) -> None:
    world.settings = Settings(web=Web(accounts="required"))
    world.accounts.add("ann", AccessRole.ADMIN, PASSWORD)

    with world.served() as url, a_page(browser) as page:
        page.goto(url)
        page.keyboard.type("ann")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Work list")
        tab_to(page, "Log out")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{url}/login")


def test_nothing_moves_for_who_asks_for_less_motion(world: World, browser: Browser) -> None:
    world.add_case(state=CaseState.ROUTED)

    with world.served() as url, a_page(browser) as page:
        page.emulate_media(reduced_motion="reduce")
        page.goto(f"{url}/work")
        turning = page.locator(".badge.work .icon")
        expect(turning).to_be_visible()
        assert turning.evaluate("icon => getComputedStyle(icon).animationName") == "none"
        page.emulate_media(reduced_motion="no-preference")
        assert turning.evaluate("icon => getComputedStyle(icon).animationName") == "turn"
