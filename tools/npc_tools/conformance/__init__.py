"""The DICOM Conformance Statement of this version, made from the tables that the code runs on."""
