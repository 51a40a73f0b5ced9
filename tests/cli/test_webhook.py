"""IT sees which program could not be told of what, and has it told again with one command."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.adapters.webhooks import WebhookCaller, read_secret
from npc_contour.application.webhooks import CallWebhook, WebhookBoard
from npc_contour.cli import main
from npc_contour.domain.status import Part
from npc_contour.domain.timeline import TimelineEntry, WebhookState
from npc_contour.domain.work import JobKind
from npc_contour.logs import Event
from npc_contour.store.database import Store
from npc_testkit.fakes import FakeClock


@pytest.fixture
def failed(store: Store) -> str:
    """The id of a message that was given up."""
    clock = FakeClock()
    with store.transaction() as tx:
        tx.set_webhooks({"ris": ["case.failed"]})
        tx.record(TimelineEntry(event=Event.CASE_FAILED, at=clock.now(), study="1.2"))
    (message,) = WebhookBoard(store, clock).messages(None, Part())
    CallWebhook(store, clock, WebhookCaller({}), {}).run(message.message_id)
    return message.message_id


def test_what_failed_is_listed_and_delivered_again(
    store: Store,
    database_url: str,
    failed: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    config = tmp_path / "site.toml"
    config.write_text(f'[database]\nurl = "{database_url}"\n', encoding="utf-8")
    site = ["--config", str(config)]

    assert main(["webhook", "list", "--state", "failed", *site]) == 0
    listed = capsys.readouterr().out
    assert failed in listed
    assert "case.failed" in listed
    assert "no [[webhooks]] named 'ris'" in listed
    assert main(["webhook", "retry", failed, *site]) == 0
    assert capsys.readouterr().out == f"message {failed}: will be retried\n"
    with store.transaction() as tx:
        message = tx.webhook_message(failed)
        assert message is not None
        assert message.state is WebhookState.QUEUED
    rows = store.query("SELECT args FROM procrastinate_jobs WHERE task_name = %(kind)s", {"kind": JobKind.CALL_WEBHOOK})
    assert {row["args"]["key"] for row in rows} == {failed}
    assert main(["webhook", "retry", failed, *site]) == 1
    assert "only a failed one can be retried" in capsys.readouterr().err


def test_what_is_no_id_is_said_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["webhook", "retry", "everything"])

    assert ended.value.code == 2
    assert "invalid UUID value: 'everything'" in capsys.readouterr().err


def test_a_new_secret_will_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["webhook", "secret"]) == 0
    path = tmp_path / "secret"
    path.write_text(capsys.readouterr().out, encoding="ascii")

    assert len(read_secret(path, "ris")) == 32
