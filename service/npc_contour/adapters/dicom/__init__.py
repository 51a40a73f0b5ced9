"""DICOM: receiving, reading, writing, sending."""
