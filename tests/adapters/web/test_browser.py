"""What people see and do on the page works in a real browser, in both themes, with the keyboard alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from npc_contour.core.drift import Baseline
from npc_contour.domain.accounts import AccessRole
from npc_contour.domain.findings import Finding, FindingCode, Severity
from npc_contour.domain.jobs import CaseState
from npc_contour.domain.statistics import Measure, SeriesKey
from npc_contour.logs import Event
from npc_contour.settings import Settings, Web
from npc_contour.settings.delivery import DicomDestination
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.page import ABSENT, CYLINDER, World, a_page, showing_patients

NAMELESS = """() => [...document.querySelectorAll('a,button,input,select,summary,[role=listbox]')]
  .filter(e => e.checkVisibility() && !(e.innerText || '').trim() && !e.getAttribute('aria-label')
          && !e.title && !(e.labels && e.labels.length)).map(e => e.outerHTML)"""
PIXEL = """(axis) => { const c = document.querySelector(`.view[data-axis=${axis}] canvas.image`);
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
  for (let i = 0; i < d.length; i += 4) n += d[i] > 0; return n; }"""
INK = """(axis) => { const c = document.querySelector(`.view[data-axis=${axis}] canvas.ink`);
  const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
  for (let i = 0; i < d.length; i += 4) n += Math.abs(d[i] - 200) < 6 && Math.abs(d[i + 1] - 80) < 6; return n; }"""


def open_review(page: Page, url: str, case_id: str) -> None:
    page.goto(f"{url}/cases/{case_id}/review")
    expect(page.locator("#set-info")).to_have_text("unapproved · 1 of 2 found")


def test_work_list_is_filtered_and_leads_to_the_case(world: World, browser: Browser) -> None:
    sent = world.add_case(seed="one", description="HEAD NECK PLAIN")
    world.add_case(seed="two", state=CaseState.REFUSED, reason="gap of 6 mm", description="头颈 CT")

    with world.served() as url, a_page(browser) as page:
        page.goto(url)
        expect(page.locator("tbody tr")).to_have_count(2)
        page.get_by_role("button", name="Needs attention").click()
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody tr")).to_contain_text("gap of 6 mm")
        page.get_by_role("button", name="All").click()
        page.keyboard.press("/")
        page.keyboard.type("neck pl")
        expect(page.locator("tbody tr")).to_have_count(1)
        page.keyboard.press("Escape")
        page.get_by_role("link", name="HEAD NECK PLAIN").click()
        expect(page).to_have_url(f"{url}/cases/{sent}")


def test_work_list_moves_by_itself(world: World, browser: Browser) -> None:
    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/work")
        expect(page.get_by_text("No study yet")).to_be_visible()
        page.wait_for_timeout(1500)  # until the stream has told where it begins
        case_id = world.add_case(state=CaseState.ROUTED)
        expect(page.locator(f"#row-{case_id}")).to_contain_text("Segmenting")


def test_case_shows_its_timeline_and_hears_of_news(world: World, browser: Browser) -> None:
    case_id = world.add_case()

    with world.served() as url, a_page(browser, dark=True) as page:
        page.goto(f"{url}/cases/{case_id}")
        for text in ("planning_ct: the only CT", "CT_SCANNER", "demo-1", "generic", f"not found: {ABSENT}"):
            expect(page.locator("#case")).to_contain_text(text)
        page.wait_for_timeout(1500)
        world.tell(case_id, Event.DELIVERY_RETRY, "the peer answered 0xA700")
        expect(page.locator(".timeline")).to_contain_text("0xA700")


def act(page: Page, button: str, reason: str) -> None:
    page.get_by_role("button", name=button, exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=button, exact=True).click()


def test_failed_case_is_begun_again_after_a_question(world: World, browser: Browser) -> None:
    case_id = world.add_case(state=CaseState.FAILED, reason="Triton is gone")

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/cases/{case_id}")
        page.get_by_role("button", name="Retry").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        expect(page.locator("h1")).to_contain_text("Failed")
        act(page, "Retry", "Triton is back")
        expect(page.locator("h1")).to_contain_text("Segmenting")
        expect(page.locator(".timeline")).to_contain_text("Triton is back")

    assert any(line.action == "POST" and line.what.endswith("/retry") for line in world.accounts.store.audit(5))


def test_case_is_held_released_and_cancelled(world: World, browser: Browser) -> None:
    case_id = world.add_case(state=CaseState.ROUTED)

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/cases/{case_id}")
        act(page, "Hold", "wrong patient?")
        expect(page.locator("#case")).to_contain_text("held by local: wrong patient?")
        act(page, "Release", "")
        expect(page.get_by_role("button", name="Hold", exact=True)).to_be_visible()
        page.get_by_role("button", name="Cancel", exact=True).first.click()
        page.get_by_role("dialog").locator("#ask-yes").click()
        expect(page.locator("h1")).to_contain_text("Cancelled")


def test_structure_set_is_sent_again(world: World, browser: Browser) -> None:
    world.settings = Settings(destinations=(DicomDestination(name="tps", ae_title="TPS", host="127.0.0.1", port=104),))
    case_id = world.add_case()

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/cases/{case_id}")
        act(page, "Resend", "TPS was restored from a backup")
        expect(page.locator("#case")).to_contain_text("Queued")


def test_viewer_sees_no_way_to_act(world: World, browser: Browser) -> None:
    world.settings = Settings(web=Web(accounts="required"))
    world.accounts.add("vera", AccessRole.VIEWER, "seven small stones")
    case_id = world.add_case(state=CaseState.FAILED, reason="Triton is gone")

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/cases/{case_id}")
        page.get_by_label("Name").fill("vera")
        page.get_by_label("Password").fill("seven small stones")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{url}/cases/{case_id}")
        expect(page.locator("#case")).to_contain_text("Triton is gone")
        expect(page.locator("[data-action]")).to_have_count(0)


def test_review_draws_the_files_own_points_in_all_planes(world: World, browser: Browser) -> None:
    case_id = world.add_case()

    with world.served() as url, a_page(browser) as page:
        open_review(page, url, case_id)
        page.get_by_role("button", name="Lung").click()
        page.wait_for_function(f"() => ({PIXEL})('sagittal') > 0")
        for axis in ("axial", "coronal", "sagittal"):
            assert page.evaluate(PIXEL, axis) > 1000
            assert page.evaluate(INK, axis) > 100
        page.keyboard.press("Home")
        expect(page.locator(".view.main .place")).to_contain_text("1 / 12")
        assert page.evaluate(INK, "axial") == 0, "the cylinder begins on slice 4"


def test_review_by_keyboard_alone(world: World, browser: Browser) -> None:
    case_id = world.add_case()
    place = ".view.main .place"

    with world.served() as url, a_page(browser) as page:
        open_review(page, url, case_id)
        expect(page.locator(place)).to_contain_text("7 / 12")
        page.keyboard.press("ArrowUp")
        expect(page.locator(place)).to_contain_text("8 / 12")
        page.keyboard.press("n")
        expect(page.locator("[aria-selected=true]")).to_contain_text(CYLINDER)
        page.keyboard.press("w")
        expect(page.locator("#window-now")).to_have_text("L 40  W 100")
        page.keyboard.press("2")
        expect(page.locator(".view.main figcaption")).to_contain_text("Coronal")
        page.keyboard.down("h")
        assert page.evaluate(INK, "coronal") == 0
        page.keyboard.up("h")
        assert page.evaluate(INK, "coronal") > 100
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("b")
        expect(page).to_have_url(f"{url}/cases/{case_id}")


def test_review_lists_volumes_and_what_was_not_found(world: World, browser: Browser) -> None:
    case_id = world.add_case()

    with world.served() as url, a_page(browser) as page:
        open_review(page, url, case_id)
        rows = page.get_by_role("option")
        expect(rows.filter(has_text=CYLINDER)).to_contain_text("cc")
        expect(rows.filter(has_text=ABSENT)).to_contain_text("not found")
        rows.filter(has_text=CYLINDER).locator(".eye").click()
        assert page.evaluate(INK, "axial") == 0


def test_review_keeps_size_place_and_slice(world: World, browser: Browser) -> None:
    case_id = world.add_case()

    with world.served() as url, a_page(browser) as page:
        open_review(page, url, case_id)
        view, probe = page.locator(".view.main"), page.locator("#probe")
        box = view.bounding_box()
        assert box is not None
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        expect(probe).to_contain_text(CYLINDER)
        expect(probe).to_contain_text("HU")
        assert view.bounding_box() == box, "the readout moves the image"

        before = probe.inner_text()
        page.keyboard.press("Home")
        expect(probe).not_to_have_text(before)
        expect(probe).not_to_contain_text(CYLINDER)
        slider = view.locator(".scroll")
        assert slider.evaluate("(one) => getComputedStyle(one).direction") == "rtl", "up is towards the head"

        page.keyboard.press("End")
        expect(view.locator(".place")).to_contain_text("12 / 12")
        page.mouse.move(middle[0] + 60, middle[1] + 40)
        before = probe.inner_text()
        page.keyboard.down("Control")
        page.mouse.wheel(0, -200)
        page.keyboard.up("Control")
        page.mouse.move(middle[0] + 61, middle[1] + 40)
        page.mouse.move(middle[0] + 60, middle[1] + 40)
        places = [re.findall(r"[xyz] (-?[0-9.]+)", text) for text in (before, probe.inner_text())]
        assert all(abs(float(a) - float(b)) <= 1.0 for a, b in zip(*places, strict=True)), places


def test_review_opens_at_the_worst_finding(world: World, browser: Browser) -> None:
    told = "Brainstem: 2.9 cc, usual are 15 to 40"
    case_id = world.add_case(findings=[Finding(FindingCode.VOLUME, Severity.CHECK, CYLINDER, told)])

    with world.served() as url, a_page(browser) as page:
        open_review(page, url, case_id)
        expect(page.locator("#flags summary")).to_have_text("1 finding, 1 note")
        expect(page.locator("[aria-selected=true]")).to_contain_text(CYLINDER)
        page.keyboard.press("Home")
        page.get_by_role("button", name="usual are 15 to 40").click()
        expect(page.locator(".view.main .place")).not_to_contain_text("1 / 12 ")
        with page.expect_download() as download:
            page.get_by_role("link", name="RTSTRUCT").click()
        assert Path(download.value.path()).read_bytes()[128:132] == b"DICM"


def test_a_case_held_for_its_findings_is_released_once_each_was_opened(world: World, browser: Browser) -> None:
    side = Finding(FindingCode.SIDE, Severity.STOP, CYLINDER, "Brainstem: lies on the wrong side", z_mm=110.0)
    volume = Finding(FindingCode.VOLUME, Severity.CHECK, CYLINDER, "Brainstem: 2.9 cc, usual are 15 to 40")
    case_id = world.add_case(findings=[side, volume], held_for=["side"])

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/work")
        page.get_by_role("button", name="Needs attention").click()
        expect(page.locator("tbody tr")).to_contain_text("Held")
        page.goto(f"{url}/cases/{case_id}")
        expect(page.locator(".findings li").first).to_contain_text("lies on the wrong side")
        release = page.get_by_role("button", name="Release", exact=True)
        expect(release).to_be_disabled()
        expect(page.locator("#findings-left")).to_contain_text("1 left")

        page.get_by_role("link", name="lies on the wrong side").click()
        expect(page.locator(".view.main .place")).to_contain_text("5 / 12")
        expect(page.locator("[aria-selected=true]")).to_contain_text(CYLINDER)
        page.keyboard.press("b")
        expect(release).to_be_enabled()
        act(page, "Release", "seen, it is the marker of the phantom")
        expect(page.locator("h1")).not_to_contain_text("Held")
        expect(page.locator(".timeline")).to_contain_text("marker of the phantom; findings seen: side")


def test_a_shift_of_the_site_stands_first_until_it_is_taken_as_usual(world: World, browser: Browser) -> None:
    key = SeriesKey(Measure.VOLUME, CYLINDER, "ln_ctv", "demo-1")
    now = datetime.now(UTC)
    with world.store.transaction() as tx:
        for number in range(30):
            scan = {"scanner": "ACME One", "kernel": "Hr40f"}
            tx.add_observation(key, 26.0 + number / 10, images=str(number), at=now, **scan)
        tx.put_baseline(key, Baseline(), 1.1, "Brainstem of ln_ctv demo-1: volumes have gone up", now)

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/statistics")
        expect(page.locator(".banner").first).to_contain_text("volumes have gone up")
        page.get_by_role("link", name="By scanner and kernel").click()
        expect(page.locator("#scanners tbody tr")).to_contain_text("ACME One")
        page.get_by_role("button", name="Accept as usual").click()
        page.get_by_role("dialog").get_by_label("Reason").fill("new network")
        page.get_by_role("dialog").get_by_role("button", name="Accept").click()
        expect(page.get_by_text("Nothing yet")).to_be_visible()


@pytest.mark.parametrize(
    "path", ["work", "cases/{case}", "held", "statistics", "settings", "rules", "cases/{case}/review"]
)
def test_no_page_is_wider_than_a_phone(world: World, browser: Browser, path: str) -> None:
    case_id = world.add_case(measured=True)
    world.add_held("gap")

    with world.served() as url, a_page(browser) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(f"{url}/{path.format(case=case_id)}")
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_every_tab_loads_and_hears_over_one_stream(world: World, browser: Browser) -> None:
    with world.served() as url, a_page(browser) as first:
        first.goto(f"{url}/work")
        tabs = [first, *(first.context.new_page() for _ in range(8))]
        for tab in tabs[1:]:
            tab.goto(f"{url}/work", wait_until="commit")
            expect(tab.locator("#work")).to_be_visible()
        world.add_case(state=CaseState.FAILED, reason="the network did not answer")
        for tab in tabs:
            expect(tab.locator("#work")).to_contain_text("the network did not answer", timeout=20_000)


def test_rules_say_which_series_they_take_and_why(world: World, browser: Browser, tmp_path: Path) -> None:
    paths = write_series(tmp_path / "dropped", ct_datasets(CtPlan(slices=45, description="HEAD NECK lung kernel")))

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/rules")
        page.locator("#drop-files").set_input_files([*map(str, paths), __file__])
        answer = page.locator("#answer")
        expect(answer).to_contain_text("refused")
        expect(answer).to_contain_text("contains 'lung', which is excluded")
        expect(answer).to_contain_text("1 files were not read")


@pytest.mark.parametrize("dark", [False, True])
def test_every_control_has_a_name(world: World, browser: Browser, *, dark: bool) -> None:
    case_id = world.add_case()

    with world.served() as url, a_page(browser, dark=dark) as page:
        for path in ("work", f"cases/{case_id}", f"cases/{case_id}/review", "settings", "rules"):
            page.goto(f"{url}/{path}")
            page.wait_for_load_state("load")
            assert page.evaluate(NAMELESS) == [], path
            assert page.locator("h1").count() == 1, path


def test_name_is_shown_only_where_the_site_allows_it(world: World, browser: Browser) -> None:
    case_id = world.add_case()

    with world.served() as url, a_page(browser) as page:
        for path in ("work", f"cases/{case_id}", f"cases/{case_id}/review"):
            page.goto(f"{url}/{path}")
            assert "Nobody" not in page.content()
            assert "TK0001" not in page.content()
    world.settings = showing_patients()
    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/cases/{case_id}")
        expect(page.locator("h1")).to_contain_text("Testkit Nobody")
        page.goto(f"{url}/work?text=TK0001")
        expect(page.locator("tbody tr")).to_have_count(1)


def test_held_series_is_left_aside(world: World, browser: Browser) -> None:
    world.add_held("gap")

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/work")
        page.get_by_role("link", name="see what was found").click()
        expect(page.locator("#held")).to_contain_text("gap of 5.00 mm after slice 5, expected 2.50 mm")
        expect(page.locator("#held")).to_contain_text("11 CT images from CT_SCANNER")
        act(page, "Exclude", "a scout")
        expect(page.locator("#held")).to_contain_text("Nothing is held")

    assert any(line.what.endswith("/aside") for line in world.accounts.store.audit(5))


def test_images_that_came_again_are_one_question_a_series(world: World, browser: Browser) -> None:
    world.add_case(seed="one")
    world.add_other_bytes("one")

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/held")
        expect(page.locator("#held .card")).to_have_count(1)
        expect(page.locator("#held")).to_contain_text("Another patient")
        expect(page.locator("#held")).not_to_contain_text("PHANTOM-MERGED")
        expect(page.get_by_role("button", name="Accept")).to_be_visible()
        act(page, "Discard", "a scanner's fault")
        expect(page.locator("#held")).to_contain_text("Nothing is held")


def test_step_that_was_given_up_is_begun_again(world: World, browser: Browser) -> None:
    world.add_parked("1.2.3", "the archive has gone")

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/held")
        expect(page.locator("#held")).to_contain_text("the archive has gone")
        act(page, "Retry", "it is back")
        expect(page.locator("#held")).to_contain_text("Nothing is held")


def test_person_says_which_series_is_which(world: World, browser: Browser) -> None:
    case_id = world.add_case(state=CaseState.AMBIGUOUS, reason="two series fit planning_ct", choices=True)

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/cases/{case_id}")
        expect(page.locator("#case")).to_contain_text("Which series fill the roles?")
        page.get_by_role("button", name="Use these").click()
        page.get_by_role("dialog").get_by_label("Reason").fill("the newer one")
        page.keyboard.press("Enter")
        expect(page.locator(".timeline")).to_contain_text("Series roles assigned")
        expect(page.locator(".timeline")).to_contain_text("the newer one")


def test_measured_nodes_are_listed_and_looked_at(world: World, browser: Browser) -> None:
    case_id = world.add_case(measured=True)

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/cases/{case_id}")
        row = page.locator("#h-measures").locator("xpath=../..").locator("tbody tr")
        expect(row).to_contain_text("enlarged")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        assert "short_axis_mm" in Path(download.value.path()).read_text(encoding="utf-8")
        page.get_by_role("link", name="Look at node 1").click()
        expect(page.locator(".view.main .place")).to_contain_text("4 / 12")


def test_destination_is_paused_and_resumed(world: World, browser: Browser) -> None:
    world.settings = Settings(destinations=(DicomDestination(name="tps", ae_title="TPS", host="127.0.0.1", port=104),))
    world.add_case()

    with world.served() as url, a_page(browser) as page:
        page.goto(f"{url}/settings")
        row = page.locator("#destinations tbody tr")
        expect(row).to_contain_text("1 sent")
        act(page, "Pause", "the TPS is upgraded")
        expect(row).to_contain_text("paused by local: the TPS is upgraded")
        act(page, "Resume", "")
        expect(row).to_contain_text("In use")
