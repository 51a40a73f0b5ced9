"""TLS by PS3.15 annex B.12 (BCP 195, RFC 9325): version 1.2 or 1.3, forward secrecy, authenticated ciphers only.

Certificates are files that a hospital's own tools renew; a changed file is taken with the next handshake, without a
restart. One that cannot be used is logged once, and the one before stays in use.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from npc_contour.errors import SettingsError
from npc_contour.logs import Event

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL"
"""Of TLS 1.2; all of TLS 1.3 (RFC 8446) have forward secrecy and are authenticated."""
LOOK_EVERY_S = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Who we are and whom we trust, in PEM files.

    Attributes:
        certificate: ours, followed by those between it and the root.
        key: its private key, without a passphrase.
        trusted: certificates of the authorities whose peers are let in.
    """

    certificate: Path
    key: Path
    trusted: Path

    def stamps(self) -> tuple[int, ...]:
        """Changes when a file does."""
        return tuple(path.stat().st_mtime_ns for path in (self.certificate, self.key, self.trusted))


def server_context(files: TlsFiles, *, client_certificates: bool = True) -> ssl.SSLContext:
    """For the accepting side.

    Args:
        files: ours.
        client_certificates: whether a peer must prove to hold a certificate of a trusted authority.

    Raises:
        SettingsError: a file cannot be used; the message names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_RENEGOTIATION
    context.verify_mode = ssl.CERT_REQUIRED if client_certificates else ssl.CERT_NONE
    return _loaded(context, files)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For the calling side: the peer's certificate must be of a trusted authority and name the host.

    Raises:
        SettingsError: a file cannot be used; the message names it.
    """
    return _loaded(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), files)


def _loaded(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    try:
        context.load_cert_chain(files.certificate, files.key)
    except OSError as error:
        where = f"dicom.tls.certificate, dicom.tls.key: {files.certificate}, {files.key}"
        raise SettingsError(f"{where}: {error.strerror or error}") from error
    try:
        context.load_verify_locations(files.trusted)
    except OSError as error:
        raise SettingsError(f"dicom.tls.trusted: {files.trusted}: {error.strerror or error}") from error
    return context


class Reloading:
    """The context of files that may change; safe for several threads.

    Args:
        files: ours.
        make: builds a context of them.

    Raises:
        SettingsError: they cannot be used now.
    """

    def __init__(self, files: TlsFiles, make: Callable[[TlsFiles], ssl.SSLContext]) -> None:
        self._files = files
        self._make = make
        self._lock = threading.Lock()
        self._context = make(files)
        self._stamps = files.stamps()
        self._looked = time.monotonic()

    def __call__(self) -> ssl.SSLContext:
        """The context for the next handshake."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked >= LOOK_EVERY_S:
                self._looked = now
                self._look()
            return self._context

    def _look(self) -> None:
        try:
            stamps = self._files.stamps()
            if stamps == self._stamps:
                return
            self._stamps = stamps
            self._context = self._make(self._files)
        except (OSError, SettingsError) as error:
            logger.error(Event.CERTIFICATE_UNUSABLE, extra={"error": str(error)})  # noqa: TRY400  said in full
            return
        logger.info(Event.CERTIFICATE_RELOADED, extra={"certificate": str(self._files.certificate)})


def certificate_names(connection: object) -> tuple[str, ...]:
    """Common name and DNS names of the certificate that a peer proved to hold; () without one."""
    if not isinstance(connection, ssl.SSLSocket):
        return ()
    certificate = connection.getpeercert() or {}
    names: list[str] = []
    for key, value in certificate.items():
        if key == "subject":
            names += [str(entry[1]) for group in value for entry in group if entry[0] == "commonName"]
        elif key == "subjectAltName":
            names += [str(entry[1]) for entry in value if entry[0] == "DNS"]
    return tuple(dict.fromkeys(names))
