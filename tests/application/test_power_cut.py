"""A row that a power cut left without its file, never answered, is taken back when its receiver starts again."""

from __future__ import annotations

from dataclasses import replace

from npc_contour.domain.received import AssociationRow
from npc_contour.store.database import Store
from npc_testkit.bench import Bench, plain_ct


def test_rows_without_files_are_taken_back_and_the_image_may_come_again(store: Store) -> None:
    bench = Bench(store)
    headers = plain_ct(5)
    row = AssociationRow("a1", "receiver-0", "CT", "NPC_CONTOUR", "127.0.0.1")
    for header in headers:
        bench.intake.keep(header, f"instances/{header.sop_instance_uid}", row)
    lost = headers[2].sop_instance_uid

    bench.intake.receiver_started("receiver-0", lambda key: not key.endswith(lost))

    left = {str(found["sop_instance_uid"]) for found in store.query("SELECT sop_instance_uid FROM instance")}
    assert left == {header.sop_instance_uid for header in headers} - {lost}
    again = replace(row, association_id="a2")
    assert bench.intake.keep(headers[2], f"instances/{lost}", again)
    assert not bench.intake.keep(headers[3], f"instances/{headers[3].sop_instance_uid}", again)
