"""The tumour, the diseased nodes, and the nodal levels at risk."""

from __future__ import annotations

import numpy as np

from npc_phantom.parts import GTV, LN, Look, Sketch
from npc_phantom.shapes import Shape, ellipsoid, loft

REFERENCE_CC = 50.0


def tumour(sketch: Sketch, size_cc: float, side: float) -> None:
    """Paint the primary tumour: muscle-like without contrast agent, pushing into the airway.

    Args:
        sketch: what is painted so far.
        size_cc: about its volume.
        side: -1 right to 1 left, where its bulk lies.
    """
    rng = sketch.rng
    k = (size_cc / REFERENCE_CC) ** (1.0 / 3.0)
    lean = side * (14.0 - 10.0 * k)
    look = Look(47.0, float(rng.uniform(35.0, 60.0)), 5.0, 4.0, soft_mm=0.6)
    whole = ellipsoid((lean, -13.0 - 4.0 * k, 21.0), (26.0 * k, 14.5 * k, 18.0 * k), power=2.2)
    for _ in range(3):
        a, b = rng.uniform(-1.0, 1.0, 2)
        centre = (
            lean + side * 6.0 * k + 13.0 * k * float(a),
            -14.0 - 3.0 * k + 6.0 * k * float(b),
            21.0 + float(rng.uniform(-12.0, 12.0)) * k,
        )
        radii = tuple(float(v) * k for v in rng.uniform((11.0, 8.0, 9.0), (17.0, 13.0, 15.0)))
        whole = whole.blended(ellipsoid(centre, (radii[0], radii[1], radii[2])), 6.0 * k)
    sketch.organ("GTVp", whole, look, 1, channel=GTV)
    core = ellipsoid((lean, -13.0, 21.0), (9.0 * k, 6.0 * k, 7.0 * k))
    sketch.look("tumour_core", core, Look(40.0, 25.0, 4.0, 4.0, soft_mm=2.0))


def nodes(sketch: Sketch, count: int, side: float) -> None:
    """Paint diseased nodes, most of them in level II: a bright rim with contrast agent, a darker core."""
    rng = sketch.rng
    for k in range(count):
        left = side if k == 0 or rng.uniform() < 0.55 else -side
        x = float(np.sign(left)) or 1.0
        z = float(rng.uniform(-48.0, -6.0)) if k == 0 or rng.uniform() < 0.7 else float(rng.uniform(-88.0, -50.0))
        r = float(rng.uniform(9.5, 15.5)) if k == 0 else float(rng.uniform(7.0, 12.0))
        centre = (x * float(rng.uniform(37.0, 43.0)), float(rng.uniform(6.0, 20.0)), z)
        node = ellipsoid(centre, (r, r * float(rng.uniform(0.75, 1.0)), r * float(rng.uniform(1.0, 1.4))))
        sketch.organ(f"GTVnd_{k}", node, Look(44.0, float(rng.uniform(40.0, 70.0)), 4.0, 3.0), 2, channel=GTV)
        if r > 7.0 and rng.uniform() < 0.6:
            sketch.look(f"necrosis_{k}", node.grown(-2.8), Look(26.0, 8.0, 3.0, 3.0, soft_mm=1.0))


def levels(
    sketch: Sketch, scm: tuple[Shape, Shape], mandible: tuple[Shape, Shape], thyroid: Shape, trachea: Shape
) -> None:
    """Label the nodal levels: right before left, as the label table has them."""
    upper = loft(
        (
            (6.0, 41.0, 12.0, 7.0, 12.0, 0.0),
            (-10.0, 43.0, 13.0, 11.0, 18.0, -8.0),
            (-30.0, 42.0, 12.0, 14.0, 24.0, -14.0),
            (-50.0, 40.0, 12.0, 15.0, 27.0, -18.0),
            (-70.0, 38.0, 12.0, 14.0, 27.0, -20.0),
            (-94.0, 35.0, 12.0, 13.0, 26.0, -22.0),
        )
    )
    lower = loft(
        (
            (-94.2, 35.0, 12.0, 12.5, 25.0, -22.0),
            (-112.0, 34.0, 12.0, 11.5, 22.0, -28.0),
            (-130.0, 33.0, 9.0, 10.0, 19.0, -38.0),
            (-148.0, 32.0, 5.0, 9.0, 16.0, -48.0),
            (-160.0, 30.0, 3.0, 7.0, 12.0, -52.0),
        )
    )
    submental = loft(
        (
            (-58.0, 30.0, -34.0, 8.0, 12.0, -25.0),
            (-48.0, 32.0, -33.0, 12.0, 20.0, -28.0),
            (-36.0, 33.0, -34.0, 13.0, 23.0, -28.0),
            (-24.0, 34.0, -33.0, 11.0, 19.0, -28.0),
            (-19.0, 35.0, -32.0, 8.0, 13.0, -28.0),
        )
    )
    for k in (1, 0):
        cuts = [scm[k].grown(0.5)]
        for name, shape, label in (("II_III_Va", upper, 1), ("IV_Vb", lower, 3), ("Ib", submental, 5)):
            side = sketch.vary(shape if k == 0 else shape.mirrored(), shift_mm=0.7, size=0.02)
            for cut in cuts:
                side = side - cut
            side = side - mandible[k].grown(1.0).only_union()
            if label == 3:
                side = side - thyroid.grown(1.0) - trachea.grown(2.0)
            sketch.organ(f"CTVn_{name}", side, None, label + 1 - k, keeps=() if label == 1 else (1, 2), channel=LN)
