"""DICOM images, read without trust in who wrote them."""
