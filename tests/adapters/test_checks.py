"""Each check tells what it found and, when that is not ok, what to do."""

from __future__ import annotations

import hashlib
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI

from npc_contour.adapters.api.server import BackgroundServer
from npc_contour.adapters.checks import (
    Probes,
    demo_allowed,
    doctor_checks,
    embedded_database_can_start,
    folder_writable,
    free_bytes,
    free_space,
    own_receiver,
    port_usable,
    rest_answers,
    room_for_a_study,
    service_checks,
    spool_space,
    weights_match,
)
from npc_contour.application.checks import Checkup, is_ready
from npc_contour.catalog import Catalog
from npc_contour.domain.jobs import AnyDestination, Destination
from npc_contour.domain.pipelines import NetworkContract, Normalisation
from npc_contour.domain.status import CheckResult
from npc_contour.errors import (
    CatalogError,
    DemoNotAllowedError,
    EmbeddedServerError,
    InferenceError,
    NetworkMismatchError,
    NetworkNotLoadedError,
    SendError,
    SettingsError,
    SpoolFullError,
    StoreError,
)
from npc_contour.settings import Settings, Storage, Web

WEIGHTS = b"weights"
CONTRACT = NetworkContract(
    name="ln_ctv", version="1.0.0", demo=True, channels=("CT",), spacing_zyx_mm=(3.0, 1.0, 1.0),
    patch_zyx=(32, 96, 96), normalisation=(Normalisation((-1000.0, 1000.0), 0.0, 300.0),), crop_above_hu=None,
    crop_margin_mm=0.0, labels=("background", "R_II"), step=0.5, weights_file="1/network.onnx",
    weights_sha256=hashlib.sha256(WEIGHTS).hexdigest(), contract_sha256="b" * 64,
)  # fmt: skip
CATALOG = Catalog({}, {"ln_ctv": CONTRACT})
LOCAL = Destination("tps", "TPS", "127.0.0.1", 104)
FAR = Destination("tps", "TPS", "10.0.0.9", 104)


def fine(*_: object) -> str:
    return "fine"


def site(root: Path, **changes: object) -> Settings:
    return Settings.model_validate(
        {
            "storage": {"root": str(root), "min_free_mb": 1},
            "dicom": {"port": 0},
            "web": {"port": 0},
            "triton": {"model_repository": str(root / "triton_repo")},
            "destinations": [{"name": "tps", "ae_title": "TPS", "host": "10.0.0.9", "port": 104}],
            **changes,
        }
    )


def probes() -> Probes:
    return Probes(reach=fine, database=fine, triton=fine, network=fine, embedded_triton=fine)


def install_weights(root: Path, content: bytes = WEIGHTS) -> None:
    folder = root / "triton_repo" / "ln_ctv" / "1"
    folder.mkdir(parents=True)
    (folder / "network.onnx").write_bytes(content)


def by_name(results: tuple[CheckResult, ...]) -> dict[str, CheckResult]:
    return {result.name: result for result in results}


def test_a_network_that_was_never_compared_with_its_original_is_told(tmp_path: Path) -> None:
    clinical = Catalog({}, {CONTRACT.name: replace(CONTRACT, demo=False)})

    (parity,) = (one for one in doctor_checks(site(tmp_path), clinical, probes()) if one.name == "parity:ln_ctv")

    assert not parity.required
    with pytest.raises(CatalogError, match="ln_ctv was never compared with the framework it came from"):
        parity.probe()


def test_service_is_ready_when_everything_answers(tmp_path: Path) -> None:
    settings = site(tmp_path)
    with Checkup(service_checks(settings, CATALOG, probes(), own_receiver(settings, 11112))) as checkup:
        results = checkup.run()

    assert [r.name for r in results] == ["database", "spool", "triton", "network:ln_ctv", "receiver", "destination:tps"]
    assert all(result.ok for result in results)


def test_silent_destination_degrades_but_does_not_stop(tmp_path: Path) -> None:
    def echo(destination: AnyDestination) -> str:
        if destination.name == "tps":
            raise SendError("tps cannot be reached")
        return "fine"

    settings = site(tmp_path)
    with Checkup(service_checks(settings, CATALOG, replace(probes(), reach=echo), own_receiver(settings))) as checkup:
        results = checkup.run()

    assert is_ready(results)
    assert not by_name(results)["destination:tps"].ok
    assert "AE titles" in by_name(results)["destination:tps"].remedy


def test_other_network_in_triton_is_not_ready(tmp_path: Path) -> None:
    def network(contract: NetworkContract) -> str:
        raise NetworkMismatchError(f"{contract.name}: contract abc, expected {contract.contract_sha256}")

    settings = site(tmp_path)
    with Checkup(
        service_checks(settings, CATALOG, replace(probes(), network=network), own_receiver(settings))
    ) as checkup:
        results = checkup.run()

    assert not is_ready(results)
    assert "contract abc" in by_name(results)["network:ln_ctv"].detail


def test_doctor_passes_on_a_sound_site(tmp_path: Path) -> None:
    install_weights(tmp_path)
    local = [{"name": "tps", "ae_title": "TPS", "host": "127.0.0.1", "port": 104}]
    with Checkup(doctor_checks(site(tmp_path, destinations=local), CATALOG, probes())) as checkup:
        results = checkup.run()

    assert [(r.name, r.detail) for r in results if not r.ok] == []
    assert {"storage", "spool", "dicom port", "web port", "database", "triton", "network:ln_ctv"} <= set(
        by_name(results)
    )


def test_doctor_names_wrong_weights_and_the_demo_rule(tmp_path: Path) -> None:
    install_weights(tmp_path, b"others")
    with Checkup(doctor_checks(site(tmp_path), CATALOG, probes())) as checkup:
        results = by_name(checkup.run())

    assert not results["network:ln_ctv"].ok
    assert CONTRACT.weights_sha256 in results["network:ln_ctv"].detail
    assert not results["demo rule:tps"].ok
    assert "allow_demo" in results["demo rule:tps"].remedy


def test_missing_weights_are_an_os_error_with_the_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"ln_ctv/1/network\.onnx"):
        weights_match(tmp_path, CONTRACT)


def test_other_weights_are_told_with_both_sums(tmp_path: Path) -> None:
    install_weights(tmp_path, b"others")

    with pytest.raises(CatalogError, match=CONTRACT.weights_sha256):
        weights_match(tmp_path / "triton_repo", CONTRACT)


def test_free_space_is_asked_of_the_disk_even_before_the_folder_exists(tmp_path: Path) -> None:
    assert "MiB free at" in free_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(SpoolFullError, match="at least 1000000000 MiB needed"):
        free_space(tmp_path, 1_000_000_000)


def test_folder_that_is_a_file_is_not_writable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    assert folder_writable(tmp_path / "new").endswith("can be written")
    with pytest.raises(OSError, match="file"):
        folder_writable(tmp_path / "file")


def test_port_is_free_held_by_us_or_held_by_others() -> None:
    def not_ours() -> str:
        raise SendError("receiver closed the connection")

    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = int(holder.getsockname()[1])

        assert "held by a running service: fine" in port_usable("127.0.0.1", port, fine)
        with pytest.raises(
            SettingsError, match=rf"127\.0\.0\.1:{port}: Address already in use, and not by this service"
        ):
            port_usable("127.0.0.1", port, not_ours)

    assert port_usable("127.0.0.1", port, not_ours) == f"127.0.0.1:{port} is free"


def test_address_of_another_machine_is_named() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1:0: Cannot assign"):
        port_usable("192.0.2.1", 0, fine)


def test_rest_of_this_service_is_known_from_another_program() -> None:
    app = FastAPI()
    app.get("/health/live")(lambda: {"status": "alive"})
    with BackgroundServer(app, "127.0.0.1", 0) as ours:
        assert rest_answers(Web(port=ours.port)) == "REST answers"

    with BackgroundServer(FastAPI(), "127.0.0.1", 0) as other, pytest.raises(SettingsError, match="another program"):
        rest_answers(Web(port=other.port))

    with pytest.raises(SettingsError, match="refused"):
        rest_answers(Web(port=other.port))


def test_demo_results_leave_this_machine_only_by_permission() -> None:
    assert "is this machine" in demo_allowed(LOCAL, CATALOG)
    assert "never use for treatment" in demo_allowed(replace(FAR, allow_demo=True), CATALOG)
    assert demo_allowed(FAR, Catalog({}, {"x": replace(CONTRACT, demo=False)})) == "no demo network in use"
    with pytest.raises(DemoNotAllowedError, match=r"ln_ctv are not sent to 10\.0\.0\.9"):
        demo_allowed(FAR, CATALOG)


@pytest.mark.parametrize(("host", "called"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("10.1.2.3", "10.1.2.3")])  # noqa: S104
def test_receiver_is_called_where_it_listens(tmp_path: Path, host: str, called: str) -> None:
    settings = site(tmp_path, dicom={"host": host, "port": 104})

    receiver = own_receiver(settings)

    assert (receiver.host, receiver.port, receiver.ae_title) == (called, 104, "NPC_CONTOUR")


def test_the_doctor_asks_each_pacs_over_dimse(tmp_path: Path) -> None:
    rows = [
        {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104},
        {"name": "web", "ae_title": "W", "host": "h", "port": 1, "retrieve": "web", "web_url": "http://127.0.0.1/x"},
    ]
    asked: list[str] = []

    def reach(destination: AnyDestination) -> str:
        asked.append(destination.name)
        return "answers"

    checks = doctor_checks(site(tmp_path, pacs=rows), CATALOG, replace(probes(), reach=reach))
    for check in checks:
        if check.name.startswith("pacs:"):
            check.probe()

    assert asked == ["pacs"]


def test_a_disk_that_refuses_the_next_study_is_not_ok(tmp_path: Path) -> None:
    free_mb = free_bytes(tmp_path) // 2**20
    storage = Storage(root=tmp_path, min_free_mb=free_mb - 100, reserve_mb=50)
    assert "needed for one more study" in room_for_a_study(storage)

    with pytest.raises(SpoolFullError, match=f"at least {free_mb + 100} MiB needed"):
        room_for_a_study(storage.model_copy(update={"reserve_mb": 200}))


def test_a_spool_that_takes_no_file_is_not_ok(tmp_path: Path) -> None:
    (tmp_path / "spool").symlink_to("/proc/self/fd")  # a folder in which nobody can make a file

    empty = {"root": str(tmp_path), "min_free_mb": 0, "reserve_mb": 0}

    with Checkup([spool_space(site(tmp_path, storage=empty))]) as checkup:
        (result,) = checkup.run()

    assert not result.ok
    assert result.remedy.startswith("give the service's user write access")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (InferenceError("cannot be reached"), "see the line `triton`"),
        (NetworkMismatchError("another contract"), "install matching versions"),
        (NetworkNotLoadedError("out of memory"), "Triton's log says why"),
    ],
)
@pytest.mark.parametrize("url", ["embedded", "gpu:8001"])
def test_what_to_do_about_a_network_depends_on_what_is_wrong_with_it(
    tmp_path: Path, url: str, error: Exception, remedy: str
) -> None:
    def fails(_: NetworkContract) -> str:
        raise error

    install_weights(tmp_path)
    settings = site(tmp_path, triton={"model_repository": str(tmp_path / "triton_repo"), "url": url})
    asked = replace(probes(), network=fails)
    with (
        Checkup(service_checks(settings, CATALOG, asked, None)) as ready,
        Checkup(doctor_checks(settings, CATALOG, asked)) as doctor,
    ):
        said, foretold = by_name(ready.run())["network:ln_ctv"], by_name(doctor.run())["network:ln_ctv"]

    assert remedy in said.remedy
    # Before the start an embedded Triton cannot be asked: its line `triton` starts one.
    assert replace(foretold, seconds=0.0) == replace(said, seconds=0.0) or url == "embedded"


@pytest.mark.parametrize("database", ["embedded", "postgresql://npc@db/npc"])
def test_readiness_and_check_say_the_same_of_the_same(tmp_path: Path, database: str) -> None:
    def fails(*_: object) -> str:
        raise StoreError("database: no answer")

    settings = site(tmp_path, database={"url": database}, triton={"url": "gpu:8001"})
    asked = Probes(reach=fails, database=fails, triton=fails, network=fails, embedded_triton=fails)
    ready = {check.name: check for check in service_checks(settings, CATALOG, asked, None)}
    check = {check.name: check for check in doctor_checks(settings, CATALOG, asked)}

    both = set(ready) & set(check) - ({"database"} if database == "embedded" else set())
    assert {"spool", "triton", "network:ln_ctv", "destination:tps"} <= both
    assert {name: ready[name].remedy for name in both} == {name: check[name].remedy for name in both}
    assert "starts it again itself" in ready["database"].remedy or database != "embedded"
    assert "starts it" not in ready["database"].remedy or database == "embedded"


def test_a_user_without_a_name_is_told_before_the_start_where_nothing_gives_him_one(tmp_path: Path) -> None:
    nobody = 2**31 - 5
    with pytest.raises(EmbeddedServerError, match=f"user id {nobody} has no entry in /etc/passwd"):
        embedded_database_can_start(tmp_path / "postgres", nobody, libraries=[])

    (tmp_path / "libnss_wrapper.so").touch()
    assert "installed" in embedded_database_can_start(tmp_path / "postgres", nobody, libraries=[str(tmp_path)])
    assert "installed" in embedded_database_can_start(tmp_path / "postgres", libraries=[])
