"""A chest with mediastinal lymph nodes: what contrast CT of the mediastinum shows, in the frame of the other phantoms.

Nodes are painted first, then everything that pushes them aside: vessels, airways, heart and lungs take their label away
where they run through them, so that the truth is what the image shows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from npc_phantom import chest_vessels, han, spine
from npc_phantom.chest_vessels import MIDLINE_FAT, solid
from npc_phantom.parts import GTV, Look, Sketch
from npc_phantom.shapes import Shape, below, ellipsoid, loft, tube
from npc_phantom.trunk import AIR, FAT, LUNG, MUSCLE, SKIN, SPONGY

BOTTOM_MM = -520.0
MUSCULAR_TUBE = Look(42.0, 22.0, 6.0, 3.0)
AIRWAY_WALL = Look(45.0, 15.0, 12.0, 3.0)

STATIONS = {
    "2R": (-15.0, 14.0, -222.0),
    "2L": (19.0, 14.0, -218.0),
    "3A": (0.0, -26.0, -236.0),
    "4R": (-19.0, 14.0, -252.0),
    "4L": (17.0, 30.0, -276.0),
    "5": (30.0, 10.0, -277.0),
    "6": (22.0, -20.0, -262.0),
    "7": (-1.0, 36.0, -292.0),
    "8": (-7.0, 48.0, -338.0),
    "10R": (-35.0, 22.0, -300.0),
    "10L": (46.0, 18.0, -300.0),
}
"""Stations of the IASLC map and where they lie, canonical mm."""

LARGEST_NORMAL_MM = 5.0
"""Short axis of the largest node that is normal: it looks like one and is not labelled."""


class Nodes(NamedTuple):
    """How many lymph nodes of which size.

    Attributes:
        diseased: labelled, one label each.
        normal: not labelled.
    """

    diseased: int
    normal: int


def chest(sketch: Sketch, nodes: Nodes) -> None:
    """Paint a chest from the lower neck to the upper belly.

    Args:
        sketch: empty.
        nodes: how many.
    """
    rng = sketch.rng
    blood = float(rng.uniform(38.0, 50.0))
    arterial, venous = (float(v) for v in rng.uniform((130.0, 110.0), (260.0, 260.0)))
    artery, vein = Look(blood, arterial), Look(blood, venous)
    _wall(sketch)
    spine.spine(sketch, bottom_mm=BOTTOM_MM)
    _cage(sketch)
    cavity = _lungs(sketch)
    sketch.look("mediastinum", cavity, MIDLINE_FAT)
    _thymus(sketch)
    lymph_nodes(sketch, nodes)
    chest_vessels.heart(sketch, artery, vein)
    chest_vessels.great_vessels(sketch, artery, vein)
    chest_vessels.lung_vessels(sketch, artery)
    _airways(sketch)
    _belly(sketch)


def lymph_nodes(sketch: Sketch, nodes: Nodes) -> None:
    """Paint diseased nodes with the labels 1, 2, ... and normal ones without, each at a station."""
    rng = sketch.rng
    names = list(STATIONS)
    for number in range(nodes.normal):
        centre = _near(rng, STATIONS[names[int(rng.integers(len(names)))]], 9.0)
        short = float(rng.uniform(2.5, LARGEST_NORMAL_MM))
        sketch.look(f"normal_node_{number}", _node(rng, centre, short, lumps=0), Look(36.0, 35.0, 4.0, 3.0))
    order = [names[int(k)] for k in rng.permutation(len(names))]
    for number in range(nodes.diseased):
        centre = _near(rng, STATIONS[order[number % len(order)]], 4.0 if number < len(order) else 9.0)
        short = float(np.exp(rng.uniform(np.log(7.5), np.log(26.0))))
        shape = _node(rng, centre, short, lumps=int(rng.integers(0, 3)))
        look = Look(float(rng.uniform(36.0, 48.0)), float(rng.uniform(25.0, 60.0)), 5.0, 3.0, soft_mm=0.3)
        sketch.organ(f"node_{number + 1}", shape, look, number + 1, channel=GTV)
        if short > 14.0 and rng.uniform() < 0.4:
            sketch.look(f"node_core_{number + 1}", shape.grown(-0.3 * short), Look(24.0, 6.0, 4.0, 3.0, soft_mm=1.2))


def _node(rng: np.random.Generator, centre: tuple[float, float, float], short_mm: float, *, lumps: int) -> Shape:
    r = short_mm / 2.0
    long_axis = rng.normal(size=3) * np.array([0.7, 0.7, 1.3])
    radii = (r * float(rng.uniform(1.15, 1.9)), r * float(rng.uniform(1.0, 1.25)), r)
    x, y, z = (float(v) for v in long_axis)
    whole = ellipsoid(centre, radii, long_axis=(x, y, z), second_axis=(1.0, 0.31, 0.17), power=2.2)
    for _ in range(lumps):
        lump = _near(rng, centre, 0.6 * r)
        whole = whole.blended(ellipsoid(lump, (0.8 * r, 0.8 * r, 0.9 * r)), 0.4 * r)
    return whole


def _near(rng: np.random.Generator, point: tuple[float, float, float], reach: float) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in np.asarray(point) + rng.uniform(-reach, reach, 3))
    return x, y, z


def _wall(sketch: Sketch) -> None:
    outline = loft(
        (
            (-90.0, 0.0, 19.0, 62.0, 68.0), (-120.0, 0.0, 25.0, 74.0, 66.0), (-138.0, 0.0, 31.0, 105.0, 68.0),
            (-155.0, 0.0, 36.0, 142.0, 72.0), (-178.0, 0.0, 39.0, 165.0, 80.0), (-215.0, 0.0, 41.0, 174.0, 92.0),
            (-300.0, 0.0, 40.0, 172.0, 108.0), (-400.0, 0.0, 40.0, 166.0, 114.0), (-530.0, 0.0, 40.0, 160.0, 115.0),
        ),
        power=2.3,
    )  # fmt: skip
    outline = sketch.vary(outline, shift_mm=1.0, size=0.03)
    sketch.look("skin", outline, SKIN)
    sketch.look("fat", outline.grown(-2.2), FAT)
    thickness = float(sketch.rng.uniform(8.0, 20.0))
    sketch.look("chest_muscle", outline.grown(-thickness), Look(40.0, 12.0, 30.0, 9.0, soft_mm=2.0))
    breast = ellipsoid((80.0, -52.0, -330.0), (45.0, 26.0, 48.0))
    sketch.looks("breast", sketch.sides(breast, shift_mm=3.0, size=0.2), Look(-85.0, 8.0, 35.0, 7.0, soft_mm=2.0))


def _cage(sketch: Sketch) -> None:
    bone = Look(620.0, 5.0, 150.0, 3.0)
    for k in range(12):
        z, r = -160.0 - 25.0 * k, min(k, 4) * 16.0
        front = -40.0 - 4.0 * min(k, 5)
        rib = tube(
            [
                (14.0, 54.0 + 4.0 * min(k, 6), z + 8.0),
                (48.0 + 0.7 * r, 84.0 + 6.0 * min(k, 6), z),
                (64.0 + r, 52.0 + 2.0 * k, z - 16.0),
                (60.0 + r, 10.0, z - 30.0),
                (30.0, front, z - 38.0),
            ],
            4.4,
        )
        sketch.looks(f"rib_{k}", (rib, rib.mirrored()), bone)
    scapula = tube([(124.0, 62.0, -172.0), (104.0, 104.0, -200.0), (96.0, 116.0, -275.0)], [9.0, 5.0, 4.0])
    clavicle = tube([(14.0, -20.0, -172.0), (60.0, -20.0, -164.0), (104.0, 6.0, -160.0)], [8.0, 6.0, 5.5])
    for name, shape in {"scapula": scapula, "clavicle": clavicle}.items():
        sketch.looks(name, sketch.sides(shape, shift_mm=2.0), Look(800.0, 5.0, 120.0, 3.0))


def _lungs(sketch: Sketch) -> Shape:
    """Paint pleura, lungs and sternum; return the space between the lungs."""
    lung = loft(
        (
            (-150.0, 36.0, 40.0, 12.0, 14.0), (-170.0, 47.0, 40.0, 26.0, 34.0), (-200.0, 58.0, 42.0, 42.0, 56.0),
            (-250.0, 68.0, 44.0, 54.0, 74.0), (-330.0, 72.0, 44.0, 62.0, 84.0), (-420.0, 74.0, 42.0, 64.0, 86.0),
            (-500.0, 74.0, 42.0, 62.0, 86.0),
        ),
        power=2.3,
    )  # fmt: skip
    lungs = sketch.sides(lung, shift_mm=2.0)
    sketch.looks("pleura", (lungs[0].grown(2.5), lungs[1].grown(2.5)), MUSCLE)
    sketch.looks("lung", lungs, LUNG)
    sternum = tube([(0.0, -22.0, -172.0), (0.0, -42.0, -220.0), (0.0, -54.0, -340.0), (0.0, -56.0, -400.0)], 9.0)
    sketch.look("sternum", sternum, Look(450.0, 10.0, 120.0, 3.0))
    sketch.look("sternum_inside", sternum.grown(-2.5), SPONGY)
    return loft(
        (
            (-150.0, 0.0, 10.0, 28.0, 24.0), (-175.0, 0.0, 10.0, 30.0, 30.0), (-220.0, 0.0, 10.0, 33.0, 40.0),
            (-262.0, 4.0, 12.0, 38.0, 46.0), (-300.0, 5.0, 10.0, 44.0, 52.0), (-350.0, 14.0, 8.0, 54.0, 54.0),
            (-430.0, 16.0, 8.0, 56.0, 54.0), (-520.0, 10.0, 10.0, 50.0, 54.0),
        ),
        power=2.3,
    )  # fmt: skip


def _thymus(sketch: Sketch) -> None:
    remnant = ellipsoid((3.0, -30.0, -250.0), (16.0, 5.0, 34.0))
    hu = float(sketch.rng.uniform(-85.0, 10.0))
    sketch.look("thymus", sketch.vary(remnant, shift_mm=3.0, size=0.15), Look(hu, 10.0, 18.0, 4.0, soft_mm=1.5))


def _airways(sketch: Sketch) -> None:
    path = [
        (-100.0, -24.0),
        (-126.0, -14.5),
        (-150.0, -4.0),
        (-174.0, 6.0),
        (-210.0, 19.0),
        (-240.0, 26.0),
        (-270.0, 32.0),
    ]
    gullet = [
        (-110.0, 6.0, -5.0), (-150.0, 10.5, 9.0), (-174.0, 12.0, 20.0), (-210.0, 12.0, 36.0), (-240.0, 11.0, 44.0),
        (-330.0, 6.0, 50.0), (-400.0, 10.0, 46.0), (-450.0, 16.0, 38.0), (-485.0, 24.0, 26.0),
    ]  # fmt: skip
    trachea = sketch.vary(loft([(z, 0.0, y, 11.0, 12.2) for z, y in path]), shift_mm=0.7, size=0.0)
    oesophagus = sketch.vary(loft([(z, x, y, 9.0, 5.8) for z, x, y in gullet]), shift_mm=1.0, size=0.0)
    solid(sketch, "oesophagus", oesophagus, MUSCULAR_TUBE)
    if sketch.rng.uniform() < 0.5:
        sketch.look("gullet_air", ellipsoid((10.0, 46.0, -262.0), (2.5, 1.8, 12.0)), Look(-700.0))
    solid(sketch, "trachea", trachea, AIRWAY_WALL)
    sketch.look("tracheal_lumen", trachea.grown(-2.0).moved((0.0, -0.8, 1.0)), AIR)
    solid(sketch, "bronchi_place", han.bronchi(), AIRWAY_WALL)
    han.bronchial_tree(sketch, AIRWAY_WALL, AIR)


def _belly(sketch: Sketch) -> None:
    top = float(sketch.rng.uniform(-435.0, -405.0))
    liver = ellipsoid((-66.0, 34.0, top - 92.0), (72.0, 84.0, 92.0), power=2.3) & below((0.0, 0.0, 1.0), top)
    stomach = ellipsoid((72.0, 36.0, top - 108.0), (66.0, 82.0, 92.0), power=2.3) & below((0.0, 0.0, 1.0), top)
    solid(sketch, "liver", liver, Look(58.0, 50.0, 8.0, 4.0))
    solid(sketch, "left_dome", stomach, Look(45.0, 45.0, 16.0, 9.0))
    if sketch.rng.uniform() < 0.7:
        sketch.look("stomach_air", ellipsoid((58.0, 0.0, top - 62.0), (26.0, 16.0, 22.0)), Look(-950.0))
