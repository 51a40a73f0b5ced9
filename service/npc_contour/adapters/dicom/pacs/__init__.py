"""Asking a PACS or a worklist server, and fetching from it."""
