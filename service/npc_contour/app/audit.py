"""Turn the audit trail on in one process."""

from __future__ import annotations

import logging

from npc_contour.adapters.audit.syslog import SyslogSender, SyslogTarget
from npc_contour.adapters.audit.trail import AuditTrail
from npc_contour.settings import Settings

AUDIT_FILE = "audit.log"


def audit(settings: Settings) -> AuditTrail | None:
    """Have what this process logs audited as the settings say; closed by `logging.shutdown` at the process's end.

    Args:
        settings: the site's.

    Returns:
        The trail; None when the settings want none.

    Raises:
        SettingsError: the address of the syslog server is none.
    """
    rules = settings.audit
    if not rules.file and not rules.syslog:
        return None
    sender = None
    if rules.syslog:
        sender = SyslogSender(
            SyslogTarget.parse(rules.syslog, trusted=rules.trusted, certificate=rules.certificate, key=rules.key)
        )
        sender.start()
    file = settings.storage.logs / AUDIT_FILE if rules.file else None
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    trail = AuditTrail(settings.dicom.ae_title, file, sender)
    root = logging.getLogger()
    root.addHandler(trail)
    # What is audited is logged at INFO: a quieter log must not silence the trail.
    for handler in root.handlers:
        if handler is not trail and handler.level < root.level:
            handler.setLevel(root.level)
    root.setLevel(min(root.level, logging.INFO))
    return trail
