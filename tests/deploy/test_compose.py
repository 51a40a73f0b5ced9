"""docker-compose takes the compose file, and every name, port, folder and secret in it is one that settings know."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from npc_contour.cli import build_parser
from npc_contour.settings import DicomDestination, Settings
from npc_testkit.compose_file import COMPOSE, DEPLOY, PROMETHEUS, SITE, services
from npc_testkit.peers import require_tool

FILE = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
SERVICES = services()
OURS = {name: one for name, one in SERVICES.items() if one.get("command", [""])[0] == "npc-contour"}
SETTINGS = Settings.model_validate(tomllib.loads(SITE.read_text(encoding="utf-8")))
DOCKERFILE = (DEPLOY.parent / "Dockerfile").read_text(encoding="utf-8")
FOREIGN_KEYS = {
    "database": {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE"},
    "tps": {"ORTHANC__NAME", "ORTHANC__DICOM_AET", "ORTHANC__DICOM_PORT", "ORTHANC__REMOTE_ACCESS_ALLOWED",
            "ORTHANC__AUTHENTICATION_ENABLED", "TCP_NODELAY"},
    "grafana": {"GF_SECURITY_ADMIN_PASSWORD__FILE", "GF_ANALYTICS_REPORTING_ENABLED",
                "GF_ANALYTICS_CHECK_FOR_UPDATES", "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"},
}  # fmt: skip
"""What the images of others document; ours take settings from their file alone."""


def compose(*arguments: str, file: Path = COMPOSE) -> subprocess.CompletedProcess[str]:
    command = [require_tool("docker-compose"), "-f", str(file), "--profile", "cpu", "--profile", "gpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def names_of(service: str) -> set[str]:
    networks = SERVICES[service].get("networks", {})
    return {service, *networks.get("default", {}).get("aliases", [])} if isinstance(networks, dict) else {service}


def hosts() -> set[str]:
    return {name for service in SERVICES for name in names_of(service)}


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Return target → source."""
    parts = [str(volume).split(":") for volume in service.get("volumes", [])]
    return {part[1]: part[0] for part in parts}


def test_docker_compose_takes_it_whole() -> None:
    done = compose("config", "--services")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(SERVICES)


def test_docker_compose_would_find_a_wrong_key(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("stop_grace_period:", "stop_grace_time:"))
    assert compose("config", "--quiet", file=wrong).returncode != 0


@pytest.mark.parametrize("name", OURS)
def test_our_commands_are_those_of_the_command_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    _, verb, *arguments = OURS[name]["command"]
    here = [str(tmp_path / "x") if one.startswith(("/etc/", "/run/")) else one for one in arguments]
    build_parser(verb).parse_args([verb, *here])


def test_hosts_and_ports_of_the_settings_are_services_of_the_file() -> None:
    triton_host, _, triton_port = SETTINGS.triton.url.rpartition(":")
    metrics, database = urlsplit(SETTINGS.triton.metrics_url or ""), urlsplit(SETTINGS.database.url)
    (tps,) = SETTINGS.destinations
    assert isinstance(tps, DicomDestination)
    assert {triton_host, metrics.hostname, database.hostname, tps.host} <= hosts()
    assert OURS["triton-cpu"]["command"][5].split(",")[1:] == [triton_port, str(metrics.port)]
    assert SERVICES["tps"]["environment"]["ORTHANC__DICOM_PORT"] == str(tps.port)
    assert SERVICES["tps"]["environment"]["ORTHANC__DICOM_AET"] == tps.ae_title
    user, name = (
        SERVICES["database"]["environment"]["POSTGRES_USER"],
        SERVICES["database"]["environment"]["POSTGRES_DB"],
    )
    assert (database.username, database.path, database.port) == (user, f"/{name}", 5432)


def test_both_tritons_answer_to_one_name_and_never_run_together() -> None:
    assert names_of("triton-cpu") & names_of("triton-gpu") == {"triton"}
    assert [SERVICES[name]["profiles"] for name in ("triton-cpu", "triton-gpu")] == [["cpu"], ["gpu"]]


def test_what_is_published_is_what_listens_and_only_on_this_machine() -> None:
    listening = {"receiver": SETTINGS.dicom.port, "web": SETTINGS.web.port}
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            address, _, inside = str(port).split(":")
            assert address == "127.0.0.1", name
            assert name not in OURS or int(inside) == listening[name]
    exposed = re.search(r"^EXPOSE (.+)$", DOCKERFILE, flags=re.MULTILINE)
    assert exposed is not None
    assert {int(port) for port in exposed.group(1).split()} == {*listening.values(), SETTINGS.status.port}


@pytest.mark.parametrize("name", [name for name in OURS if name != "triton-cpu"])
def test_our_containers_find_what_the_settings_name(name: str) -> None:
    service = OURS[name]
    assert mounts(service)["/etc/npc-contour/site.toml"] == "./compose.site.toml"
    assert str(SETTINGS.storage.shared_spool) in mounts(service)
    assert f"/run/secrets/{service['secrets'][0]}" == str(SETTINGS.database.password_file)
    named = [argument for argument in service["command"] if argument.startswith("/run/secrets/")]
    assert {Path(one).name for one in named} <= set(service["secrets"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    # What is written lies in a volume of the image or of the file.
    assert str(SETTINGS.storage.root) in DOCKERFILE
    assert "/var/cache/npc-contour" in mounts(service)


def test_volumes_and_secrets_are_declared_and_all_used() -> None:
    used = {source for one in SERVICES.values() for source in mounts(one).values() if not source.startswith(".")}
    assert used == set(FILE["volumes"])
    assert {secret for one in SERVICES.values() for secret in one.get("secrets", [])} == set(FILE["secrets"])
    for one in SERVICES.values():
        for source in mounts(one).values():
            assert not source.startswith(".") or (DEPLOY / source).exists(), source


def test_environment_holds_what_the_images_of_others_document_and_nothing_for_ours() -> None:
    assert {name: set(one["environment"]) for name, one in SERVICES.items() if "environment" in one} == FOREIGN_KEYS


def test_prometheus_asks_ports_that_answer() -> None:
    ours, triton = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))["scrape_configs"]
    fixed = {tuple(target.split(":")) for target in ours["static_configs"][0]["targets"]}
    (by_name,) = ours["dns_sd_configs"]
    asked = {*fixed, *((name, str(by_name["port"])) for name in by_name["names"])}
    assert asked == {(name, str(SETTINGS.status.port)) for name in ("receiver", "worker", "web")}
    (target,) = triton["static_configs"][0]["targets"]
    assert target == urlsplit(SETTINGS.triton.metrics_url or "").netloc


def test_debians_promtool_takes_prometheus_configuration_and_rules() -> None:
    for arguments in (["config", str(PROMETHEUS)], ["rules", str(PROMETHEUS.parent / "alerts.yml")]):
        done = subprocess.run(
            [require_tool("promtool"), "check", *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_the_dashboard_and_its_source() -> None:
    (source,) = yaml.safe_load((DEPLOY / "monitoring/grafana/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((DEPLOY / "monitoring/grafana/dashboards/npc-contour.yml").read_text())["providers"]
    assert urlsplit(source["url"]).hostname in hosts()
    assert provider["options"]["path"] + "/dashboard.json" in mounts(SERVICES["grafana"])
