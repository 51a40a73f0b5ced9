"""A real PostgreSQL for the tests of this folder."""

from npc_testkit.postgres import database_url, postgres, store

__all__ = ["database_url", "postgres", "store"]
