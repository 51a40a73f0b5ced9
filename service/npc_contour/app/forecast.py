"""When will the disk be full? A look at how it has filled, for readiness."""

from __future__ import annotations

from datetime import datetime

from npc_contour.application.checks import Check
from npc_contour.application.upkeep import forecast
from npc_contour.errors import SpoolFullError
from npc_contour.settings import Settings
from npc_contour.store.database import Store

MEBIBYTE = 2**20
FORECAST = "disk forecast"
"""Name of the check."""
_SAMPLES = "SELECT at, free_bytes FROM disk_sample WHERE at > now() - interval '7 days' ORDER BY at"


def days_until_full(store: Store, settings: Settings) -> float | None:
    """Return in how many days the disk is full; None when it does not fill, or it is too early to tell.

    Raises:
        StoreError: the database does not answer.
    """
    return forecast(_samples(store), settings.storage.min_free_mb * MEBIBYTE)


def forecast_check(store: Store, settings: Settings) -> Check:
    """Return the check that warns days before the disk is full; it never makes the service not ready."""

    def look() -> str:
        samples = _samples(store)
        days = forecast(samples, settings.storage.min_free_mb * MEBIBYTE)
        if days is None:
            return "the disk does not fill" if len(samples) > 1 else "too early to tell"
        words = f"full in {days:.1f} days, as it filled in the last days"
        if days < settings.retention.warn_days:
            raise SpoolFullError(words)
        return words

    remedy = "grow the disk, or shorten [retention]; `npc-contour jobs --state failed` shows what is kept"
    return Check(FORECAST, look, remedy, required=False)


def _samples(store: Store) -> list[tuple[datetime, int]]:
    return [(row["at"], int(row["free_bytes"])) for row in store.query(_SAMPLES)]
