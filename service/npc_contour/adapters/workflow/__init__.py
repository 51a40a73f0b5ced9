"""Procrastinate: work that survives, in the database that holds the state."""
