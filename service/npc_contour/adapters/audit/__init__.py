"""The audit trail: DICOM audit messages (PS3.15 A.5) of what the service logs, to a file and to a syslog server."""
