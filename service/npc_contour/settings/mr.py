"""How MR series are prepared."""

from __future__ import annotations

from typing import Literal

from npc_contour.settings.base import Strict


class Mr(Strict):
    """How MR series are prepared before a network sees them."""

    bias_correction: Literal["none", "n4"] = "none"
