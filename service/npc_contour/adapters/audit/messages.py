"""DICOM audit messages as XML (PS3.15 A.5.1 to A.5.3; the schema that replaced RFC 3881).

A message names studies, Patient IDs, nodes and outcomes; it never holds a patient's name.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from xml.etree.ElementTree import Element, SubElement, tostring

DCM = "DCM"


class EventId(Enum):
    """Event ID (CID 400): code and meaning."""

    APPLICATION_ACTIVITY = ("110100", "Application Activity")
    INSTANCES_ACCESSED = ("110103", "DICOM Instances Accessed")
    INSTANCES_TRANSFERRED = ("110104", "DICOM Instances Transferred")
    SECURITY_ALERT = ("110113", "Security Alert")


class EventType(Enum):
    """Event Type Code (CID 401)."""

    APPLICATION_START = ("110120", "Application Start")
    APPLICATION_STOP = ("110121", "Application Stop")
    NODE_AUTHENTICATION = ("110126", "Node Authentication")


class Role(Enum):
    """Role of an active participant (CID 402)."""

    APPLICATION = ("110150", "Application")
    DESTINATION = ("110152", "Destination Role ID")
    SOURCE = ("110153", "Source Role ID")


SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = 0, 4, 8
"""Event Outcome Indicator."""
ADDRESS, HOST_NAME = "2", "1"
"""Network Access Point Type Code."""


@dataclass(frozen=True, slots=True)
class Participant:
    """Who took part.

    Attributes:
        user: AE title, or what stands for one.
        network: IP address or host name; "" when unknown.
        role: None for a participant whose part has no code.
        requestor: it began what is told.
    """

    user: str
    network: str = ""
    role: Role | None = None
    requestor: bool = False


@dataclass(frozen=True, slots=True)
class Study:
    """A study that is concerned.

    Attributes:
        classes: SOP Class UID → how many instances.
        details: more about it, by name.
    """

    study_instance_uid: str
    classes: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditMessage:
    """One message.

    Attributes:
        action: Event Action Code: C created, R read, E executed.
        alert_text: of a security alert: what happened, in words.
    """

    event: EventId
    event_type: EventType | None = None
    action: str
    at: datetime
    outcome: int = SUCCESS
    participants: Sequence[Participant]
    source: str
    studies: Iterable[Study] = ()
    patient_ids: Iterable[str] = ()
    alert_uri: str = ""
    alert_text: str = ""

    def xml(self) -> bytes:
        """The message in UTF-8, in the order of elements that the schema asks for."""
        root = Element("AuditMessage")
        event = SubElement(
            root,
            "EventIdentification",
            EventActionCode=self.action,
            EventDateTime=self.at.isoformat(timespec="milliseconds"),
            EventOutcomeIndicator=str(self.outcome),
        )
        _code(event, "EventID", self.event.value)
        if self.event_type is not None:
            _code(event, "EventTypeCode", self.event_type.value)
        for participant in self.participants:
            _add_participant(root, participant)
        source = SubElement(root, "AuditSourceIdentification", AuditSourceID=self.source)
        SubElement(source, "AuditSourceTypeCode", {"csd-code": "4", "originalText": "Application Server"})
        if self.alert_text:
            _add_alert(root, self.alert_uri, self.alert_text)
        for study in self.studies:
            _add_study(root, study)
        for patient_id in self.patient_ids:
            patient = _object(root, patient_id, type_code="1", role="1")
            SubElement(
                patient,
                "ParticipantObjectIDTypeCode",
                {"csd-code": "2", "codeSystemName": "RFC-3881", "originalText": "Patient Number"},
            )
        return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _code(parent: Element, name: str, code: tuple[str, str]) -> None:
    SubElement(parent, name, {"csd-code": code[0], "codeSystemName": DCM, "originalText": code[1]})


def _add_participant(root: Element, participant: Participant) -> None:
    attributes = {"UserID": _clean(participant.user), "UserIsRequestor": str(participant.requestor).lower()}
    if participant.network:
        attributes["NetworkAccessPointID"] = participant.network
        is_address = participant.network.replace(".", "").isdecimal() or ":" in participant.network
        attributes["NetworkAccessPointTypeCode"] = ADDRESS if is_address else HOST_NAME
    element = SubElement(root, "ActiveParticipant", attributes)
    if participant.role is not None:
        _code(element, "RoleIDCode", participant.role.value)


def _add_study(root: Element, study: Study) -> None:
    element = _object(root, study.study_instance_uid, type_code="2", role="3")
    _code(element, "ParticipantObjectIDTypeCode", ("110180", "Study Instance UID"))
    for kind, value in study.details.items():
        encoded = b64encode(value.encode()).decode("ascii")
        SubElement(element, "ParticipantObjectDetail", type=kind, value=encoded)
    if study.classes:
        description = SubElement(element, "ParticipantObjectDescription")
        for uid, count in sorted(study.classes.items()):
            SubElement(description, "SOPClass", UID=uid, NumberOfInstances=str(count))


def _add_alert(root: Element, uri: str, text: str) -> None:
    element = _object(root, uri, type_code="2", role="13")
    code = {"csd-code": "12", "codeSystemName": "RFC-3881", "originalText": "URI"}
    SubElement(element, "ParticipantObjectIDTypeCode", code)
    # A detail's value is base64 by the schema; a name that reads by itself stays plain.
    SubElement(element, "ParticipantObjectName").text = _clean(text)


def _object(root: Element, identifier: str, *, type_code: str, role: str) -> Element:
    return SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_clean(identifier),
        ParticipantObjectTypeCode=type_code,
        ParticipantObjectTypeCodeRole=role,
    )


def _clean(text: str) -> str:
    """Drop what XML cannot hold: AE titles and IDs come from strangers."""
    return "".join(letter for letter in text if letter.isprintable())
