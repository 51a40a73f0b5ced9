"""Skull, brain, ears, orbits: labels 1 to 34 and the mastoids and jaw joints (42 to 45)."""

from __future__ import annotations

from npc_phantom.parts import Look, Sketch
from npc_phantom.shapes import Shape, below, ellipsoid, loft, tube
from npc_phantom.trunk import AIR, BRAIN_CASE, CSF, FAT, MUSCLE, SKULL_CASE, TEMPORAL_CASE

SKULL = Look(1250.0, 0.0, 120.0, 4.0)
DIPLOE = Look(650.0, 10.0, 160.0, 4.0, soft_mm=0.5)
PETROUS = Look(1350.0, 0.0, 160.0, 3.0)
GREY = Look(37.0, 5.0, 4.0, 4.0, soft_mm=0.8)
WHITE = Look(28.0, 2.5, 2.0, 6.0, soft_mm=1.5)
FLUID = Look(25.0, 5.0)


def skull(sketch: Sketch) -> None:
    """Paint skull and skull base; what lies inside is painted over it later."""
    temporalis = ellipsoid((66.0, -24.0, 58.0), (11.0, 27.0, 36.0))
    sketch.looks("temporalis", sketch.sides(temporalis), MUSCLE)
    sketch.look("skull", SKULL_CASE.grown(7.0), SKULL)
    sketch.look("diploe", SKULL_CASE.grown(5.6) & below((0.0, 0.0, -1.0), -60.0), DIPLOE)
    sketch.look("inner_table", SKULL_CASE.grown(2.4) & below((0.0, 0.0, -1.0), -60.0), SKULL)
    wing = tube([(22.0, -24.0, 66.0), (44.0, -36.0, 66.0), (60.0, -34.0, 70.0)], [4.0, 3.5, 4.0])
    squama = tube([(50.0, -30.0, 40.0), (60.0, -8.0, 38.0), (64.0, 14.0, 44.0)], [5.0, 5.0, 6.0])
    middle_floor = tube([(24.0, -22.0, 42.0), (44.0, -16.0, 40.0), (54.0, 0.0, 41.0)], [5.0, 4.5, 5.0])
    for name, shape in {"sphenoid_wing": wing, "squama": squama, "middle_floor": middle_floor}.items():
        sketch.looks(name, (shape, shape.mirrored()), Look(950.0, 0.0, 120.0, 4.0))


def brain(sketch: Sketch) -> None:
    """Paint what the skull holds (labels 1 to 9, 34), and the bone that rises into it."""
    sketch.look("cisterns", BRAIN_CASE.grown(0.5), CSF)
    sketch.organ("Brain", BRAIN_CASE.grown(-0.5), Look(34.0, 4.0, 9.0, 4.5, soft_mm=0.6), 1)
    sketch.look("white_matter", BRAIN_CASE.grown(-11.0) & below((0.0, 0.0, -1.0), -66.0), WHITE)
    falx = ellipsoid((0.0, 20.0, 108.0), (1.3, 82.0, 44.0), power=3.0)
    sketch.look("falx", falx, Look(32.0, 30.0, 0.0, soft_mm=0.3, opacity=0.6))
    fissure = tube([(64.0, -16.0, 80.0), (66.0, 8.0, 90.0), (64.0, 28.0, 97.0)], 3.5) | tube(
        [(22.0, -18.0, 66.0), (44.0, -26.0, 73.0), (62.0, -22.0, 78.0)], [3.5, 4.0, 4.5]
    )
    sketch.looks("sylvian", sketch.sides(fissure), CSF)
    nuclei = ellipsoid((17.0, 8.0, 84.0), (9.0, 17.0, 12.0))
    sketch.looks("basal_ganglia", sketch.sides(nuclei), Look(39.0, 5.0, 2.0, 5.0, soft_mm=1.5))
    tentorium = tube([(28.0, 22.0, 56.0), (54.0, 44.0, 54.0), (50.0, 70.0, 56.0), (16.0, 92.0, 62.0)], 1.8)
    sketch.looks("tentorium", (tentorium, tentorium.mirrored()), Look(48.0, 70.0, opacity=0.7))
    cerebellum = ellipsoid((22.0, 60.0, 36.0), (28.0, 30.0, 19.0))
    sketch.looks("cerebellum", sketch.sides(cerebellum), Look(37.0, 5.0, 5.0, 3.0, soft_mm=1.0))
    lobe = ellipsoid(
        (46.0, 19.0, 70.0), (53.0, 29.5, 23.5), long_axis=(0.27, 0.9, 0.36), second_axis=(-0.69, 0.45, -0.57)
    )
    lobes = sketch.sides(lobe & below((-1.0, 0.0, 0.0), -13.0))
    case = TEMPORAL_CASE.grown(-0.5)
    lobes = (lobes[0] & case, lobes[1] & case)
    sketch.organs("TemporalLobe", lobes, Look(38.0, 6.0, 7.0, 4.0, soft_mm=0.8), (4, 5))
    core = ellipsoid(
        (45.0, 17.0, 70.0), (38.0, 13.0, 9.0), long_axis=(0.27, 0.9, 0.36), second_axis=(-0.69, 0.45, -0.57)
    )
    sketch.looks("temporal_white", sketch.sides(core), WHITE)
    ventricles(sketch)
    curve = [
        (25.0, -1.0, 57.0),
        (27.0, 9.0, 60.0),
        (28.0, 21.0, 64.0),
        (25.0, 33.0, 70.0),
        (18.0, 42.0, 76.0),
    ]
    hippocampus = tube(curve, [6.2, 6.5, 6.0, 5.4, 4.4])
    horn = tube([(31.0, -4.0, 59.0), (34.0, 9.0, 63.0), (35.0, 22.0, 68.0)], [2.4, 2.8, 2.8])
    sketch.looks("temporal_horn", sketch.sides(horn), CSF)
    both = sketch.sides(hippocampus, shift_mm=0.8)
    sketch.organs("Hippocampus", both, Look(45.0, 5.0, 2.0, 3.0), (8, 9), overs=({4: 6}, {5: 7}))
    stem = loft(
        (
            (5.0, 0.0, 23.0, 6.8, 5.5), (12.0, 0.0, 24.0, 8.4, 7.2), (24.0, 0.0, 24.0, 10.4, 8.6),
            (34.0, 0.0, 23.5, 13.5, 9.5), (42.0, 0.0, 22.0, 18.0, 13.0), (50.0, 0.0, 20.5, 18.5, 13.6),
            (58.0, 0.0, 22.0, 16.5, 13.8), (66.0, 0.0, 23.0, 17.0, 13.8), (70.0, 0.0, 23.0, 15.0, 12.5),
            (75.0, 0.0, 23.0, 9.0, 9.0),
        ),
        power=2.2,
    )  # fmt: skip
    stem = sketch.vary(stem)
    sketch.look("basal_cistern", ellipsoid((0.0, 2.0, 64.0), (15.0, 17.0, 9.0)), CSF)
    sketch.look("prepontine", stem.grown(3.0).moved((0.0, -1.0, 0.5)), CSF)
    sketch.organ("BrainStem", stem, Look(39.0, 4.0, 2.0, 4.0), 2)
    band = tube([(-42.0, 16.0, 40.0), (42.0, 16.0, 40.0)], 7.0)
    sketch.look("beam_hardening", band, Look(8.0, 0.0, 8.0, 7.0, opacity=0.35, soft_mm=5.0))
    fourth = ellipsoid((0.0, 38.0, 45.0), (7.0, 4.5, 11.0))
    sketch.look("fourth_ventricle", sketch.vary(fourth), CSF)


def ventricles(sketch: Sketch) -> None:
    """Paint the lateral ventricles and the third."""
    lateral = tube(
        [
            (6.0, -16.0, 88.0),
            (8.0, -4.0, 97.0),
            (11.0, 22.0, 102.0),
            (17.0, 42.0, 95.0),
            (21.0, 54.0, 86.0),
            (18.0, 68.0, 84.0),
        ],
        [4.0, 5.5, 5.0, 6.0, 5.0, 2.5],
    )
    sketch.looks("lateral_ventricle", sketch.sides(lateral, size=0.12), CSF)
    sketch.look("third_ventricle", sketch.vary(ellipsoid((0.0, 14.0, 80.0), (2.8, 13.0, 9.0))), CSF)


def sella(sketch: Sketch) -> None:
    """Paint sphenoid, clivus, pituitary, chiasm; they take their place from the brain's label."""
    block = ellipsoid((0.0, -24.0, 46.0), (23.0, 24.0, 17.0), power=3.0)
    clivus = tube([(0.0, -3.0, 50.0), (0.0, 0.0, 36.0), (0.0, 6.0, 17.0)], [8.5, 7.5, 5.5])
    sketch.organ("sphenoid", block | clivus, Look(900.0, 0.0, 130.0, 3.0), 0)
    sketch.look("clivus_marrow", clivus.grown(-2.2), Look(330.0, 15.0, 80.0, 3.0))
    cavernous = tube([(14.0, -16.0, 55.0), (13.0, 2.0, 56.0)], [5.5, 5.5])
    sketch.looks("cavernous", sketch.sides(cavernous), Look(40.0, 110.0))
    sinus = ellipsoid((8.5, -24.0, 47.0), (9.0, 14.0, 10.5), power=2.5)
    sketch.looks("sphenoid_sinus", sketch.sides(sinus, size=0.1), AIR)
    sketch.organ("sella", ellipsoid((0.0, -9.5, 61.0), (9.0, 7.5, 5.5)), CSF, 0)
    gland = sketch.vary(ellipsoid((0.0, -10.0, 59.5), (5.8, 4.7, 3.6), power=2.3), shift_mm=0.6)
    sketch.organ("Pituitary", gland, Look(52.0, 65.0), 34)
    arms = tube([(-10.5, -16.5, 66.5), (0.0, -11.0, 67.5), (10.5, -16.5, 66.5)], [2.6, 3.8, 2.6])
    arms = arms | tube([(-9.0, -3.5, 67.0), (0.0, -11.0, 67.5), (9.0, -3.5, 67.0)], [2.3, 3.8, 2.3])
    sketch.look("suprasellar", ellipsoid((0.0, -10.0, 68.0), (16.0, 13.0, 7.0)), CSF)
    sketch.organ("OpticChiasm", sketch.vary(arms, shift_mm=0.6), Look(46.0, 8.0), 3)


def ears(sketch: Sketch) -> None:
    """Paint petrous bone with its cavities, mastoids and jaw joints."""
    pyramid = tube([(60.0, 19.0, 36.0), (44.0, 12.0, 38.0), (18.0, 2.0, 42.0)], [11.0, 11.0, 5.5])
    sketch.organs("petrous", sketch.sides(pyramid, size=0.0), PETROUS, (0, 0))
    canal = tube([(49.0, 8.0, 33.0), (84.0, 10.0, 34.0)], [4.0, 4.5])
    sketch.looks("ear_canal_wall", (canal.grown(2.0), canal.mirrored().grown(2.0)), Look(300.0))
    mastoid = ellipsoid(
        (53.5, 21.5, 29.0), (22.0, 13.6, 10.2), long_axis=(0.04, 0.13, -1.0), second_axis=(0.74, 0.65, 0.1)
    )
    sketch.organs("Mastoid", sketch.sides(mastoid, shift_mm=0.7), Look(230.0, 0.0, 430.0, 2.2), (42, 43))
    joint = ellipsoid((49.5, 0.0, 34.5), (13.5, 8.4, 6.6), long_axis=(0.97, -0.22, 0.0))
    sketch.organs("TMjoint", sketch.sides(joint, shift_mm=0.6), Look(180.0, 20.0, 60.0, 3.0), (44, 45))
    fossa = ellipsoid((49.5, -1.0, 42.5), (14.0, 10.0, 3.0), long_axis=(0.97, -0.22, 0.0))
    condyle = ellipsoid((49.5, 0.0, 31.5), (9.5, 4.6, 5.5), long_axis=(0.97, -0.22, 0.0))
    sketch.looks("fossa", (fossa, fossa.mirrored()), Look(1100.0))
    sketch.looks("condyle", (condyle, condyle.mirrored()), Look(900.0, 0.0, 90.0, 3.0))
    sketch.looks("ear_canal", (canal, canal.mirrored()), AIR)
    middle = tube([(24.0, 14.5, 39.6), (34.5, 12.0, 39.5), (46.0, 9.0, 39.5)], [2.6, 4.0, 4.6])
    middle = middle | tube([(43.0, 8.0, 39.5), (36.6, 4.2, 38.2)], [3.2, 2.2])
    parts = {
        "MiddleEar": (middle, Look(1150.0, 0.0, 160.0, 2.5), (16, 17), ({}, {})),
        "Tympanic": (
            ellipsoid((42.0, 10.5, 36.0), (7.4, 5.9, 4.8), long_axis=(0.58, -0.1, 0.8), second_axis=(0.3, 0.95, 0.0)),
            Look(-880.0, 0.0, 90.0, 3.0),
            (22, 23),
            ({16: 20}, {17: 21}),
        ),
        "VestibulSemi": (
            ellipsoid((39.2, 16.0, 40.6), (4.4, 3.5, 3.1), long_axis=(0.2, 0.9, -0.3)),
            FLUID,
            (26, 27),
            ({16: 24}, {17: 25}),
        ),
        "Cochlea": (
            ellipsoid((35.0, 9.6, 39.2), (4.5, 3.9, 3.3), long_axis=(0.88, 0.45, 0.0)),
            FLUID,
            (28, 29),
            ({}, {}),
        ),
        "IAC": (tube([(25.0, 15.3, 40.2), (33.4, 13.6, 40.4)], [2.2, 2.0]), CSF, (18, 19), ({}, {})),
        "ETbone": (
            tube([(40.0, 7.6, 39.4), (37.2, 4.6, 38.0), (32.0, 0.6, 36.8)], [2.1, 2.1, 1.8]),
            Look(-450.0, 0.0, 150.0, 2.5),
            (32, 33),
            ({16: 30}, {17: 31}),
        ),
    }
    shift = [tuple(float(v) for v in sketch.rng.normal(0.0, 0.8, 3)) for _ in range(2)]
    for name, (left, look, labels, overs) in parts.items():
        both = sketch.sides(left, shift_mm=0.25, size=0.03)
        moved = (both[0].moved(shift[0]), both[1].moved(shift[1]))
        sketch.organs(name, moved, look, labels, overs=overs)
    bars = ellipsoid((39.4, 16.2, 40.6), (1.6, 1.4, 1.2))
    sketch.looks("labyrinth_bone", (bars.moved(shift[0]), bars.mirrored().moved(shift[1])), Look(900.0))


def orbits(sketch: Sketch) -> None:
    """Paint orbits, eyes, lenses, optic nerves and eye muscles."""
    cone = tube([(28.0, -58.0, 62.0), (25.0, -44.0, 61.0), (15.0, -26.0, 60.5)], [19.0, 16.0, 5.0])
    sketch.looks("orbit_wall", (cone.grown(2.2), cone.mirrored().grown(2.2)), Look(850.0, 0.0, 150.0, 4.0))
    rim = tube(
        [(14.0, -74.0, 70.0), (29.0, -73.0, 83.0), (45.0, -63.0, 74.0), (48.0, -57.0, 60.0)],
        [4.0, 5.0, 4.5, 5.0],
    )
    rim = rim | tube(
        [(48.0, -57.0, 60.0), (42.0, -66.0, 42.0), (26.0, -75.0, 42.0), (14.0, -76.0, 52.0)],
        [5.0, 5.0, 4.0, 3.5],
    )
    sketch.looks("orbit_rim", (rim, rim.mirrored()), Look(1050.0, 0.0, 120.0, 4.0))
    cones = sketch.sides(cone, shift_mm=0.4, size=0.02)
    sketch.organs("orbit", cones, Look(-92.0, 6.0, 6.0, 4.0), (0, 0))
    lids = ellipsoid((29.0, -74.0, 62.0), (19.0, 7.0, 13.0))
    sketch.looks("lids", (lids, lids.mirrored()), Look(20.0, 15.0))
    shift = [tuple(float(v) for v in sketch.rng.normal(0.0, 0.8, 3)) for _ in range(2)]
    size = 1.0 + float(sketch.rng.normal(0.0, 0.03))
    globe = ellipsoid((29.5, -62.0, 62.5), (13.9 * size,) * 3)
    lens = ellipsoid((29.5, -71.4, 63.3), (4.6, 2.5, 4.6))
    nerve = tube([(27.5, -48.0, 61.5), (23.5, -37.0, 60.5), (15.5, -24.0, 61.0)], [3.6, 3.4, 3.2])
    for k, (side, flip) in enumerate((("L", False), ("R", True))):
        shapes: list[Shape] = [s.mirrored() if flip else s for s in (globe, lens, nerve)]
        eye, crystal, optic = (s.moved(shift[k]) for s in shapes)
        muscle = [
            tube([(17.0, -58.0, 62.0), (14.0, -30.0, 61.0)], 1.9),
            tube([(41.0, -58.0, 62.0), (20.0, -28.0, 61.0)], 1.9),
        ]
        muscle += [
            tube([(29.0, -58.0, 75.0), (18.0, -28.0, 65.0)], 1.8),
            tube([(29.0, -58.0, 49.0), (18.0, -28.0, 57.0)], 1.8),
        ]
        for m in muscle:
            sketch.look(f"eye_muscle_{side}", (m.mirrored() if flip else m).moved(shift[k]), Look(48.0, 35.0))
        sketch.organ(f"OpticNerve_{side}", optic, Look(38.0, 8.0), 14 + k)
        sketch.organ(f"Eye_{side}", eye, Look(55.0, 25.0), 10 + k)
        sketch.look(f"vitreous_{side}", eye.grown(-1.6), Look(11.0, 1.0))
        sketch.organ(f"Lens_{side}", crystal, Look(92.0, 2.0), 12 + k)


def sinuses(sketch: Sketch) -> None:
    """Paint the facial skeleton and the air in it."""
    maxilla = ellipsoid((0.0, -58.0, 28.0), (44.0, 37.0, 24.0), power=2.6)
    sketch.look("cheek_fat", maxilla.grown(3.0), FAT)
    bone = Look(800.0, 0.0, 140.0, 4.0)
    front = loft(
        (
            (9.0, 0.0, -62.0, 27.0, 30.0),
            (15.0, 0.0, -62.0, 27.0, 30.0),
            (24.0, 0.0, -60.0, 24.0, 26.0),
        )
    ) - ellipsoid((0.0, -56.0, 14.0), (19.0, 30.0, 30.0))
    sketch.look("maxilla", front, Look(620.0, 10.0, 120.0, 4.0, soft_mm=0.8))
    antrum = ellipsoid((27.0, -56.0, 31.0), (12.5, 17.0, 15.0), power=2.5)
    sketch.looks("antrum_wall", (antrum.grown(1.8), antrum.mirrored().grown(1.8)), bone)
    zygoma = tube(
        [
            (48.0, -58.0, 48.0),
            (50.0, -58.0, 36.0),
            (62.0, -40.0, 36.0),
            (68.0, -16.0, 37.0),
            (62.0, 2.0, 40.0),
        ],
        [6.0, 7.0, 3.5, 3.0, 3.5],
    )
    sketch.looks("zygoma", (zygoma, zygoma.mirrored()), Look(950.0, 0.0, 120.0, 4.0))
    pterygoid = tube([(14.0, -30.0, 36.0), (15.0, -26.0, 14.0)], [4.0, 2.5]) | tube(
        [(16.0, -30.0, 36.0), (21.0, -23.0, 16.0)], [3.0, 2.0]
    )
    sketch.looks("pterygoid_plates", (pterygoid, pterygoid.mirrored()), bone)
    nasal = tube([(4.0, -86.0, 58.0), (5.0, -96.0, 44.0)], [3.0, 2.0])
    sketch.looks("nasal_bone", (nasal, nasal.mirrored()), bone)
    nose = loft(
        (
            (13.0, 0.0, -62.0, 14.0, 33.0),
            (22.0, 0.0, -66.0, 15.0, 40.0),
            (34.0, 0.0, -62.0, 13.5, 34.0),
            (46.0, 0.0, -60.0, 10.0, 30.0),
            (58.0, 0.0, -58.0, 10.0, 24.0),
        ),
        power=2.5,
    )
    sketch.look("ethmoid_wall", nose.grown(1.5) & below((0.0, 1.0, 0.0), -36.0), bone)
    sketch.look("nasal_cavity", nose, AIR)
    cells = ellipsoid((7.5, -56.0, 54.0), (7.0, 20.0, 10.0), power=2.6)
    sketch.looks("ethmoid_cells", sketch.sides(cells), Look(-480.0, 0.0, 420.0, 3.2))
    lower = tube([(8.0, -86.0, 22.0), (8.5, -44.0, 22.0)], [3.0, 4.2])
    upper = tube([(7.0, -80.0, 35.0), (7.5, -44.0, 34.0)], [2.2, 3.2])
    for name, shape in {"lower_turbinate": lower, "middle_turbinate": upper}.items():
        sketch.looks(name, sketch.sides(shape, size=0.15), Look(35.0, 65.0, 10.0))
    septum = ellipsoid((float(sketch.rng.normal(0.0, 1.0)), -60.0, 36.0), (1.5, 38.0, 24.0), power=4.0)
    sketch.look("septum", septum, Look(130.0, 30.0, 60.0, 4.0))
    frontal = ellipsoid((11.0, -68.0, 84.0), (10.0, 4.0, 8.0))
    sketch.looks("frontal_sinus_wall", (frontal.grown(2.5), frontal.mirrored().grown(2.5)), bone)
    sketch.looks("frontal_sinus", sketch.sides(frontal, size=0.15), AIR)
    filled = sketch.rng.uniform() < 0.2
    sketch.looks("antrum", sketch.sides(antrum, size=0.05), Look(25.0, 20.0) if filled else AIR)
