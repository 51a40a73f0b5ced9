"""Tools beside the service: the capacity of a site, and the DICOM Conformance Statement."""
