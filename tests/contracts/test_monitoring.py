"""Alert rules and dashboard ask for numbers that the service really gives, and the runbook knows every alarm."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from npc_contour.adapters.api.metrics import StatusCollector, registry_of, render
from npc_contour.adapters.checks import Probes, doctor_checks, own_receiver, service_checks
from npc_contour.app.forecast import FORECAST
from npc_contour.app.heartbeats import HEARTBEATS, WORKERS
from npc_contour.app.self_test import SELF_TEST
from npc_contour.app.status import PAGE, PROCESSES
from npc_contour.domain.jobs import DeliveryState
from npc_contour.domain.status import CheckResult, Counts, DueJobs, StepTotal
from npc_contour.domain.timeline import WebhookState
from npc_contour.settings import Settings
from npc_testkit.bench import catalog
from npc_testkit.fake_board import FakeBoard

DEPLOY = Path(__file__).parents[2] / "deploy"
MONITORING = DEPLOY / "monitoring"
RUNBOOK = (DEPLOY / "RUNBOOK.md").read_text(encoding="utf-8")
ANCHORS = {
    re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
    for line in RUNBOOK.splitlines()
    if line.startswith("#")
}

MATCHERS = re.compile(r"(\w+)\s*\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)\s*(=~|!=|!~|=)\s*"([^"]*)"')
FUNCTIONS = {"rate", "min_over_time", "unless", "histogram_quantile", "sum", "increase"}
FROM_PROMETHEUS = {"up": {("job", "npc-contour")}}
"""Numbers and labels that Prometheus itself adds: whether a scrape worked."""


def answer() -> str:
    """Return what a probe finds that is never asked here."""
    raise AssertionError("only names of checks are looked at")


PROBES = Probes(
    reach=lambda _destination: answer(),
    database=answer,
    triton=answer,
    network=lambda _contract: answer(),
    embedded_triton=answer,
)


def site() -> Settings:
    return Settings.model_validate(tomllib.loads((DEPLOY / "compose.site.toml").read_text(encoding="utf-8")))


def readiness_names() -> list[str]:
    settings = site()
    checks = service_checks(settings, catalog(), PROBES, own_receiver(settings))
    return [*(check.name for check in checks), FORECAST, PROCESSES, PAGE, SELF_TEST, WORKERS, HEARTBEATS]


def printed() -> dict[str, set[tuple[str, str]]]:
    """Return what `/metrics` of a busy service prints: name → (label, value)."""
    numbers = Counts(
        deliveries={("tps", DeliveryState.QUEUED): 1},
        steps={step: StepTotal(60.0, {100.0: 1}) for step in ("receive", "segment npc_oar")},
        due={"segment": DueJobs(1, 1.0), "work": DueJobs(1, 1.0)},
        undelivered_s={"tps": 1.0},
        consumers=4,
        silent_s={("host", "worker-0"): 1.0},
        parked={"route_study": 1},
        self_test_dice={"npc_oar": 0.8},
        findings={("side", "stop"): 1},
        watch={("volume_cc", "Brain", "npc_oar"): 0.2},
        usual={("volume_cc", "Brain", "npc_oar"): 1300.0},
        webhooks={("ris", WebhookState.FAILED): 1},
    )
    results = tuple(CheckResult(name, ok=True, detail="") for name in readiness_names())
    collector = StatusCollector(FakeBoard(numbers=numbers), lambda: results, lambda: 1, "1", lambda: 5.0)
    found: dict[str, set[tuple[str, str]]] = {name: set(labels) for name, labels in FROM_PROMETHEUS.items()}
    for family in text_string_to_metric_families(render(registry_of(collector)).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, {("job", "npc-contour")}).update(sample.labels.items())
    return found


def unknown(expression: str, known: dict[str, set[tuple[str, str]]]) -> list[str]:
    """Return names of numbers, and labels with values, that nothing prints."""
    faults = []
    for name, inside in MATCHERS.findall(expression):
        for label, operator, value in MATCHER.findall(inside):
            values = {found for one, found in known.get(name, set()) if one == label}
            hit = any(re.fullmatch(value, one) for one in values) if "~" in operator else value in values
            if not hit:
                faults.append(f"{name}{{{label}{operator}{value}}}")
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(on|by|without)\s*\([^)]*\)", " ", expression)
    return [*faults, *sorted(set(re.findall(r"[a-zA-Z_]\w*", bare)) - FUNCTIONS - set(known))]


@dataclass(frozen=True)
class Alert:
    """One rule."""

    alert: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]
    keys: dict[str, Any] = field(default_factory=dict)


def alerts() -> list[Alert]:
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [
        Alert(rule.pop("alert"), rule.pop("expr"), rule.pop("labels"), rule.pop("annotations"), rule)
        for rule in group["rules"]
    ]


ALERTS = alerts()
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))


def dashboard_expressions() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.mark.parametrize(
    ("expression", "faults"),
    [
        ("npc_contour_jobs_queued > 1", []),
        ("npc_contour_jobs_lost > 1", ["npc_contour_jobs_lost"]),
        ('npc_contour_cases{state="lost"} > 1', ["npc_contour_cases{state=lost}"]),
        ('npc_contour_dependency_up{dependency=~"printer:.+"}', ["npc_contour_dependency_up{dependency=~printer:.+}"]),
        ("rate(npc_contour_step_second_sum[1h])", ["npc_contour_step_second_sum"]),
    ],
)
def test_a_wrong_name_or_label_would_be_found(expression: str, faults: list[str]) -> None:
    assert unknown(expression, printed()) == faults


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.alert)
def test_an_alert_asks_for_what_is_printed_and_says_what_to_do(alert: Alert) -> None:
    assert unknown(alert.expr, printed()) == []
    assert alert.labels["severity"] in {"critical", "warning"}
    assert set(alert.annotations) == {"summary", "description", "runbook"}
    assert all(alert.annotations.values())
    assert alert.keys.keys() == {"for"}
    path, _, anchor = alert.annotations["runbook"].partition("#")
    assert path == "deploy/RUNBOOK.md"
    assert anchor == alert.alert.lower()
    assert anchor in ANCHORS


def test_alerts_have_names_of_their_own_and_the_runbook_has_no_other() -> None:
    names = [alert.alert for alert in ALERTS]

    assert len(set(names)) == len(names)
    assert re.findall(r"^### (\w+)$", RUNBOOK, flags=re.MULTILINE) == names


@pytest.mark.parametrize("name", readiness_names())
def test_a_red_readiness_line_raises_an_alert_that_its_runbook_line_names(name: str) -> None:
    kind, colon, _ = name.partition(":")
    readiness = RUNBOOK.partition("\n## 6.")[2].partition("\n## 7.")[0]
    (line,) = re.findall(rf"^\| `{kind}{':NAME' if colon else ''}` \|.*$", readiness, flags=re.MULTILINE)
    linked = re.findall(r"\[(\w+)\]\(#(\w+)\)", line)

    raised = {
        alert.alert
        for alert in ALERTS
        for label, operator, value in MATCHER.findall(alert.expr.partition("unless")[0])
        if label == "dependency" and (re.fullmatch(value, name) if operator == "=~" else value == name)
    }

    assert linked == [(one, one.lower()) for one in raised]


def test_the_runbook_knows_every_line_of_the_check_command() -> None:
    for check in doctor_checks(site(), catalog(), PROBES):
        kind, colon, _ = check.name.partition(":")
        assert f"`{kind}{':NAME' if colon else ''}`" in RUNBOOK, check.name


def test_links_within_the_runbook_lead_somewhere() -> None:
    assert set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOK)) <= ANCHORS


@pytest.mark.parametrize("expression", sorted(set(dashboard_expressions())))
def test_a_panel_asks_for_what_is_printed(expression: str) -> None:
    assert unknown(expression, printed()) == []


def test_every_number_of_ours_is_on_the_dashboard_or_in_an_alert() -> None:
    shown = " ".join([*dashboard_expressions(), *(alert.expr for alert in ALERTS)])

    assert [name for name in printed() if name.startswith("npc_contour") and not re.search(rf"\b{name}\b", shown)] == []


def test_the_dashboard_can_be_imported_with_any_prometheus() -> None:
    panels = DASHBOARD["panels"]
    (variable,) = DASHBOARD["templating"]["list"]

    assert variable["type"] == "datasource"
    assert {panel["datasource"]["uid"] for panel in panels} == {f"${{{variable['name']}}}"}
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert "id" not in DASHBOARD


def test_the_sample_scrape_loads_the_rules_under_the_job_that_they_name() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]

    assert config["rule_files"] == ["alerts.yml"]
    assert ("job", job["job_name"]) in FROM_PROMETHEUS["up"]
    assert job["metrics_path"] == "/metrics"
    assert job["authorization"]["type"] == "Bearer"
