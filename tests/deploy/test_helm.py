"""The Helm chart renders what Kubernetes knows, pods that may do little, and settings that the service reads."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from npc_contour.cli import build_parser
from npc_contour.settings import Settings, read_settings
from npc_testkit import helm

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "npc-contour"
OLDEST, NEWEST = "1.30", "1.37"
GPU = {
    "triton": {"kind": "gpu", "existingClaim": "networks", "gpus": 2, "autoscaling": {"enabled": True}},
    "worker": {"autoscaling": {"enabled": True}},
    "web": {"ingress": {"enabled": True, "className": "nginx"}},
    "accounts": {"firstAdmin": {"name": "admin"}},
    "spool": {"existingClaim": "nfs"},
    "networkPolicy": {"dicomFrom": ["10.0.0.0/8"], "egressTo": [{"cidr": "10.0.0.9/32", "ports": [104, 5432]}]},
    "site": {
        "dicom": {"processes": 2, "access": [{"networks": ["10.1.2.0/24"], "calling_ae_titles": ["CT1"]}]},
        "destinations": [{"name": "tps", "ae_title": "TPS", "host": "10.0.0.9", "port": 104}],
        "routing": {"pipelines": ["npc_oar_gtv"]},
        "retention": {"images_days": 7},
    },
}
EXTERNAL = {
    "triton": {"kind": "external", "url": "gpu1.example:8001", "metricsUrl": "http://gpu1.example:8002/metrics"},
    "networkPolicy": {"egressTo": []},
    "serviceAccount": {"create": False},
}
SECRETS = {
    "site": {
        "dicom": {
            "tls": {
                "port": 2762,
                "certificate": "/etc/tls/c.pem",
                "key": "/etc/tls/k.pem",
                "trusted": "/etc/tls/ca.pem",
            }
        },
        "oidc": {
            "issuer": "https://login.example",
            "client_id": "c",
            "operators": ["physics"],
            "client_secret_file": "/run/secrets/oidc/secret",
            "redirect_url": "https://x.example/login/oidc/callback",
        },
        "webhooks": [
            {
                "name": "ris",
                "url": "https://ris.example/hook",
                "events": ["case.failed"],
                "secret_file": "/run/secrets/hooks/ris",
            }
        ],
    },
    "secrets": [{"name": "npc-hooks", "mountPath": "/run/secrets/hooks/"}],
    "timeZone": "Europe/Berlin",
    "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "networkPolicy": {"dicomFrom": ["10.0.0.0/8"]},
}
CHOICES: dict[str, Mapping[str, Any]] = {"defaults": {}, "gpu": GPU, "external": EXTERNAL, "secrets": SECRETS}


@cache
def rendered(choice: str) -> tuple[dict[str, Any], ...]:
    files = helm.render(CHART, CHOICES[choice], namespace="radiotherapy")
    texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml")]
    return tuple(one for text in texts for one in yaml.safe_load_all(text) if one)


def of_kind(choice: str, *kinds: str) -> list[dict[str, Any]]:
    return [one for one in rendered(choice) if one["kind"] in kinds]


def pods(choice: str) -> dict[str, dict[str, Any]]:
    return {
        one["metadata"]["name"].rpartition("-")[2]: one["spec"]["template"]
        for one in of_kind(choice, "Deployment", "StatefulSet", "Job")
    }


def site(choice: str, tmp_path: Path) -> Settings:
    (config,) = (one for one in of_kind(choice, "ConfigMap") if one["metadata"]["name"].endswith("-site"))
    text = config["data"]["site.toml"]
    assert "password" not in tomllib.loads(text)["database"]["url"]
    path = tmp_path / "site.toml"
    (tmp_path / "password").write_text("secret")
    path.write_text(text.replace("/run/secrets/database/password", "password"))
    return read_settings(path)


def test_helm_has_nothing_to_say_against_it() -> None:
    result = helm.lint(CHART)
    assert result["errors"] == []
    assert {message["error"] for message in result["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize(("choice", "version"), [(choice, NEWEST) for choice in CHOICES] + [("gpu", OLDEST)])
def test_kubernetes_knows_every_field(choice: str, version: str) -> None:
    for one in rendered(choice):
        kubernetes_validate.validate(one, version, strict=True)


def test_a_field_that_kubernetes_does_not_know_would_be_found() -> None:
    wrong = {**of_kind("defaults", "Deployment")[0], "spce": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


@pytest.mark.parametrize("choice", CHOICES)
def test_the_settings_are_those_of_the_service(choice: str, tmp_path: Path) -> None:
    settings = site(choice, tmp_path)
    assert settings.storage.shared_spool == Path("/srv/npc-contour/spool")
    assert settings.web.needs_accounts
    assert settings.status.port == 8081
    assert settings.triton.url != "embedded"
    if choice == "gpu":
        assert settings.triton.model_repository == Path("/models")
        assert [one.name for one in settings.destinations] == ["tps"]
        assert settings.dicom.access[0].calling_ae_titles == ("CT1",)
        assert settings.retention.images_days == 7


@pytest.mark.parametrize("choice", CHOICES)
def test_commands_are_those_of_the_command_line(choice: str, tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for name, pod in pods(choice).items():
        (container,) = pod["spec"]["containers"]
        if "command" not in container:
            assert (choice, name) == ("gpu", "triton"), "the image of Triton has a command of its own"
            continue
        program, verb, *arguments = container["command"]
        assert program == "npc-contour"
        here = [str(tmp_path / "x") if one.startswith(("/etc/", "/run/")) else one for one in arguments]
        build_parser(verb).parse_args([verb, *here])


@pytest.mark.parametrize("choice", CHOICES)
def test_pods_may_do_little_and_find_what_they_mount(choice: str) -> None:
    for name, pod in pods(choice).items():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        volumes = [volume["name"] for volume in spec["volumes"]]
        assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes), name
        ports = {port["name"] for port in container.get("ports", [])}
        probes = [
            container[kind]["httpGet"]["port"] for kind in ("livenessProbe", "readinessProbe") if kind in container
        ]
        assert set(probes) <= ports


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_selected_exists(choice: str) -> None:
    """Services, disruption budgets and policies select pods; autoscalers name workloads."""
    labels = [pod["metadata"]["labels"] for pod in pods(choice).values()]

    def hits(wanted: Mapping[str, str]) -> bool:
        return any(wanted.items() <= found.items() for found in labels)

    for one in of_kind(choice, "Service"):
        assert hits(one["spec"]["selector"]), one["metadata"]["name"]
        ports = {
            port["name"] for pod in pods(choice).values() for port in pod["spec"]["containers"][0].get("ports", [])
        }
        assert {port["targetPort"] for port in one["spec"]["ports"]} <= ports
    for one in of_kind(choice, "PodDisruptionBudget"):
        assert hits(one["spec"]["selector"]["matchLabels"]), one["metadata"]["name"]
    for one in of_kind(choice, "NetworkPolicy"):
        assert hits(one["spec"]["podSelector"]["matchLabels"]), one["metadata"]["name"]
    workloads = {(one["kind"], one["metadata"]["name"]) for one in of_kind(choice, "Deployment", "StatefulSet")}
    scalers = of_kind(choice, "HorizontalPodAutoscaler")
    assert len(scalers) == (2 if choice == "gpu" else 0)
    for one in scalers:
        target = one["spec"]["scaleTargetRef"]
        assert (target["kind"], target["name"]) in workloads


def test_files_that_the_settings_name_are_mounted_and_their_port_is_open() -> None:
    for name in ("receiver", "worker", "web"):
        spec = pods("secrets")[name]["spec"]
        secrets = {one["name"]: one["secret"]["secretName"] for one in spec["volumes"] if "secret" in one}
        places = {one["mountPath"]: secrets.get(one["name"]) for one in spec["containers"][0]["volumeMounts"]}
        assert places["/etc/tls"] == "npc-contour-dicom-tls"
        assert places["/run/secrets/oidc"] == "npc-contour-oidc"
        assert places["/run/secrets/hooks"] == "npc-hooks"
        assert {"name": "TZ", "value": "Europe/Berlin"} in spec["containers"][0]["env"]
    services = [
        one for one in of_kind("secrets", "Service") if one["metadata"]["name"].endswith(("-dicom", "-receivers"))
    ]
    assert [port["port"] for one in services for port in one["spec"]["ports"] if port["name"] == "dicom-tls"] == [
        2762
    ] * 2
    (policy,) = (one for one in of_kind("secrets", "NetworkPolicy") if one["metadata"]["name"].endswith("-dicom"))
    assert [port["port"] for port in policy["spec"]["ingress"][0]["ports"]] == [11112, 2762]


def test_a_context_may_be_the_sites_own() -> None:
    values = {
        "podSecurityContext": {"runAsUser": None, "fsGroup": 5},
        "containerSecurityContext": {"privileged": False},
    }
    files = helm.render(CHART, values, namespace="x")
    (worker,) = (text for name, text in files.items() if name.endswith("worker.yaml"))
    spec = next(one for one in yaml.safe_load_all(worker) if one)["spec"]["template"]["spec"]

    assert "runAsUser" not in spec["securityContext"]
    assert spec["securityContext"]["fsGroup"] == 5
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["securityContext"]["privileged"] is False


def test_migrations_run_before_anything_else_changes() -> None:
    hooked = [one for one in rendered("defaults") if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    weights = {one["kind"]: int(one["metadata"]["annotations"]["helm.sh/hook-weight"]) for one in hooked}
    assert {one["metadata"]["annotations"]["helm.sh/hook"] for one in hooked} == {"pre-install,pre-upgrade"}
    assert weights["ConfigMap"] < weights["Job"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"worker": {"replicas": "many"}}, "replicas"),
        ({"wroker": {}}, "wroker"),
        ({"database": {"url": "postgresql://npc:secret@db/npc"}}, "url"),
        ({"site": {"dicom": {"ae_title": "A NAME THAT IS TOO LONG"}}}, "ae_title"),
        ({"site": {"storage": {"root": "/x"}}}, "storage"),
        ({"triton": {"kind": "external"}}, "url"),
        ({"site": {"webhooks": [{"secret_file": "/run/x/y"}]}}, r"nothing is mounted where /run/x/y \(secret_file\)"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], says: str) -> None:
    with pytest.raises(helm.HelmRefusal, match=says):
        helm.render(CHART, values, namespace="x")


def test_a_gpu_without_engines_is_refused() -> None:
    with pytest.raises(helm.HelmRefusal, match="existingClaim"):
        helm.render(CHART, {"triton": {"kind": "gpu"}}, namespace="x")
