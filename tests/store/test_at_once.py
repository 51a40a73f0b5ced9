"""Images of series that are being received are added by one message, as a transaction would, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.received import Added, ArrivedImage, AssociationRow
from npc_contour.domain.series import InstanceHeader
from npc_contour.store.at_once import AtOnce
from npc_contour.store.database import Store
from npc_testkit.ct_headers import ct_headers

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ASSOCIATION = AssociationRow("a1", "receiver", "CT", "NPC_CONTOUR", "127.0.0.1")


def images(headers: list[InstanceHeader]) -> list[ArrivedImage]:
    return [ArrivedImage(header, ASSOCIATION) for header in headers]


def open_series(store: Store, header: InstanceHeader) -> None:
    with store.transaction() as tx:
        assert tx.add_images(images([header]), NOW) == (Added.OPENED,)


def add(store: Store, headers: list[InstanceHeader]) -> tuple[Added, ...] | None:
    told: list[int] = []
    answer = store.add_to_open_series(images(headers), NOW, lambda: told.append(1))
    assert told == [1], "what is to be done meanwhile is done once, whatever happens"
    return answer


def kept(store: Store) -> int:
    return len(store.query("SELECT 1 FROM instance"))


def test_nothing_is_added_to_a_series_that_is_not_there(store: Store) -> None:
    assert add(store, ct_headers(3)) is None
    assert kept(store) == 0
    assert store.query("SELECT 1 FROM association") == []


def test_images_of_an_open_series_are_added_and_counted(store: Store) -> None:
    first, *others = ct_headers(4)
    open_series(store, first)

    assert add(store, others) == (Added.ADDED,) * 3
    assert add(store, [first, *others]) == (Added.KNOWN,) * 4
    (series,) = store.query("SELECT images, last_instance_at FROM series")
    assert (series["images"], kept(store)) == (4, 4)


def test_an_image_under_another_key_is_taken_already(store: Store) -> None:
    first, second, third = ct_headers(3)
    open_series(store, first)

    assert add(store, [second, replace(second, key="instances/elsewhere"), third]) == (
        Added.ADDED,
        Added.TAKEN,
        Added.ADDED,
    )
    assert kept(store) == 3


@pytest.mark.parametrize("state", [SeriesState.READY, SeriesState.HELD])
def test_one_series_that_is_closed_holds_back_all(state: SeriesState, store: Store) -> None:
    first, second = ct_headers(2)
    other = replace(first, series_instance_uid="1.2.77", sop_instance_uid="1.2.78", key="instances/78")
    open_series(store, first)
    open_series(store, other)
    with store.transaction() as tx:
        tx.set_series("1.2.77", state, ["because"] if state is SeriesState.HELD else [], NOW)

    late = replace(other, sop_instance_uid="1.2.79", key="instances/79")
    assert add(store, [second, late]) is None
    assert kept(store) == 2
    assert add(store, [second]) == (Added.ADDED,)


def test_a_lost_connection_is_told_and_opened_again(store: Store) -> None:
    first, second, third = ct_headers(3)
    open_series(store, first)
    assert add(store, [second]) == (Added.ADDED,)
    store.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND application_name = 'npc-contour'")  # fmt: skip

    assert add(store, [third]) is None
    assert add(store, [third]) == (Added.ADDED,)


def test_a_server_that_is_not_there_is_told() -> None:
    absent = AtOnce("postgresql://nobody@127.0.0.1:1/none", "SELECT 1")
    told: list[int] = []

    assert absent.run((), lambda: told.append(1)) is None
    assert told == [1]


def test_a_wrong_statement_is_told_and_the_connection_is_not_kept(database_url: str) -> None:
    assert AtOnce(database_url, "SELECT nonsense").run((), lambda: None) is None
    wrong_value = AtOnce(database_url, "SELECT $1::integer")
    assert wrong_value.run(["x"], lambda: None) is None
    assert wrong_value.run(["7"], lambda: None) == [("7",)]
    wrong_value.close()
