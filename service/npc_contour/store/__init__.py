"""PostgreSQL: what exists and where it stands."""
