"""REST for hospital IT: health, version, metrics, jobs."""
