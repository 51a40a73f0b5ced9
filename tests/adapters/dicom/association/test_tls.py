"""TLS in and out, with stacks that nobody here wrote; and every way not to be let in."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from npc_contour.adapters.dicom.association.tls import LOOK_EVERY_S, server_context
from npc_contour.adapters.dicom.receive.access import AccessRule
from npc_contour.adapters.dicom.receive.scp import AssociationInfo, Deadlines, Receiver, ReceiverSettings, TlsPort
from npc_contour.adapters.dicom.send.scu import echo, send_series
from npc_contour.adapters.dicom.spool.files import Spool
from npc_contour.domain.jobs import Destination
from npc_contour.errors import SendError, SettingsError
from npc_testkit.certificates import Authority, Identity
from npc_testkit.ct_series import CtPlan, ct_datasets, write_series
from npc_testkit.orthanc import orthanc
from npc_testkit.peers import run_tool, storescp

AET = "NPC_CONTOUR"
OUR_NAME, SCANNER = "npc.hospital.example", "ct1.hospital.example"


@dataclass(frozen=True)
class Hospital:
    """An authority, us, a scanner that it knows, and strangers."""

    authority: Authority
    ours: Identity
    scanner: Identity
    expired: Identity
    stranger: Identity


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    folder = tmp_path_factory.mktemp("tls")
    authority, other = Authority(folder / "ca"), Authority(folder / "other", "Another CA")
    return Hospital(
        authority,
        authority.issue(OUR_NAME),
        authority.issue(SCANNER),
        authority.issue("old.hospital.example", days=-1),
        other.issue("evil.example", trusting=authority.certificate),
    )


@dataclass
class Desk:
    receiver: Receiver
    seen: list[AssociationInfo]

    @property
    def tls_port(self) -> str:
        return str(self.receiver.tls_port)


@contextmanager
def desk(folder: Path, ours: Identity, *, client_certificates: bool = True, **changes: Any) -> Iterator[Desk]:
    seen: list[AssociationInfo] = []
    tls = TlsPort(port=0, files=ours.files, client_certificates=client_certificates)
    receiver = Receiver(
        ReceiverSettings(**{"port": 0, "tls": tls, "stop_grace_s": 0.5, **changes}),
        Spool(folder / "spool", min_free_mb=1),
        lambda _header, _key, info, _flush: seen.append(info),
    )
    with receiver:
        yield Desk(receiver, seen)


def echoscu(running: Desk, *options: str) -> int:
    return run_tool("echoscu", *options, "-aec", AET, "127.0.0.1", running.tls_port).returncode


def test_a_series_comes_by_storescu_over_tls_and_its_holder_is_known(hospital: Hospital, tmp_path: Path) -> None:
    sources = write_series(tmp_path / "out", ct_datasets(CtPlan(slices=5)))
    with desk(tmp_path, hospital.ours, access=(AccessRule(tls_subjects=(SCANNER,)),)) as running:
        result = run_tool("storescu", *hospital.scanner.dcmtk, "-aec", AET, "127.0.0.1", running.tls_port, *sources)

    assert result.returncode == 0, result.stderr
    assert [info.tls_subject for info in running.seen] == [SCANNER] * 5


def test_the_plain_port_stays_open_beside_but_proves_nothing(hospital: Hospital, tmp_path: Path) -> None:
    rules = (AccessRule(tls_subjects=("*",)), AccessRule(calling_ae_titles=("PLAIN",)))
    with desk(tmp_path, hospital.ours, access=rules) as running:
        plain = str(running.receiver.port)
        assert run_tool("echoscu", "-aet", "PLAIN", "-aec", AET, "127.0.0.1", plain).returncode == 0
        assert run_tool("echoscu", "-aet", "CT1", "-aec", AET, "127.0.0.1", plain).returncode != 0
        assert echoscu(running, *hospital.scanner.dcmtk, "-aet", "CT1") == 0


@pytest.mark.parametrize("who", ["stranger", "expired", "nobody", "plain"])
def test_who_proves_nothing_is_not_let_in_and_others_are(who: str, hospital: Hospital, tmp_path: Path) -> None:
    options = {
        "stranger": hospital.stranger.dcmtk,
        "expired": hospital.expired.dcmtk,
        "nobody": ["+tla", "+cf", str(hospital.authority.certificate)],
        "plain": [],
    }[who]
    with desk(tmp_path, hospital.ours, deadlines=Deadlines(associate_s=2.0)) as running:
        assert echoscu(running, *options) != 0
        assert echoscu(running, *hospital.scanner.dcmtk) == 0


def test_without_asking_for_certificates_tls_still_hides_what_is_sent(hospital: Hospital, tmp_path: Path) -> None:
    with desk(tmp_path, hospital.ours, client_certificates=False) as running:
        assert echoscu(running, "+tla", "+cf", str(hospital.authority.certificate)) == 0


def test_a_subject_that_no_rule_names_is_rejected(hospital: Hospital, tmp_path: Path) -> None:
    with desk(tmp_path, hospital.ours, access=(AccessRule(tls_subjects=("ct2.hospital.example",)),)) as running:
        result = run_tool("echoscu", *hospital.scanner.dcmtk, "-aec", AET, "127.0.0.1", running.tls_port)

    assert result.returncode != 0
    assert "Association Rejected" in result.stderr


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_versions_before_1_2_and_weak_ciphers_find_no_handshake(hospital: Hospital) -> None:
    server = server_context(hospital.ours.files)

    assert server.minimum_version is ssl.TLSVersion.TLSv1_2
    names = [cipher["name"] for cipher in server.get_ciphers()]
    assert names
    assert [name for name in names if not (name.startswith(("ECDHE-", "TLS_")) and ("GCM" in name or "CHACHA" in name))
            and "CCM" not in name] == []  # fmt: skip


def test_a_client_of_an_old_version_is_refused(hospital: Hospital, tmp_path: Path) -> None:
    with desk(tmp_path, hospital.ours) as running:
        proof = ("-cert", hospital.scanner.certificate, "-key", hospital.scanner.key)
        weak = ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        old = run_tool("openssl", "s_client", "-connect", f"127.0.0.1:{running.tls_port}", *weak, *proof)
        assert old.returncode != 0
        assert echoscu(running, *hospital.scanner.dcmtk) == 0


def test_silent_and_half_shaken_peers_hold_nobody_up(hospital: Hospital, tmp_path: Path) -> None:
    with desk(tmp_path, hospital.ours, deadlines=Deadlines(associate_s=1.5)) as running:
        peers = []
        for number in range(20):
            peer = socket.create_connection(("127.0.0.1", running.receiver.tls_port), timeout=10)
            if number % 2:
                peer.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
            peers.append(peer)
        assert echoscu(running, *hospital.scanner.dcmtk) == 0
        for peer in peers:
            with peer, contextlib.suppress(ConnectionError):
                while peer.recv(1024):
                    pass


def test_a_renewed_certificate_is_taken_without_a_restart_a_broken_one_is_not(
    hospital: Hospital, tmp_path: Path
) -> None:
    mine = Identity(tmp_path / "mine.pem", tmp_path / "mine.key", hospital.ours.trusted)
    other = hospital.authority.issue("renewed.hospital.example")

    def put(identity: Identity, at: int) -> None:
        for source, target in ((identity.certificate, mine.certificate), (identity.key, mine.key)):
            shutil.copy(source, target)
            os.utime(target, (at, at))

    def shown() -> str:
        context = ssl.create_default_context(cafile=hospital.authority.certificate)
        context.load_cert_chain(hospital.scanner.certificate, hospital.scanner.key)
        with (
            socket.create_connection(("127.0.0.1", running.receiver.tls_port), timeout=10) as bare,
            context.wrap_socket(bare, server_hostname="127.0.0.1") as peer,
        ):
            return str((peer.getpeercert() or {})["subject"])

    put(hospital.ours, 1000)
    with desk(tmp_path, mine) as running:
        assert OUR_NAME in shown()
        put(other, 2000)
        time.sleep(LOOK_EVERY_S)
        assert "renewed" in shown()
        mine.certificate.write_text("no certificate", encoding="ascii")
        time.sleep(LOOK_EVERY_S)
        assert "renewed" in shown()


def test_files_that_cannot_be_used_refuse_to_start(hospital: Hospital, tmp_path: Path) -> None:
    broken = Identity(tmp_path / "nowhere.pem", hospital.ours.key, hospital.ours.trusted)

    with pytest.raises(SettingsError, match=r"dicom\.tls\.certificate.*nowhere\.pem.*No such file"):
        desk(tmp_path, broken).__enter__()
    mixed = Identity(hospital.ours.certificate, hospital.scanner.key, hospital.ours.trusted)
    with pytest.raises(SettingsError, match=r"dicom\.tls\.certificate"):
        desk(tmp_path, mixed).__enter__()


def test_we_send_over_tls_to_storescp(hospital: Hospital, tmp_path: Path) -> None:
    write_series(tmp_path / "out", ct_datasets(CtPlan(slices=5)))
    tps = hospital.authority.issue("tps.hospital.example")
    with storescp(tmp_path / "tps", options=tps.dcmtk) as port:
        there = Destination("tps", "TPS", "127.0.0.1", port, tls=hospital.ours.calling("tps.hospital.example"))
        report = send_series(tmp_path / "out", there, AET, 10.0)

        assert not report.failures
        assert len(list((tmp_path / "tps").iterdir())) == 5
        clear = Destination("tps", "TPS", "127.0.0.1", port)
        with pytest.raises(SendError):
            echo(clear, AET, 3.0)


def test_whom_we_call_must_hold_the_name_and_a_believed_certificate(hospital: Hospital, tmp_path: Path) -> None:
    with storescp(tmp_path / "tps", options=hospital.scanner.dcmtk) as port:
        wrong = Destination("tps", "TPS", "127.0.0.1", port, tls=hospital.ours.calling("tps.hospital.example"))
        with pytest.raises(SendError, match=r"certificate verification failed: .*tps\.hospital\.example"):
            echo(wrong, AET, 5.0)
        by_address = Destination("tps", "TPS", "127.0.0.1", port, tls=hospital.ours.calling(""))
        assert echo(by_address, AET, 5.0).destination == "tps"
    with storescp(tmp_path / "tps", options=hospital.stranger.dcmtk) as port:
        evil = Destination("tps", "TPS", "127.0.0.1", port, tls=hospital.ours.calling("evil.example"))
        with pytest.raises(SendError, match="certificate verification failed"):
            echo(evil, AET, 5.0)
    with storescp(tmp_path / "tps") as port:
        clear = Destination("tps", "TPS", "127.0.0.1", port, tls=hospital.ours.calling(""))
        with pytest.raises(SendError):
            echo(clear, AET, 3.0)


def test_orthanc_sends_to_us_and_takes_from_us_over_tls(hospital: Hospital, tmp_path: Path) -> None:
    write_series(tmp_path / "out", ct_datasets(CtPlan(slices=5)))
    pacs = hospital.authority.issue("pacs.hospital.example")
    with desk(tmp_path, hospital.ours) as running:
        options = {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(pacs.certificate),
            "DicomTlsPrivateKey": str(pacs.key),
            "DicomTlsTrustedCertificates": str(pacs.trusted),
            "DicomTlsRemoteCertificateRequired": True,
            "DicomModalities": {
                "us": {"AET": AET, "Host": "127.0.0.1", "Port": running.receiver.tls_port, "UseDicomTls": True}
            },
        }
        with orthanc(tmp_path / "orthanc", options=options) as node:
            there = Destination(
                "pacs", node.ae_title, "127.0.0.1", node.dicom_port, tls=hospital.ours.calling("pacs.hospital.example")
            )
            report = send_series(tmp_path / "out", there, AET, 20.0)
            assert not report.failures
            instances = node.get("/instances")
            assert len(instances) == 5
            node.post("/modalities/us/store", instances)

    assert [info.tls_subject for info in running.seen] == ["pacs.hospital.example"] * 5
