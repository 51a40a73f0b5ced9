"""python -m npc_contour."""

from __future__ import annotations

import sys

from npc_contour.cli import main

sys.exit(main())
