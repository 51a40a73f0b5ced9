"""Glands, pharynx, larynx, gullet, windpipe, thyroid: labels 38 to 41 and 47 to 54."""

from __future__ import annotations

from npc_phantom.parts import Look, Sketch
from npc_phantom.shapes import Shape, below, ellipsoid, loft, tube
from npc_phantom.trunk import AIR, FAT

MUCOSA = Look(42.0, 48.0, 4.0, 3.0)
TRACHEA = Look(70.0, 20.0, 30.0, 3.0)
CARTILAGE = Look(170.0, 10.0, 70.0, 3.0)


def glands(
    sketch: Sketch, masseters: tuple[Shape, Shape], mandible: tuple[Shape, Shape], scm: tuple[Shape, Shape]
) -> None:
    """Paint submandibular (38, 39) and parotid glands (40, 41)."""
    submandibular = ellipsoid(
        (35.5, -27.0, -40.5),
        (20.5, 12.8, 9.8),
        long_axis=(-0.2, -0.05, 0.97),
        second_axis=(0.5, 0.8, 0.0),
        power=2.2,
    )
    both = sketch.sides(submandibular, shift_mm=1.5, size=0.05)
    both = (both[0] - mandible[0].grown(0.5).only_union(), both[1] - mandible[1].grown(0.5).only_union())
    sketch.organs("Submandibular", both, Look(42.0, 48.0, 6.0, 3.0), (38, 39))
    outer = loft(
        (
            (-33.0, 58.0, -12.0, 5.0, 6.0), (-27.0, 58.0, -9.0, 11.0, 12.0), (-15.0, 59.0, -6.0, 16.0, 18.0),
            (-3.0, 61.0, -6.0, 18.5, 22.0), (9.0, 62.0, -8.0, 18.5, 25.0), (17.0, 64.0, -9.0, 16.5, 24.0),
            (24.0, 66.0, -10.0, 12.0, 18.0), (29.0, 67.0, -11.0, 9.0, 13.0), (34.0, 68.0, -11.0, 4.0, 6.0),
        )
    )  # fmt: skip
    for k, shape in enumerate(sketch.sides(outer, shift_mm=1.0, size=0.04)):
        cut = shape - masseters[k].grown(0.6) - mandible[k].grown(1.2).only_union() - scm[k].grown(0.6)
        sketch.organ(f"Parotid_{'LR'[k]}", cut, Look(-8.0, 32.0, 22.0, 3.0), 40 + k, keeps=(42, 43, 44, 45))


def airway(sketch: Sketch) -> Shape:
    """Paint pharynx wall and lumen down to the vocal cords; return the lumen."""
    wall = loft(
        (
            (40.0, 0.0, -20.0, 15.0, 12.0),
            (30.0, 0.0, -20.0, 19.0, 18.0),
            (10.0, 0.0, -20.0, 21.0, 16.0),
            (-40.0, 0.0, -16.0, 17.0, 10.0),
            (-60.0, 0.0, -18.0, 16.0, 11.0),
        )
    )
    sketch.look(
        "parapharyngeal_fat",
        wall.grown(9.0) & below((0.0, 1.0, 0.0), -4.0) & below((0.0, 0.0, 1.0), 32.0),
        FAT,
    )
    sketch.look("pharynx_wall", wall, MUCOSA)
    lumen = loft(
        (
            (37.0, 0.0, -26.0, 8.0, 8.0), (30.0, 0.0, -26.0, 14.0, 13.0), (18.0, 0.0, -26.0, 15.0, 13.0),
            (8.0, 0.0, -23.0, 15.0, 8.0), (-4.0, 0.0, -20.5, 15.0, 6.5), (-20.0, 0.0, -18.5, 14.0, 6.0),
            (-38.0, 0.0, -19.0, 14.0, 6.5), (-50.0, 0.0, -22.0, 11.0, 7.5), (-60.0, 0.0, -25.0, 8.0, 8.0),
            (-67.0, 0.0, -27.0, 5.0, 9.0), (-70.0, 0.0, -28.0, 2.6, 10.0), (-74.0, 0.0, -27.0, 5.0, 9.5),
            (-82.0, 0.0, -26.0, 8.0, 9.5), (-92.0, 0.0, -25.0, 9.0, 10.0),
        )
    )  # fmt: skip
    return sketch.vary(lumen, shift_mm=0.5, size=0.03)


def larynx(sketch: Sketch, lumen: Shape) -> None:
    """Paint hyoid, larynx (48 to 51), pharyngeal constrictors (51, 52), and the lumen."""
    whole = loft(
        (
            (-104.0, 0.0, -14.0, 7.0, 5.0), (-99.0, 0.0, -20.0, 13.0, 13.0), (-93.0, 0.0, -23.0, 17.5, 17.5),
            (-86.0, 0.0, -25.0, 20.5, 20.5), (-75.0, 0.0, -27.0, 22.0, 22.0), (-63.0, 0.0, -26.5, 22.0, 21.0),
            (-52.0, 0.0, -23.5, 20.5, 18.0), (-45.0, 0.0, -20.5, 18.5, 14.0), (-39.0, 0.0, -15.0, 17.0, 8.5),
            (-36.0, 0.0, -12.0, 14.0, 5.0),
        ),
        power=2.2,
    )  # fmt: skip
    whole = sketch.vary(whole)
    sketch.organ("Larynx", whole, Look(32.0, 25.0, 18.0, 3.0), 48)
    hyoid = tube(
        [
            (21.0, -16.0, -38.0),
            (17.0, -36.0, -42.0),
            (0.0, -46.0, -43.0),
            (-17.0, -36.0, -42.0),
            (-21.0, -16.0, -38.0),
        ],
        [2.0, 3.0, 4.0, 3.0, 2.0],
    )
    sketch.look("hyoid", hyoid, Look(650.0, 0.0, 100.0, 3.0))
    sketch.look("preepiglottic_fat", ellipsoid((0.0, -39.0, -55.0), (10.0, 4.5, 8.0)), FAT)
    for side in (1.0, -1.0):
        plate = ellipsoid(
            (10.5 * side, -37.0, -68.0),
            (2.0, 16.0, 12.5),
            long_axis=(0.84 * side, -0.0 - 0.54 * -1.0, 0.0),
            second_axis=(-0.54 * side, 0.84, 0.0),
            power=2.6,
        )
        sketch.look("thyroid_cartilage", plate, CARTILAGE)
        sketch.look("arytenoid", ellipsoid((5.5 * side, -15.5, -67.0), (2.5, 2.5, 5.0)), CARTILAGE)
    cricoid = loft(((-95.0, 0.0, -25.0, 12.0, 12.5), (-84.0, 0.0, -25.0, 12.5, 13.0), (-76.0, 0.0, -16.0, 10.0, 4.0)))
    sketch.look("cricoid", cricoid, Look(210.0, 10.0, 90.0, 3.0))
    glottic = loft(
        (
            (-91.0, 0.0, -30.0, 10.5, 9.5),
            (-84.0, 0.0, -30.0, 13.5, 11.5),
            (-78.0, 0.0, -29.5, 15.2, 15.0),
            (-69.6, 0.0, -29.0, 15.8, 16.5),
        ),
        power=2.3,
    )
    supra = loft(
        ((-69.4, 0.0, -30.0, 15.5, 12.5), (-57.0, 0.0, -29.5, 16.5, 13.0), (-48.0, 0.0, -28.0, 15.5, 12.0)),
        power=2.3,
    )
    shift = [float(v) for v in sketch.rng.normal(0.0, 0.5, 2)] + [0.0]
    sketch.organ("Larynx_Glottic", glottic.moved(shift), None, 49)
    sketch.organ("Larynx_Supraglot", supra.moved(shift), None, 50)
    sketch.look("vocal_cords", ellipsoid((0.0, -27.0, -71.0), (9.0, 12.0, 3.0)), Look(55.0, 25.0))
    outer = loft(
        (
            (-93.0, 0.0, -13.0, 14.0, 8.0), (-69.0, 0.0, -13.5, 16.5, 8.0), (-45.0, 0.0, -13.5, 17.5, 8.0),
            (-27.0, 0.0, -14.5, 19.5, 10.5), (-15.0, 0.0, -17.0, 22.5, 13.0), (-8.0, 0.0, -18.5, 24.0, 14.5),
            (3.0, 0.0, -18.5, 23.5, 14.5), (8.0, 0.0, -18.0, 20.0, 13.0), (10.5, 0.0, -9.0, 9.0, 3.0),
        ),
        power=2.2,
    )  # fmt: skip
    inner = loft(
        (
            (-96.0, 0.0, -17.0, 13.0, 7.2), (-69.0, 0.0, -18.2, 15.5, 8.0), (-45.0, 0.0, -18.2, 15.5, 8.0),
            (-27.0, 0.0, -20.0, 16.0, 10.4), (-15.0, 0.0, -23.0, 18.6, 13.0), (-8.0, 0.0, -25.0, 19.6, 14.4),
            (3.0, 0.0, -25.2, 19.4, 14.6), (12.0, 0.0, -24.5, 17.0, 13.0),
        ),
        power=2.2,
    )  # fmt: skip
    constrictor = sketch.vary(outer, shift_mm=0.5, size=0.02) - inner
    sketch.organ("PharynxConst", constrictor, Look(52.0, 16.0, 3.0), 52, over={48: 51, 49: 51, 50: 51}, keeps=(35,))
    sketch.look("airway", lumen, AIR)
    epiglottis = ellipsoid(
        (0.0, -24.0, -45.0), (11.0, 1.7, 11.0), long_axis=(1.0, 0.0, 0.0), second_axis=(0.0, 1.0, 0.35)
    )
    sketch.look("epiglottis", epiglottis, Look(50.0, 35.0))
    sketch.look(
        "uvula",
        ellipsoid((0.0, -30.0, 6.0), (14.0, 9.0, 5.0)) | tube([(0.0, -24.0, 4.0), (0.0, -21.0, -8.0)], [5.0, 3.0]),
        Look(45.0, 40.0),
    )


def lower_neck(sketch: Sketch) -> tuple[Shape, Shape]:
    """Paint thyroid (53), oesophagus (47) and trachea (54); return thyroid and trachea."""
    path = (
        (-90.5, -25.0),
        (-102.0, -23.5),
        (-114.0, -19.5),
        (-126.0, -14.5),
        (-138.0, -9.0),
        (-150.0, -4.0),
        (-162.0, 1.0),
        (-174.0, 6.0),
        (-190.0, 12.0),
        (-210.0, 19.0),
        (-240.0, 26.0),
        (-270.0, 32.0),
    )
    trachea = sketch.vary(loft([(z, 0.0, y, 11.0, 12.2) for z, y in path]), shift_mm=0.7, size=0.0)
    gullet = (
        (-95.0, 3.0, -8.0), (-102.0, 5.0, -7.0), (-114.0, 7.0, -5.0), (-126.0, 8.5, 0.0), (-138.0, 10.0, 4.0),
        (-150.0, 10.5, 9.0), (-162.0, 11.0, 14.0), (-174.0, 12.0, 20.0), (-190.0, 12.0, 27.0), (-210.0, 12.0, 36.0),
        (-240.0, 11.0, 44.0), (-330.0, 8.0, 52.0),
    )  # fmt: skip
    gullet_shape = sketch.vary(loft([(z, x, y, 9.0, 5.8) for z, x, y in gullet]), shift_mm=0.7, size=0.0)
    lobe = loft(
        (
            (-137.0, 17.0, -11.0, 5.0, 5.0),
            (-130.0, 18.5, -15.0, 8.5, 10.5),
            (-118.0, 18.5, -18.0, 9.5, 13.5),
            (-106.0, 18.5, -19.5, 8.5, 13.0),
            (-96.0, 19.0, -20.0, 6.0, 10.0),
            (-88.0, 19.5, -20.0, 3.0, 5.0),
        )
    )
    isthmus = tube([(-15.0, -28.0, -116.0), (0.0, -35.0, -116.0), (15.0, -28.0, -116.0)], [5.5, 4.5, 5.5])
    thyroid = sketch.vary(lobe | lobe.mirrored() | isthmus, shift_mm=1.0, size=0.05)
    sketch.organ("Thyroid", thyroid, Look(112.0, 85.0, 9.0, 3.0), 53, keeps=(48, 49, 50, 51, 52))
    sketch.organ("Esophagus", gullet_shape, Look(42.0, 22.0, 6.0, 3.0), 47, keeps=(48, 49, 50, 51, 52))
    if sketch.rng.uniform() < 0.5:
        sketch.look("gullet_air", ellipsoid((11.0, 12.0, -158.0), (2.0, 1.5, 8.0)), Look(-700.0))
    sketch.organ("Trachea", trachea, TRACHEA, 54, keeps=(48, 49, 50, 51, 52))
    sketch.look("tracheal_lumen", trachea.grown(-2.0).moved((0.0, -0.8, 1.0)), AIR)
    return thyroid, trachea
