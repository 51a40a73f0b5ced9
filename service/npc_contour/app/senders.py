"""Destinations of every kind in the shape of the ports."""

from __future__ import annotations

from npc_contour.adapters.dicom.send.scu import DicomSender
from npc_contour.adapters.dicom.send.verification import DicomVerifier
from npc_contour.adapters.stow import WebSender
from npc_contour.adapters.watched_folder import FolderSender
from npc_contour.domain.jobs import AnyDestination, Destination, Evidence, FolderDestination, StoreReceipt
from npc_contour.settings import Settings


class Senders:
    """Sends to destinations and asks what they hold, each in its own way.

    Args:
        settings: the site's.
        timeout_s: for connecting and for each answer; None takes `delivery.timeout_s`.
    """

    def __init__(self, settings: Settings, timeout_s: float | None = None) -> None:
        delivery, title = settings.delivery, settings.dicom.ae_title
        wait_s = delivery.timeout_s if timeout_s is None else timeout_s
        self._dicom = DicomSender(title, wait_s)
        self._verifier = DicomVerifier(title, wait_s, commitment_wait_s=delivery.commitment_wait_s)
        self._web = WebSender(wait_s)
        self._folder = FolderSender()

    def send(self, instance: bytes, destination: AnyDestination) -> StoreReceipt:
        """Send one object and return the answer, whatever it says; raises SendError when there is none."""
        if isinstance(destination, Destination):
            return self._dicom.send(instance, destination)
        if isinstance(destination, FolderDestination):
            return self._folder.send(instance, destination)
        return self._web.send(instance, destination)

    def ask(self, instance: bytes, destination: AnyDestination, transaction_uid: str) -> Evidence:
        """Ask whether a destination holds an object; raises SendError when there is no answer."""
        if isinstance(destination, Destination):
            return self._verifier.ask(instance, destination, transaction_uid)
        if isinstance(destination, FolderDestination):
            return self._folder.ask(instance, destination)
        return self._web.ask(instance, destination)

    def reach(self, destination: AnyDestination) -> str:
        """Return in words that a destination can be reached; raises SendError when it cannot."""
        if isinstance(destination, Destination):
            result = self._dicom.echo(destination)
            return f"{destination.ae_title} at {destination.host}:{destination.port}: {result.seconds * 1000:.0f} ms"
        if isinstance(destination, FolderDestination):
            return self._folder.reach(destination)
        return self._web.reach(destination)
