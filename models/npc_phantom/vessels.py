"""Carotids, jugulars, vertebral arteries, sigmoid sinuses: what the contrast agent shows best."""

from __future__ import annotations

from npc_phantom.parts import Look, Sketch
from npc_phantom.shapes import tube


def vessels(sketch: Sketch) -> None:
    """Paint carotids, jugulars and vertebral arteries."""
    blood = float(sketch.rng.uniform(38.0, 50.0))
    arterial, venous = (float(v) for v in sketch.rng.uniform((140.0, 120.0), (250.0, 230.0)))
    common = tube(
        [
            (14.0, 2.0, -200.0),
            (18.0, 1.0, -160.0),
            (24.0, -2.0, -125.0),
            (28.0, -5.0, -80.0),
            (29.0, -6.0, -52.0),
        ],
        [4.0, 4.0, 3.8, 3.8, 4.6],
    )
    internal = tube(
        [
            (29.0, -6.0, -52.0),
            (31.0, 0.0, -25.0),
            (28.0, 3.0, 5.0),
            (25.0, 1.0, 32.0),
            (16.0, -6.0, 44.0),
            (11.5, -14.0, 56.0),
        ],
        [4.2, 3.2, 2.9, 2.8, 2.6, 2.4],
    )
    external = tube(
        [(29.0, -6.0, -52.0), (31.0, -14.0, -35.0), (42.0, -14.0, -12.0), (48.0, -10.0, 10.0)],
        [3.4, 2.8, 2.2, 1.8],
    )
    jugular = tube(
        [
            (24.0, -6.0, -172.0),
            (33.0, 0.0, -125.0),
            (37.0, 2.0, -80.0),
            (38.0, 6.0, -45.0),
            (35.0, 9.0, -5.0),
            (32.0, 12.0, 22.0),
        ],
        [6.5, 6.5, 6.2, 5.6, 4.8, 4.2],
    )
    vertebral = tube(
        [(20.0, 10.0, -130.0), (15.5, 8.0, -97.0), (14.5, 8.0, -40.0), (20.0, 10.0, -6.0), (8.0, 14.0, 10.0)],
        1.9,
    )
    sigmoid = tube([(46.0, 40.0, 22.0), (52.0, 38.0, 42.0), (50.0, 62.0, 52.0)], 3.6)
    for name, shape, gain in (
        ("common_carotid", common, arterial),
        ("internal_carotid", internal, arterial),
        ("external_carotid", external, arterial * 0.9),
        ("vertebral_artery", vertebral, arterial * 0.8),
        ("sigmoid_sinus", sigmoid, venous),
    ):
        sketch.looks(name, sketch.sides(shape, shift_mm=0.8), Look(blood, gain))
    left, right = sketch.sides(jugular, shift_mm=0.8, size=0.08)
    sketch.looks("jugular", (left.grown(-0.8), right.grown(0.4)), Look(blood, venous))
