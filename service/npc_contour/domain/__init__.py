"""Frozen types: what the service talks about."""
