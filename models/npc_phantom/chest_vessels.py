"""Heart and vessels of the chest: what takes the place of nodes and shows best with contrast agent."""

from __future__ import annotations

import numpy as np

from npc_phantom import han
from npc_phantom.parts import GTV, Look, Sketch
from npc_phantom.shapes import Shape, ellipsoid, tube

MIDLINE_FAT = Look(-92.0, 4.0, 14.0, 5.0, soft_mm=0.8)


def solid(sketch: Sketch, name: str, shape: Shape, look: Look) -> None:
    """Paint what takes the place of nodes."""
    sketch.organ(name, shape, look, 0, channel=GTV)


def heart(sketch: Sketch, artery: Look, vein: Look) -> None:
    """Paint the heart and its chambers."""
    muscle = Look(45.0, 60.0, 6.0, 4.0)
    whole = ellipsoid((20.0, -2.0, -392.0), (62.0, 44.0, 46.0), long_axis=(0.7, -0.45, -0.55), power=2.2)
    whole = sketch.vary(whole, shift_mm=4.0, size=0.05)
    solid(sketch, "pericardial_fat", whole.grown(4.0), MIDLINE_FAT)
    solid(sketch, "heart", whole, muscle)
    chambers = {
        "left_ventricle": (ellipsoid((44.0, -6.0, -402.0), (30.0, 19.0, 19.0), long_axis=(0.7, -0.45, -0.55)), artery),
        "right_ventricle": (ellipsoid((14.0, -26.0, -400.0), (30.0, 14.0, 20.0), long_axis=(0.7, -0.4, -0.5)), vein),
        "right_atrium": (ellipsoid((-22.0, -2.0, -378.0), (17.0, 19.0, 26.0)), vein),
        "left_atrium": (ellipsoid((8.0, 26.0, -352.0), (27.0, 13.0, 18.0)), artery),
    }
    for name, (shape, look) in chambers.items():
        solid(sketch, name, sketch.vary(shape, shift_mm=2.0), look)


def great_vessels(sketch: Sketch, artery: Look, vein: Look) -> None:
    """Paint the aorta, what leaves it, the pulmonary arteries and the great veins."""
    arch = tube(
        [
            (2.0, -6.0, -362.0),
            (-15.0, -20.0, -320.0),
            (-13.0, -20.0, -272.0),
            (5.0, -4.0, -248.0),
            (20.0, 28.0, -262.0),
        ],
        [15.0, 15.5, 14.5, 13.0, 12.5],
    )
    descending = tube([(20.0, 28.0, -262.0), (24.0, 50.0, -300.0), (22.0, 54.0, -430.0), (8.0, 44.0, -525.0)], 12.0)
    aorta = sketch.vary(arch | descending, shift_mm=1.0, size=0.03)
    solid(sketch, "aorta_place", aorta, artery)
    han.aorta(sketch, aorta, artery)
    arteries = {
        "brachiocephalic": tube([(-6.0, -12.0, -246.0), (-14.0, -6.0, -212.0), (-22.0, 0.0, -186.0)], [6.5, 6.0, 5.5]),
        "right_carotid": tube([(-22.0, 0.0, -186.0), (-19.0, 1.0, -160.0), (-24.0, -2.0, -125.0)], 4.0),
        "right_subclavian": tube([(-22.0, 0.0, -186.0), (-44.0, 10.0, -168.0), (-84.0, 14.0, -166.0)], 4.6),
        "left_carotid": tube(
            [(6.0, -2.0, -248.0), (13.0, 2.0, -200.0), (18.0, 1.0, -160.0), (24.0, -2.0, -125.0)], 4.0
        ),
        "left_subclavian": tube(
            [(15.0, 16.0, -254.0), (22.0, 18.0, -205.0), (46.0, 12.0, -170.0), (86.0, 14.0, -166.0)], 4.8
        ),
        "pulmonary_trunk": tube(
            [(20.0, -28.0, -350.0), (18.0, -18.0, -318.0), (16.0, 2.0, -298.0)], [14.0, 13.5, 12.5]
        ),
        "right_pulmonary": tube([(16.0, 2.0, -298.0), (-16.0, 12.0, -304.0), (-50.0, 20.0, -312.0)], [11.0, 10.0, 7.5]),
        "left_pulmonary": tube([(16.0, 2.0, -298.0), (38.0, 24.0, -290.0), (56.0, 38.0, -308.0)], [11.0, 9.5, 7.0]),
    }
    for name, shape in arteries.items():
        solid(sketch, name, sketch.vary(shape, shift_mm=0.8), artery)
    veins = {
        "left_brachiocephalic": tube(
            [(40.0, -8.0, -172.0), (24.0, -18.0, -205.0), (-6.0, -22.0, -226.0), (-28.0, -8.0, -238.0)], 6.0
        ),
        "right_brachiocephalic": tube([(-36.0, -6.0, -172.0), (-31.0, -6.0, -210.0), (-28.0, -6.0, -238.0)], 6.5),
        "superior_cava": tube([(-28.0, -7.0, -236.0), (-30.0, -2.0, -290.0), (-27.0, 0.0, -350.0)], [8.5, 9.5, 10.0]),
        "inferior_cava": tube([(-20.0, 6.0, -400.0), (-22.0, 14.0, -450.0), (-22.0, 20.0, -525.0)], 11.0),
        "azygos": tube([(-27.0, 2.0, -262.0), (-20.0, 30.0, -258.0), (-8.0, 50.0, -276.0), (-6.0, 58.0, -430.0)], 4.0),
        "left_pulmonary_vein": tube([(32.0, 28.0, -346.0), (66.0, 32.0, -338.0)], [7.0, 5.0]),
        "right_pulmonary_vein": tube([(-16.0, 28.0, -350.0), (-58.0, 30.0, -344.0)], [7.0, 5.0]),
        "left_jugular": tube([(40.0, -8.0, -172.0), (33.0, 0.0, -125.0)], 6.2),
        "right_jugular": tube([(-36.0, -6.0, -172.0), (-33.0, 0.0, -125.0)], 6.8),
    }
    for name, shape in veins.items():
        solid(sketch, name, sketch.vary(shape, shift_mm=0.8), vein)


def lung_vessels(sketch: Sketch, artery: Look) -> None:
    """Paint some vessels of the lungs, another tree in each patient."""
    rng = sketch.rng
    for side in (1.0, -1.0):
        hilum = np.array([side * 54.0, 28.0, -310.0])
        for _ in range(9):
            towards = rng.normal(size=3) * np.array([0.6, 0.9, 1.2]) + np.array([side * 0.9, 0.0, 0.0])
            far = hilum + 52.0 * towards / np.linalg.norm(towards)
            far[0] = side * float(np.clip(abs(far[0]), 60.0, 118.0))
            middle = (hilum + far) / 2.0 + rng.normal(size=3) * 4.0
            points = [(float(p[0]), float(p[1]), float(p[2])) for p in (hilum, middle, far)]
            sketch.look("lung_vessel", tube(points, [3.2, 2.2, 1.2]), artery)
