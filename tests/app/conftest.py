"""Folders that PostgreSQL's own user may enter, too."""

from npc_testkit.postgres import database_url, open_folder, postgres, store

__all__ = ["database_url", "open_folder", "postgres", "store"]
