"""What a site needs: measured step times and the times at which studies come, put into the simulation."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from npc_contour.domain.pipelines import Pipeline
from npc_contour.errors import SettingsError
from npc_tools.capacity.simulation import StepTimes, Study

STEP_METRIC = "npc_contour_step_seconds"
README_RUN: Mapping[str, float] = {
    "read": 0.7,
    "segment npc_oar": 9.2,
    "segment npc_gtv": 3.4,
    "segment ln_ctv": 1.9,
    "contour": 1.2,
    "write and check": 0.3,
    "send": 0.1,
}
"""Means of the run in README.md: two cores with AMX, bfloat16, demo networks, 300 images a study."""
IMAGES_PER_S = 55.0
"""Of one association, docs/receiver.md."""
READY_S = 0.5
"""From the end of the quiet time until the next step starts."""


def read_steps(source: str) -> dict[str, float]:
    """Return the mean seconds of each step that a service has measured.

    Args:
        source: URL of `/metrics` (of the page, or of the status port), or a file with what it printed.

    Raises:
        SettingsError: it cannot be read, or holds no steps.
    """
    try:
        if source.startswith(("http://", "https://")):
            text = httpx.get(source, timeout=20, trust_env=False).raise_for_status().text
        else:
            text = Path(source).read_text(encoding="utf-8")
        families = list(text_string_to_metric_families(text))
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise SettingsError(f"{source}: no metrics: {error}") from error
    sums: dict[str, dict[str, float]] = {}
    for family in families:
        for sample in family.samples:
            if sample.name.startswith(f"{STEP_METRIC}_"):
                sums.setdefault(sample.labels["step"], {})[sample.name.rpartition("_")[2]] = sample.value
    means = {step: one["sum"] / one["count"] for step, one in sums.items() if one.get("count")}
    if not means:
        raise SettingsError(f"{source}: no case has gone through that service yet, there is no {STEP_METRIC}")
    return means


def step_times(
    steps: Mapping[str, float], pipelines: Sequence[Pipeline], *, images_per_s: float, quiet_s: float
) -> StepTimes:
    """Return the times of the steps of these pipelines.

    Args:
        steps: mean seconds by name of the step.
        pipelines: that every study goes through.
        images_per_s: of one association.
        quiet_s: `completion.quiet_released_s`.

    Raises:
        SettingsError: a step was not measured.
    """

    def of(name: str) -> float:
        if name not in steps:
            raise SettingsError(f"step {name!r} was not measured, there are {', '.join(sorted(steps))}")
        return steps[name]

    networks = {one.name: sorted({use.network for use in one.networks}) for one in pipelines}
    # Not measured before a study with two phases has gone through.
    compare_s = {
        one.name: steps.get("compare phases", 0.0) if sum(role.modality == "CT" for role in one.roles) > 1 else 0.0
        for one in pipelines
    }
    return StepTimes(
        images_per_s=images_per_s,
        quiet_s=quiet_s + READY_S,
        segment_s={
            name: of("read") + compare_s[name] + sum(of(f"segment {one}") for one in used)
            for name, used in networks.items()
        },
        write_s={name: of("contour") + of("write and check") for name in networks},
        send_s=of("send"),
    )


def read_trace(path: Path) -> list[Study]:
    """Return the studies of a list: a CSV file with the columns `at_s` and `images`, one study a line.

    Raises:
        SettingsError: the file cannot be read, or a line is wrong; the message names it.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            study = Study(float(row["at_s"]), int(row["images"]))
        except (KeyError, TypeError, ValueError) as error:
            raise SettingsError(f"{path}, line {number}: expected at_s and images, as in 3600.5,300") from error
        if study.at_s < 0 or study.images < 1:
            raise SettingsError(f"{path}, line {number}: at_s from 0, images from 1")
        found.append(study)
    if not found:
        raise SettingsError(f"{path}: no study; expected the columns at_s,images and a line for each")
    return sorted(found, key=lambda study: study.at_s)
