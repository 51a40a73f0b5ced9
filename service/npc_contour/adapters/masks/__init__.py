"""Masks and their names in files."""
