"""Vertebrae, discs, canal and cord: label 46."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from npc_phantom.parts import Look, Sketch
from npc_phantom.shapes import Shape, ellipsoid, loft, tube
from npc_phantom.trunk import CSF, FAT, SPONGY

DISC = Look(85.0, 5.0, 8.0)
CORD = Look(42.0, 4.0)

CORD_PATH = (  # z, y of the cord's axis
    (3.0, 22.0), (-6.0, 20.0), (-18.0, 17.0), (-30.0, 16.5), (-42.0, 16.5), (-54.0, 17.0), (-66.0, 18.0),
    (-78.0, 20.0), (-90.0, 21.5), (-102.0, 23.0), (-114.0, 25.5), (-126.0, 29.0), (-138.0, 34.0),
    (-150.0, 39.0), (-162.0, 43.5), (-174.0, 48.5), (-186.0, 53.0), (-198.0, 57.5), (-210.0, 61.5),
    (-230.0, 67.0), (-260.0, 72.0), (-330.0, 76.0), (-420.0, 77.0), (-530.0, 70.0),
)  # fmt: skip
VERTEBRAE_Z = (
    -31.0,
    -48.0,
    -64.0,
    -80.0,
    -97.0,
    -115.0,
    -134.0,
    -154.0,
    -175.0,
    -197.0,
    -220.0,
    -244.0,
    -269.0,
    -295.0,
    -322.0,
    -350.0,
    -379.0,
    -409.0,
    -440.0,
    -472.0,
    -505.0,
    -539.0,
)
SHOULDER_BOTTOM_MM = -330.0
"""Where the patients end of whom the head and the neck are scanned."""


def spine(sketch: Sketch, *, bottom_mm: float = SHOULDER_BOTTOM_MM) -> Shape:
    """Paint vertebrae, discs, canal and cord (label 46); return the union of the vertebral bodies.

    Args:
        sketch: what is painted so far.
        bottom_mm: where the column ends, canonical z.
    """
    bottom = int(bottom_mm)
    z, y = (np.array(v) for v in zip(*CORD_PATH, strict=True))

    def cord_y(level: float) -> float:
        return float(np.interp(-level, -z, y))

    def size(level: float) -> float:
        return float(np.interp(-level, [30.0, 140.0, 300.0], [1.0, 1.12, 1.3]))

    column = loft(
        [
            (v, 0.0, cord_y(v) - 15.5 - 2.0 * (size(v) - 1.0) * 15, 10.5 * size(v), 7.4 * size(v))
            for v in range(bottom, -22, 6)
        ],
        power=2.6,
    )
    sketch.look("discs", column, DISC)
    bodies: Shape | None = None
    for level, nxt in pairwise(VERTEBRAE_Z):
        if nxt < bottom + 8.0 - 1e-9:
            break
        k, c = size(level), cord_y(level)
        tilt = (0.0, cord_y(level - 8) - cord_y(level + 8), -16.0)
        centre = (0.0, c - 15.5 - 30.0 * (k - 1.0), level)
        half = 0.5 * (level - nxt) - 2.0
        shell = ellipsoid(centre, (half, 11.5 * k, 8.2 * k), long_axis=tilt, second_axis=(1.0, 0.0, 0.0), power=3.5)
        arch = ellipsoid((0.0, c + 0.5, level - 2.0), (17.5 * k, 14.0 * k, 6.0 * k)) | tube(
            [(0.0, c + 11.0, level - 3.0), (0.0, c + 23.0 * k + (6 if level < -90 else 0), level - 8.0)],
            [5.0, 3.0],
        )
        reach = 24.0 if level > -105.0 else 32.0
        arch = arch | tube([(-reach, c - 5.0, level - 1.0), (-10.0, c - 7.0, level)], [3.5, 4.5])
        arch = arch | tube([(reach, c - 5.0, level - 1.0), (10.0, c - 7.0, level)], [3.5, 4.5])
        sketch.look(f"arch_{level:.0f}", arch, Look(700.0, 5.0, 150.0, 3.0))
        sketch.look(f"vertebra_{level:.0f}", shell, Look(780.0, 5.0, 100.0, 3.0))
        sketch.look(f"spongiosa_{level:.0f}", shell.grown(-1.8), SPONGY)
        bodies = shell if bodies is None else bodies | shell
    if bodies is None:
        raise ValueError("a spine has vertebrae")
    atlas = ellipsoid((0.0, 17.0, -6.0), (25.0, 21.0, 6.0)) | tube(
        [(-36.0, 12.0, -8.0), (-18.0, 10.0, -6.0)], [4.0, 7.0]
    )
    atlas = atlas | tube([(36.0, 12.0, -8.0), (18.0, 10.0, -6.0)], [4.0, 7.0])
    sketch.look("atlas", atlas, Look(820.0, 5.0, 120.0, 3.0))
    sketch.look("atlas_inside", ellipsoid((0.0, 17.0, -6.0), (19.0, 16.5, 9.0)), FAT)
    sketch.look("dens", tube([(0.0, 3.0, -24.0), (0.0, 4.0, 3.0)], [7.0, 5.0]), Look(800.0, 5.0, 100.0, 3.0))
    sketch.look("dens_inside", tube([(0.0, 3.0, -24.0), (0.0, 4.0, 3.0)], [5.0, 3.2]), SPONGY)
    canal = loft([(4.0, 0.0, 24.0, 14.0, 12.0), *((v, 0.0, cord_y(v) + 0.5, 11.5, 8.4) for v in range(bottom, 0, 12))])
    sketch.look("canal", canal, CSF)
    cord = loft([(v, 0.0, cord_y(v), 7.5 if v > -90 else 7.8, 4.9 if v > -100 else 5.9) for v in range(bottom, 4, 3)])
    sketch.organ("SpinalCord", sketch.vary(cord, shift_mm=0.5, size=0.0), CORD, 46)
    return bodies | tube([(0.0, 3.0, -24.0), (0.0, 4.0, 3.0)], [7.0, 5.0])
