"""Chewing muscles, mouth, mandible, teeth: labels 35 to 37."""

from __future__ import annotations

import numpy as np

from npc_phantom.parts import Look, Sketch
from npc_phantom.shapes import Shape, below, ellipsoid, loft, tube
from npc_phantom.trunk import AIR, MUSCLE, SPONGY

TONGUE = Look(58.0, 18.0, 16.0, 3.5)
ENAMEL = Look(2300.0, 0.0, 200.0, 3.0)


def chewing(sketch: Sketch) -> tuple[Shape, Shape, Shape, Shape]:
    """Paint chewing muscles; return left and right masseter and left and right mandible shapes."""
    masseter = ellipsoid(
        (58.0, -36.0, 8.0), (33.0, 6.8, 17.0), long_axis=(0.0, -0.15, 1.0), second_axis=(0.9, -0.42, 0.0)
    )
    medial = ellipsoid(
        (35.0, -24.0, 6.0), (24.0, 6.5, 13.0), long_axis=(-0.2, -0.1, 1.0), second_axis=(0.9, -0.42, 0.0)
    )
    lateral = tube([(20.0, -34.0, 30.0), (44.0, -6.0, 29.0)], [7.0, 5.0])
    left, right = sketch.sides(masseter)
    sketch.looks("masseter", (left, right), MUSCLE)
    sketch.looks("medial_pterygoid", sketch.sides(medial), MUSCLE)
    sketch.looks("lateral_pterygoid", sketch.sides(lateral), MUSCLE)
    rows = []
    for z, r in ((-38.0, 5.9), (-30.0, 6.7), (-21.5, 6.1)):
        k = (z + 37.0) / 15.0
        points = [
            (0.0, -80.0 + k, z),
            (14.0, -76.0 + k, z),
            (26.0, -64.0 + k, z + 1.0),
            (37.0, -48.0, z + 5.0),
            (46.0, -30.0, z + 13.0),
        ]
        rows.append(tube(points, [r, r, r, r, 5.6]))
    jaw = rows[0] | rows[1] | rows[2]
    ramus = ellipsoid(
        (46.5, -29.0, 6.0),
        (5.5, 20.0, 25.5),
        long_axis=(0.86, -0.5, 0.0),
        second_axis=(0.5, 0.86, 0.2),
        power=3.0,
    )
    jaw = jaw | ramus | tube([(50.0, -14.0, 16.0), (49.0, -3.0, 28.0)], [5.0, 5.2])
    jaw = jaw | tube([(43.0, -38.0, 20.0), (41.0, -42.0, 33.0)], [4.6, 2.6])
    jaw = sketch.vary(jaw, shift_mm=0.5, size=0.02)
    return left, right, jaw & below((-1.0, 0.0, 0.0), 0.0), jaw.mirrored() & below((1.0, 0.0, 0.0), 0.0)


def mouth(sketch: Sketch, mandible: tuple[Shape, Shape], *, crowns: bool) -> list[tuple[float, float, float]]:
    """Paint the oral cavity (35), mandible (36, 37) and teeth.

    Returns:
        Centres of the teeth with metal, canonical mm.
    """
    cavity = loft(
        (
            (-42.0, 0.0, -42.0, 8.0, 14.0), (-37.0, 0.0, -43.0, 21.0, 23.0), (-24.0, 0.0, -46.0, 22.5, 26.5),
            (-14.0, 0.0, -48.0, 23.5, 30.0), (-8.0, 0.0, -53.0, 31.0, 36.0), (0.0, 0.0, -56.0, 35.0, 39.0),
            (8.0, 0.0, -56.0, 35.0, 38.0), (13.0, 0.0, -56.0, 32.0, 34.0), (16.0, 0.0, -56.0, 26.0, 28.0),
        ),
        power=2.5,
    )  # fmt: skip
    cavity = sketch.vary(cavity)
    cheeks = loft(((-30.0, 0.0, -54.0, 38.0, 38.0), (-10.0, 0.0, -56.0, 40.0, 46.0), (8.0, 0.0, -56.0, 39.0, 46.0)))
    hollow = loft(((-34.0, 0.0, -54.0, 34.5, 34.5), (-10.0, 0.0, -56.0, 36.5, 42.5), (12.0, 0.0, -56.0, 35.5, 42.5)))
    sketch.look("cheeks", (cheeks - hollow) & below((0.0, 1.0, 0.0), -30.0), MUSCLE)
    anterior = tube([(7.0, -72.0, -39.0), (11.0, -46.0, -46.0)], [5.0, 4.0])
    posterior = tube([(13.0, -44.0, -46.0), (30.0, -20.0, -34.0), (47.0, 14.0, 2.0)], [3.0, 4.0, 5.0])
    sketch.looks("digastric", sketch.sides(anterior), MUSCLE)
    sketch.looks("digastric_back", sketch.sides(posterior), MUSCLE)
    sketch.organ("OralCavity", cavity, TONGUE, 35)
    palate = ellipsoid((0.0, -60.0, 12.5), (25.0, 27.0, 1.9), power=3.0)
    alveolus = _arch(29.0, 47.0, 6.0, 5.0)
    sketch.look("palate", palate | alveolus, Look(750.0, 5.0, 130.0, 3.0, soft_mm=0.4))
    sketch.look("mouth_air", sketch.vary(ellipsoid((0.0, -62.0, 6.0), (17.0, 20.0, 2.4)), size=0.2), AIR)
    sketch.look("tongue", sketch.vary(ellipsoid((0.0, -50.0, -8.0), (23.0, 32.0, 15.0))), TONGUE)
    sketch.look("lingual_septum", ellipsoid((0.0, -48.0, -14.0), (1.6, 20.0, 16.0)), Look(-40.0, 5.0, opacity=0.7))
    sketch.looks("sublingual", sketch.sides(ellipsoid((11.0, -62.0, -28.0), (5.0, 12.0, 6.0))), Look(15.0, 35.0))
    sketch.organs("Mandible", mandible, Look(1250.0, 0.0, 120.0, 3.0), (36, 37))
    sketch.looks("mandible_marrow", (mandible[0].grown(-2.6), mandible[1].grown(-2.6)), SPONGY)
    return _teeth(sketch, crowns=crowns)


def _arch(half_width: float, depth: float, z: float, radius: float) -> Shape:
    angles = np.linspace(-0.42 * np.pi, 0.42 * np.pi, 11)
    points = [(float(half_width * np.sin(a) * 1.03), float(-36.0 - depth * np.cos(a)), z) for a in angles]
    return tube(points, radius)


def _teeth(sketch: Sketch, *, crowns: bool) -> list[tuple[float, float, float]]:
    sites = []
    for half_width, depth, z, height in ((29.5, 48.0, -1.0, 5.5), (27.5, 44.0, -13.0, 5.5)):
        for a in np.linspace(-0.45 * np.pi, 0.45 * np.pi, 14):
            if sketch.rng.uniform() < 0.12:
                continue
            width = 3.0 + 1.6 * abs(float(a)) / (0.45 * np.pi)
            centre = (float(half_width * np.sin(a)), float(-36.0 - depth * np.cos(a)), z)
            tooth = ellipsoid(centre, (width, width, height), power=2.6)
            sketch.look("tooth", tooth, ENAMEL)
            sketch.look(
                "root",
                tube([centre, (centre[0], centre[1], centre[2] + np.sign(z + 7.0) * 10.0)], [1.8, 1.0]),
                Look(1700.0),
            )
            sites.append(centre)
    if not crowns or not sites:
        return []
    back = [s for s in sites if s[1] > -74.0] or sites
    chosen = sketch.rng.choice(len(back), size=min(len(back), int(sketch.rng.integers(1, 5))), replace=False)
    for k in chosen:
        hu = float(sketch.rng.uniform(8000.0, 20000.0))
        sketch.look("crown", ellipsoid(back[int(k)], (4.6, 4.6, 4.2), power=3.0), Look(hu))
    return [back[int(k)] for k in chosen]
