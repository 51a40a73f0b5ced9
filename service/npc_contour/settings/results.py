"""What becomes of the results of several pipelines on one planning series."""

from __future__ import annotations

from typing import Literal

from npc_contour.settings.base import Seconds, Strict


class Results(Strict):
    """One structure set of each pipeline, or one of all that plan on the same CT."""

    combine: Literal["each", "one"] = "each"
    wait_s: Seconds = 1800.0
