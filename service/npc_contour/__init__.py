"""Auto-contouring for radiotherapy of nasopharyngeal carcinoma: CT in over DICOM, RTSTRUCT out."""

__version__ = "0.1.0"
