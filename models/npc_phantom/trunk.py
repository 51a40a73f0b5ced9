"""Body outline, brain case, neck muscles, shoulders, chest: what the organs lie in.

Canonical frame: mm, LPS; x 0 in the midline, z 0 at the hard palate, y 0 about at the dens.
"""

from __future__ import annotations

from npc_phantom import han
from npc_phantom.parts import Look, Sketch
from npc_phantom.shapes import Shape, below, ellipsoid, loft, tube

FAT = Look(-102.0, 3.0, 10.0, 5.0)
SKIN = Look(5.0, 8.0)
MUSCLE = Look(54.0, 14.0, 5.0, 3.0, soft_mm=0.4)
SPONGY = Look(330.0, 15.0, 90.0, 2.5, soft_mm=0.8)
CSF = Look(7.0, 1.0, soft_mm=0.3)
AIR = Look(-995.0)
LUNG = Look(-830.0, 15.0, 45.0, 3.0)

MIDDLE_CASE = loft(
    (  # z, x, y, rx, ry: the inside of the skull between the posterior fossa and the calvaria
        (38.0, 0.0, 45.5, 56.5, 48.5), (51.0, 0.0, 34.0, 61.0, 64.0), (63.0, 0.0, 33.0, 67.0, 67.0),
        (69.0, 0.0, 28.0, 69.0, 71.0), (75.0, 0.0, 22.0, 70.0, 77.0), (88.0, 0.0, 17.5, 70.5, 79.5),
    ),
    power=2.15,
)  # fmt: skip
TEMPORAL_CASE = loft(
    (
        (38.0, 0.0, 45.5, 56.5, 48.5), (51.0, 0.0, 34.0, 61.0, 64.0), (63.0, 0.0, 33.0, 67.0, 67.0),
        (69.0, 0.0, 28.0, 69.0, 71.0), (88.0, 0.0, 17.5, 70.0, 79.0), (108.0, 0.0, 17.0, 66.0, 74.0),
    ),
    power=2.15,
)  # fmt: skip
CALVARIA = ellipsoid((0.0, 17.5, 87.0), (70.5, 79.5, 60.5), power=2.1) & below((0.0, 0.0, -1.0), -86.0)
POSTERIOR_FOSSA = ellipsoid((0.0, 47.0, 48.0), (58.0, 50.0, 44.0), power=2.1)
FORAMEN = tube([(0.0, 23.0, 3.0), (0.0, 27.0, 16.0)], [13.0, 16.0])
BRAIN_CASE = CALVARIA | MIDDLE_CASE | POSTERIOR_FOSSA | FORAMEN
SKULL_CASE = CALVARIA | MIDDLE_CASE | POSTERIOR_FOSSA.grown(-2.0)


def body(sketch: Sketch, *, mask: bool) -> None:
    """Paint skin, fat and, where worn, the thermoplastic mask around them."""
    face = loft(
        (
            (-54.0, 0.0, -38.0, 30.0, 30.0), (-45.0, 0.0, -36.0, 48.0, 50.0), (-34.0, 0.0, -32.0, 60.0, 67.0),
            (-15.0, 0.0, -24.0, 74.0, 82.0), (5.0, 0.0, -20.0, 80.0, 87.0), (25.0, 0.0, -18.0, 80.0, 83.0),
            (45.0, 0.0, -16.0, 79.0, 74.0), (62.0, 0.0, -10.0, 78.0, 73.0), (78.0, 0.0, 0.0, 77.0, 77.0),
            (92.0, 0.0, 5.0, 74.0, 78.0),
        ),
        power=2.35,
    )  # fmt: skip
    neck = loft(
        (
            (20.0, 0.0, 40.0, 70.0, 66.0), (0.0, 0.0, 32.0, 71.0, 64.0), (-25.0, 0.0, 19.0, 67.0, 66.0),
            (-50.0, 0.0, 14.0, 63.0, 69.0), (-75.0, 0.0, 14.0, 61.0, 71.0), (-100.0, 0.0, 19.0, 62.0, 68.0),
            (-122.0, 0.0, 25.0, 74.0, 66.0), (-140.0, 0.0, 31.0, 108.0, 68.0), (-155.0, 0.0, 36.0, 152.0, 71.0),
            (-172.0, 0.0, 40.0, 190.0, 76.0), (-190.0, 0.0, 42.0, 213.0, 83.0), (-210.0, 0.0, 43.0, 222.0, 90.0),
            (-250.0, 0.0, 42.0, 226.0, 99.0), (-340.0, 0.0, 42.0, 228.0, 106.0),
        ),
        power=2.3,
    )  # fmt: skip
    nose = tube([(0.0, -78.0, 58.0), (0.0, -92.0, 44.0), (0.0, -108.0, 24.0)], [7.0, 8.0, 9.0])
    nostrils = tube([(-9.0, -98.0, 19.0), (9.0, -98.0, 19.0)], 8.0)
    lips = ellipsoid((0.0, -96.0, -8.0), (27.0, 13.0, 13.0))
    chin = ellipsoid((0.0, -78.0, -34.0), (26.0, 17.0, 16.0))
    brows = tube([(-34.0, -66.0, 76.0), (0.0, -74.0, 78.0), (34.0, -66.0, 76.0)], 9.0)
    outline = SKULL_CASE.grown(14.0).blended(face, 14.0).blended(neck, 22.0).blended(chin, 10.0)
    outline = outline.blended(nose, 6.0).blended(nostrils, 6.0).blended(lips, 9.0).blended(brows, 12.0)
    if mask:
        front = below((0.0, 1.0, 0.0), 62.0)
        sketch.look("mask", outline.grown(4.2) & front & below((0.0, 0.0, -1.0), 135.0), Look(-60.0, 0.0, 60.0, 5.0))
        sketch.look("under_mask", outline.grown(2.0), AIR)
    sketch.look("skin", outline, SKIN)
    sketch.look("fat", outline.grown(-2.2), FAT)
    pinna = tube([(78.0, 9.0, 22.0), (83.0, 15.0, 32.0), (86.0, 22.0, 48.0), (82.0, 14.0, 58.0)], [5.0, 3.5, 3.5, 3.0])
    sketch.looks("pinna", (pinna, pinna.mirrored()), Look(30.0, 10.0))


def muscles(sketch: Sketch) -> tuple[Shape, Shape]:
    """Paint the muscles of neck and shoulder girdle; return the left and right sternocleidomastoid."""
    wall = loft(
        (
            (-118.0, 0.0, 62.0, 36.0, 18.0), (-135.0, 0.0, 55.0, 62.0, 30.0), (-150.0, 0.0, 48.0, 95.0, 42.0),
            (-172.0, 0.0, 44.0, 142.0, 60.0), (-190.0, 0.0, 42.0, 174.0, 70.0), (-210.0, 0.0, 42.0, 192.0, 78.0),
            (-250.0, 0.0, 42.0, 200.0, 88.0), (-340.0, 0.0, 42.0, 205.0, 94.0),
        ),
        power=2.2,
    )  # fmt: skip
    sketch.look("shoulder_muscle", wall, Look(30.0, 12.0, 42.0, 11.0, soft_mm=2.0))
    armpit = ellipsoid((108.0, 38.0, -215.0), (26.0, 30.0, 46.0))
    sketch.looks("armpit", sketch.sides(armpit), Look(-95.0, 3.0, 10.0, 5.0, soft_mm=2.0))
    semispinalis = loft(
        (
            (12.0, 13.0, 62.0, 11.0, 13.0),
            (-20.0, 16.0, 55.0, 14.5, 21.0),
            (-60.0, 16.5, 50.0, 15.5, 23.0),
            (-100.0, 18.0, 54.0, 17.0, 22.0),
            (-140.0, 21.0, 68.0, 20.0, 21.0),
            (-220.0, 25.0, 92.0, 21.0, 18.0),
            (-330.0, 27.0, 108.0, 21.0, 18.0),
        )
    )
    splenius = loft(
        (
            (10.0, 39.0, 54.0, 7.0, 13.0, 35.0),
            (-30.0, 36.0, 56.0, 8.0, 17.0, 40.0),
            (-70.0, 29.0, 63.0, 8.0, 19.0, 55.0),
            (-120.0, 20.0, 74.0, 6.0, 14.0, 70.0),
        )
    )
    suboccipital = ellipsoid((22.0, 44.0, 0.0), (13.0, 14.0, 18.0))
    levator = loft(
        (
            (-5.0, 36.0, 25.0, 8.0, 11.0),
            (-50.0, 38.0, 36.0, 10.5, 14.0),
            (-100.0, 44.0, 46.0, 11.0, 15.0),
            (-140.0, 58.0, 60.0, 13.0, 14.0),
            (-165.0, 72.0, 72.0, 12.0, 11.0),
        )
    )
    scalene = loft(
        (
            (-40.0, 23.0, 15.0, 6.0, 8.0),
            (-80.0, 26.0, 18.0, 9.0, 10.0),
            (-115.0, 32.0, 21.0, 11.0, 12.0),
            (-150.0, 42.0, 26.0, 12.0, 12.0),
            (-165.0, 48.0, 26.0, 9.0, 9.0),
        )
    )
    trapezius = loft(
        (
            (-10.0, 16.0, 76.0, 14.0, 4.0, -10.0),
            (-60.0, 27.0, 68.0, 20.0, 3.5, -28.0),
            (-110.0, 33.0, 69.0, 26.0, 5.0, -30.0),
            (-145.0, 58.0, 66.0, 36.0, 9.0, -22.0),
        )
    )
    colli = loft(
        (
            (-5.0, 7.0, -2.5, 6.0, 3.0),
            (-60.0, 9.0, -4.0, 7.0, 3.2),
            (-110.0, 9.0, 2.0, 6.0, 3.0),
            (-160.0, 8.0, 17.0, 4.0, 3.0),
        )
    )
    scm = loft(
        (
            (16.0, 57.0, 28.0, 5.0, 10.0, 0.0),
            (0.0, 58.0, 26.0, 6.5, 13.0, 0.0),
            (-30.0, 53.0, 16.0, 7.0, 17.0, -12.0),
            (-60.0, 47.0, 2.0, 7.0, 18.0, -22.0),
            (-95.0, 39.0, -10.0, 6.5, 17.0, -38.0),
            (-125.0, 30.0, -14.0, 6.0, 14.0, -55.0),
            (-150.0, 22.0, -14.0, 5.0, 11.0, -65.0),
            (-165.0, 16.0, -14.0, 4.0, 7.0, -65.0),
        )
    )
    for name, shape in {
        "semispinalis": semispinalis,
        "splenius": splenius,
        "suboccipital": suboccipital,
        "levator": levator,
        "scalene": scalene,
        "trapezius": trapezius,
        "longus_colli": colli,
    }.items():
        sketch.looks(name, sketch.sides(shape), MUSCLE)
    both = sketch.sides(scm)
    sketch.looks("sternocleidomastoid", both, MUSCLE)
    strap = loft(
        (
            (-50.0, 8.0, -48.0, 7.0, 2.5),
            (-80.0, 10.0, -48.0, 9.0, 2.5),
            (-120.0, 14.0, -38.0, 10.0, 2.5),
            (-155.0, 12.0, -20.0, 9.0, 2.5),
        )
    )
    sketch.looks("strap", sketch.sides(strap), MUSCLE)
    return both


def chest(sketch: Sketch) -> None:
    """Paint mediastinum, lungs, ribs and the shoulder's bones."""
    mediastinum = loft(
        (
            (-150.0, 0.0, 6.0, 22.0, 18.0),
            (-175.0, 0.0, 8.0, 30.0, 30.0),
            (-220.0, 0.0, 10.0, 34.0, 46.0),
            (-330.0, 0.0, 10.0, 40.0, 60.0),
        )
    )
    sketch.look("mediastinum", mediastinum, Look(-70.0, 10.0, 20.0, 6.0, soft_mm=1.5))
    lung = ellipsoid((54.0, 46.0, -258.0), (42.0, 56.0, 108.0), power=2.3)
    lungs = sketch.sides(lung, shift_mm=2.0)
    sketch.looks("pleura", (lungs[0].grown(3.0), lungs[1].grown(3.0)), MUSCLE)
    for k in range(7):
        z, r = -158.0 - 24.0 * k, 24.0 + min(k, 4) * 11.0
        rib = tube(
            [
                (20.0, 52.0 + 5 * k, z + 8.0),
                (28.0 + 0.75 * r, 60.0 + 6.0 * k, z),
                (40.0 + r, 36.0 + 2.0 * k, z - 10.0),
                (34.0 + r, 10.0, z - 18.0),
                (24.0, -16.0 - 5.0 * k, z - 22.0),
            ],
            4.2,
        )
        sketch.looks(f"rib_{k}", (rib, rib.mirrored()), Look(620.0, 5.0, 150.0, 3.0))
    sketch.looks("lung", lungs, LUNG)
    arch = tube([(20.0, 30.0, -262.0), (6.0, -6.0, -244.0), (-14.0, -22.0, -262.0), (-14.0, -22.0, -330.0)], 13.0)
    han.aorta(sketch, arch | tube([(20.0, 34.0, -262.0), (22.0, 46.0, -330.0)], 12.0), Look(42.0, 190.0))
    sternum = tube([(0.0, -20.0, -172.0), (0.0, -36.0, -215.0), (0.0, -44.0, -330.0)], [8.0, 9.0, 8.0])
    sketch.look("sternum", sternum, Look(450.0, 10.0, 120.0, 3.0))
    clavicle = tube(
        [(14.0, -20.0, -172.0), (60.0, -20.0, -166.0), (105.0, 6.0, -163.0), (145.0, 26.0, -168.0)],
        [8.0, 6.0, 5.5, 6.5],
    )
    humerus = ellipsoid((172.0, 34.0, -178.0), (23.0, 23.0, 24.0)) | tube(
        [(176.0, 36.0, -190.0), (186.0, 38.0, -330.0)], [15.0, 12.0]
    )
    scapula = tube([(148.0, 56.0, -168.0), (104.0, 92.0, -180.0), (84.0, 100.0, -240.0)], [8.0, 5.0, 4.0]) | tube(
        [(148.0, 42.0, -160.0), (150.0, 50.0, -190.0)], 9.0
    )
    scapula = scapula | tube([(146.0, 34.0, -154.0), (110.0, 84.0, -160.0)], [6.0, 5.0])
    for name, shape in {
        "clavicle": clavicle,
        "humerus": humerus.moved((-4.0, 4.0, -14.0)),
        "scapula": scapula.moved((-4.0, 0.0, -14.0)),
    }.items():
        both = sketch.sides(shape, shift_mm=2.0)
        sketch.looks(name, both, Look(900.0, 5.0, 120.0, 3.0))
        sketch.looks(f"{name}_inside", (both[0].grown(-2.2), both[1].grown(-2.2)), SPONGY)
