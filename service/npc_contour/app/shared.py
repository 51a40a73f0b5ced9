"""What every process makes of the settings."""

from __future__ import annotations

from datetime import UTC, datetime

from npc_contour.adapters.dicom.spool import Spool
from npc_contour.app.runtime import Runtime
from npc_contour.catalog import Catalog, read_catalog


class SystemClock:
    """The time of this machine."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)


def spool_of(runtime: Runtime) -> Spool:
    """Return the spool of the settings."""
    storage = runtime.settings.storage
    return Spool(storage.spool, min_free_mb=storage.min_free_mb)


def catalog_of(runtime: Runtime) -> Catalog:
    """Return the pipelines and networks that the settings enable."""
    settings = runtime.settings
    return read_catalog(settings.triton.model_repository, enabled=settings.routing.pipelines)
