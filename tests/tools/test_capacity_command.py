"""Step times come from what a service has measured, arrivals from a site's own list, and a wrong file is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from npc_contour.errors import SettingsError
from npc_testkit.bench import catalog
from npc_tools.__main__ import main
from npc_tools.capacity.simulation import Study
from npc_tools.capacity.times import README_RUN, read_steps, read_trace, step_times

METRICS = """\
# TYPE npc_contour_step_seconds summary
npc_contour_step_seconds_count{step="read"} 4.0
npc_contour_step_seconds_sum{step="read"} 2.0
npc_contour_step_seconds_count{step="send"} 0.0
npc_contour_step_seconds_sum{step="send"} 0.0
"""


def test_means_are_read_from_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.txt"
    path.write_text(METRICS)

    assert read_steps(str(path)) == {"read": 0.5}
    path.write_text("npc_contour_jobs_queued 1\n")
    with pytest.raises(SettingsError, match="no case has gone through"):
        read_steps(str(path))
    with pytest.raises(SettingsError, match=r"nowhere\.txt: no metrics"):
        read_steps(str(tmp_path / "nowhere.txt"))


def test_a_pipeline_takes_what_its_networks_take() -> None:
    times = step_times(README_RUN, tuple(catalog().pipelines.values()), images_per_s=50, quiet_s=10)

    assert times.segment_s["npc_oar_gtv"] == pytest.approx(0.7 + 9.2 + 3.4)
    assert times.write_s["ln_ctv"] == pytest.approx(1.5)
    compared = step_times(
        {**README_RUN, "compare phases": 2.0}, tuple(catalog().pipelines.values()), images_per_s=50, quiet_s=10
    )
    assert compared.segment_s["npc_oar_gtv"] == pytest.approx(times.segment_s["npc_oar_gtv"] + 2.0)
    assert compared.segment_s["ln_ctv"] == times.segment_s["ln_ctv"], "one phase has nothing to compare with"
    with pytest.raises(SettingsError, match="'send' was not measured"):
        step_times({k: v for k, v in README_RUN.items() if k != "send"}, (), images_per_s=50, quiet_s=10)


def test_a_sites_own_arrivals_are_read_and_a_wrong_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "arrivals.csv"
    path.write_text("at_s,images\n60.5,300\n0,250\n")
    assert read_trace(path) == [Study(0.0, 250), Study(60.5, 300)]

    path.write_text("at_s,images\n60.5,none\n")
    with pytest.raises(SettingsError, match="line 2: expected at_s and images"):
        read_trace(path)


def test_a_person_sees_how_much_is_needed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "clinic.svg"

    assert main(["capacity", "--site", "clinic", "--inference", "20", "--days", "5", "--plot", str(picture)]) == 0

    said = capsys.readouterr().out
    assert "inference slots (GPUs)" in said
    assert "minutes from the last image to the last structure set" in said
    assert picture.read_text().count("<svg") == 1
    assert main(["capacity", "--within-min", "0.5", "--inference", "20"]) == 2
