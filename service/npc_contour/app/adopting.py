"""A person lets a spool and a database belong together."""

from __future__ import annotations

from contextlib import ExitStack

from npc_contour.adapters.workflow.queue import apply_queue_schema, defer
from npc_contour.app.shared import spool_at
from npc_contour.app.supervisor import embedded_database, sole_user
from npc_contour.application.installation import adopt_spool
from npc_contour.application.upkeep import lose
from npc_contour.settings import Settings
from npc_contour.store.database import Store, migrate


def adopt(settings: Settings) -> str:
    """Let the spool of the settings and their database belong together; return in words what that means.

    Images that the database knows and the spool lacks are lost, and their series held until they are sent again.

    Raises:
        SettingsError: a service runs with this storage.
        EmbeddedServerError: the embedded database cannot start.
        StoreError: the database does not answer.
    """
    settings.storage.root.mkdir(parents=True, exist_ok=True)
    with sole_user(settings.storage.root), ExitStack() as servers:
        database = embedded_database(settings, servers)
        url = database.url if database else settings.database.url
        migrate(url, apply_queue_schema)
        spool = spool_at(settings)
        with Store(url, defer, pool_size=2) as store:
            adopt_spool(store, spool)
            with store.transaction() as tx:
                known = tx.instance_keys()
            lost = [key for key in known if not spool.exists(key)]
            lose(store, lost, store.clock.now())
            unknown = sum(name not in known for name, _ in spool.instance_files())
    words = f"{settings.storage.spool} belongs to this database from now on"
    if lost:
        words += f"; {len(lost)} images are gone, their series are held until they are sent again"
    if unknown:
        words += (
            f"; the next start takes in {unknown} images that the database does not know, as if they had just come:"
            " they are contoured and sent"
        )
    return words
