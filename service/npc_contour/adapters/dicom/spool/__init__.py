"""Files that the service keeps."""
