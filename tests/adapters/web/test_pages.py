"""Pages as a program sees them: what htmx gets, what is listed, how times are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import pytest

from npc_contour.adapters.web import pages
from npc_contour.domain.jobs import CaseState, SeriesState
from npc_testkit.page import HELD_FOR, World, showing_patients

HTMX = {"HX-Request": "true"}
AGAIN = HTMX | {"HX-History-Restore-Request": "true"}
ASIDE = "excluded: derived from other images"


@pytest.fixture
def client(world: World) -> Iterator[httpx.Client]:
    with world.served() as url, httpx.Client(base_url=url, timeout=20) as asking:
        yield asking


@pytest.mark.parametrize("path", ["/work", "/held", "/cases/{case}"])
def test_htmx_gets_a_part_and_the_whole_page_when_it_goes_back(world: World, client: httpx.Client, path: str) -> None:
    path = path.format(case=world.add_case())

    assert "<header" not in client.get(path, headers=HTMX).text
    assert "<header" in client.get(path, headers=AGAIN).text


def test_an_older_part_of_the_list_asks_for_itself_and_stays_where_it_is(
    world: World, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_ROWS", 2)
    cases = [world.add_case(seed=str(number), state=CaseState.FAILED, reason="no") for number in range(4)]
    first = client.get("/work").text
    older = re.search(r'href="(/work[^"]*)">Next', first)
    assert older is not None
    address = older[1].replace("&amp;", "&")

    def rows(path: str) -> list[str]:
        return re.findall(r'id="row-(\w+)"', client.get(path, headers=HTMX).text)

    assert rows(address) == [cases[1], cases[0]]
    world.add_case(seed="new", state=CaseState.FAILED, reason="no")
    assert rows(address) == [cases[1], cases[0]]
    refreshed = re.search(r'id="work"[^>]*hx-get="([^"]*)"', client.get(address).text)
    assert refreshed is not None
    assert rows(refreshed[1].replace("&amp;", "&")) == [cases[1], cases[0]]


def test_the_list_is_ordered_limited_to_days_and_searched_by_accession_number(world: World) -> None:
    world.settings = showing_patients()
    first = world.add_case(seed="one", state=CaseState.FAILED, reason="no", accession_number="ACC-77")
    second = world.add_case(seed="two", state=CaseState.FAILED, reason="no")
    world.store.query(
        "UPDATE contour_case SET created_at = created_at - interval '3 days' WHERE id = %(id)s RETURNING id",
        {"id": first},
    )
    today = datetime.now().astimezone().date()

    with world.served() as url:

        def rows(query: str) -> list[str]:
            return re.findall(r'id="row-(\w+)"', httpx.get(f"{url}/work?{query}", headers=HTMX).text)

        assert rows("") == [second, first]
        assert rows("order=oldest&first=&last=") == [first, second]
        assert rows(f"first={today}") == [second]
        assert rows(f"last={today - timedelta(days=1)}") == [first]
        assert rows("text=acc-77") == [first]
        for wrong in ("first=yesterday", "last=9999-12-31"):
            assert httpx.get(f"{url}/work?{wrong}").status_code == 422


@pytest.mark.parametrize(
    ("state", "reason", "group"),
    [(SeriesState.ASIDE, ASIDE, "attention"), (SeriesState.HELD, HELD_FOR, "attention"),
     (SeriesState.RECEIVING, "", "waiting")],
)  # fmt: skip
def test_a_series_that_no_case_was_made_of_is_on_the_list_and_found(
    world: World, state: SeriesState, reason: str, group: str
) -> None:
    uid = world.add_held("alone", state=state, reasons=(reason,) if reason else ())
    world.settings = showing_patients()

    with world.served() as url:
        for query in ("", f"?group={group}", f"?text={uid[-8:]}", "?text=TK0001"):
            text = httpx.get(f"{url}/work{query}").text
            assert "HEAD NECK 2.5 FC43" in text, query
            assert reason in text, query
        assert "HEAD NECK 2.5 FC43" not in httpx.get(f"{url}/work?group=done").text


def test_a_case_tells_of_every_series_of_its_study(world: World, client: httpx.Client) -> None:
    case = world.add_case(seed="one", state=CaseState.REFUSED, reason="no contrast_ct came")
    held = world.add_held("second", study="one")
    text = client.get(f"/cases/{case}").text

    assert f'href="/held#{held}"' in text
    assert text.count("gap of 5.00 mm") == 2, "beside the series and on the timeline"
    assert f'id="{held}"' in client.get("/held").text


def test_times_have_a_zone(world: World, client: httpx.Client) -> None:
    world.add_case()
    at = world.store.query("SELECT created_at FROM contour_case")[0]["created_at"]
    written = re.search(r'<time datetime="([^"]+)" title="([^"]+)">', client.get("/work").text)

    assert written is not None
    assert written[1] == at.isoformat()
    offset = at.astimezone().utcoffset() or timedelta()
    assert ("UTC" if not offset else "(UTC") in written[2]
    assert 'id="zone"' in client.get("/work").text


def test_parts_are_compressed_and_pages_with_a_token_are_not(world: World, client: httpx.Client) -> None:
    for number in range(5):
        world.add_case(seed=str(number), state=CaseState.FAILED, reason="no")

    assert client.get("/work", headers=HTMX).headers.get("content-encoding") == "gzip"
    assert client.get("/api/v1/jobs").headers.get("content-encoding") == "gzip"
    assert "content-encoding" not in client.get("/work").headers
