"""Folders that PostgreSQL's own user may enter, too."""

from npc_testkit.postgres import open_folder

__all__ = ["open_folder"]
