"""The partner of a pair comes from a real PACS, by C-FIND and C-GET or by QIDO-RS and WADO-RS, into the intake."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from npc_contour.adapters.dicom.pacs.archive import DicomArchive
from npc_contour.adapters.dicom.receive.keeping import FileKeeper
from npc_contour.adapters.dicom.send.scu import send_series
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.adapters.dicomweb import WebArchive
from npc_contour.application.partners import FindPartner
from npc_contour.application.ports import Archive
from npc_contour.application.pulling import FetchSeries, PullTools
from npc_contour.domain.jobs import SeriesState
from npc_contour.domain.queries import Retrieval
from npc_contour.domain.received import AssociationRow, Ending
from npc_contour.domain.status import Part
from npc_contour.domain.work import JobKind
from npc_contour.store.database import Store
from npc_testkit.archives import OUR_AE, Archived, orthanc_archive
from npc_testkit.bench import WAIT_S, Bench
from npc_testkit.ct_series import CtPlan, as_bytes, ct_datasets, write_series

WEB_PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
PLAIN = CtPlan(seed="plain", slices=45, description="HEAD NECK PLAIN")
CONTRAST = CtPlan(seed="contrast", slices=45, description="HEAD NECK C+", contrast_agent="IOHEXOL")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archived]:
    folder = tmp_path_factory.mktemp("orthanc")
    with orthanc_archive(folder, plugins=[WEB_PLUGIN]) as running:
        for plan in (PLAIN, CONTRAST):
            write_series(folder / "files" / plan.seed, ct_datasets(plan))
        assert not send_series(folder / "files", running.destination, OUR_AE, 20.0).failures
        yield running


@pytest.mark.parametrize("way", ["C-GET", "WADO-RS"])
def test_the_partner_is_found_and_fetched(way: str, node: Archived, store: Store, tmp_path: Path) -> None:
    archive: Archive = DicomArchive(node.archive, OUR_AE, 10.0)
    if way == "WADO-RS":
        url = f"http://127.0.0.1:{node.http_port}/dicom-web"
        archive = WebArchive(replace(node.archive, web_url=url, retrieval=Retrieval.WEB), 10.0)
    bench = Bench(store)
    keeper = FileKeeper(Spool(tmp_path, min_free_mb=0), bench.intake.keep, bench.intake.conflict)
    tools = PullTools(
        store=store,
        clock=bench.clock,
        intake=bench.intake,
        keeper=keeper,
        archives={"pacs": archive},
        ae_titles={"pacs": "PACS"},
        our_ae_title=OUR_AE,
    )
    bench.more[JobKind.FIND_PARTNER] = FindPartner(tools, bench.catalog, ["pacs"]).run
    bench.more[JobKind.FETCH_SERIES] = FetchSeries(tools).run
    bench.steps = bench.new_steps()
    row = AssociationRow("scanner", "receiver-0", "CT", OUR_AE, "127.0.0.1")
    for dataset in ct_datasets(PLAIN):
        keeper.keep(as_bytes(dataset), row)
    bench.intake.association_ended("scanner", Ending.RELEASED)

    bench.work_for(WAIT_S * 0.5)

    case = bench.case("npc_oar_gtv")
    found = {role: given.series_instance_uid for role, given in case.inputs.items()}
    assert found == {
        "planning_ct": str(ct_datasets(PLAIN)[0].SeriesInstanceUID),
        "contrast_ct": str(ct_datasets(CONTRAST)[0].SeriesInstanceUID),
    }
    assert [(s.images, s.state) for s in bench.board.series(Part(limit=9))] == [(45, SeriesState.READY)] * 2
    (line,) = store.query("SELECT detail FROM event WHERE name = 'partner.sought'")
    assert line["detail"] == "pacs has 2 series of the study, fetched from it: 'HEAD NECK C+' (45 images)"
