"""A certificate authority for tests, made with openssl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from npc_contour.adapters.dicom.association.tls import TlsFiles
from npc_contour.domain.security import TlsIdentity
from npc_testkit.peers import run_tool


@dataclass(frozen=True, slots=True)
class Identity:
    """One holder of a certificate; PEM files."""

    certificate: Path
    key: Path
    trusted: Path

    @property
    def files(self) -> TlsFiles:
        """As our adapters want it."""
        return TlsFiles(certificate=self.certificate, key=self.key, trusted=self.trusted)

    def calling(self, peer_name: str) -> TlsIdentity:
        """As a destination of ours has it."""
        return TlsIdentity(str(self.certificate), str(self.key), str(self.trusted), peer_name)

    @property
    def dcmtk(self) -> list[str]:
        """Options of a DCMTK program that speaks TLS as this holder."""
        return ["+tls", str(self.key), str(self.certificate), "+cf", str(self.trusted)]


class Authority:
    """Issues certificates into one folder.

    Args:
        folder: made when absent.
        name: common name of the authority.
    """

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "ca.key", "-out",
                 self.certificate, "-subj", f"/CN={name}", "-days", "2")  # fmt: skip

    def issue(self, name: str, *, days: int = 2, trusting: Path | None = None) -> Identity:
        """Issue a certificate for a name, also valid for 127.0.0.1.

        Args:
            name: common name and DNS name.
            days: from now; negative has ended already.
            trusting: certificate of the authority that the holder believes; None is this one's.
        """
        stem = name.replace("*", "any")
        key, request, certificate = (self._folder / f"{stem}.{ending}" for ending in ("key", "csr", "pem"))
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={name}",
                 "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1")  # fmt: skip
        _openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._folder / "ca.key",
                 "-CAcreateserial", "-copy_extensions", "copy", "-days", str(days), "-out", certificate)  # fmt: skip
        return Identity(certificate, key, trusting or self.certificate)


def _openssl(*arguments: str | Path) -> None:
    result = run_tool("openssl", *arguments)
    assert result.returncode == 0, result.stderr
