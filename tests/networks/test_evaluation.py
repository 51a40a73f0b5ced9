"""Dice is counted per ROI, and an ROI is the union of its labels."""

import numpy as np
import pytest

from npc_contour.core.overlap import confusion, roi_overlap
from npc_networks.evaluation import Score, means, rois_by_network, summarise
from npc_networks.networks import NETWORKS


def test_union_of_labels_is_counted_as_one_mask() -> None:
    rng = np.random.default_rng(0)
    truth, found = (rng.integers(0, 6, (5, 7, 9)).astype(np.uint8) for _ in range(2))

    counts = confusion(truth, found, 6)

    for labels in ({1}, {1, 4}, {2, 3, 5}):
        t, f = np.isin(truth, list(labels)), np.isin(found, list(labels))
        assert roi_overlap(counts, labels) == (int((t & f).sum()), int(t.sum()), int(f.sum()))


def test_grids_must_agree() -> None:
    with pytest.raises(ValueError, match="different grids"):
        confusion(np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 3), np.uint8), 3)


def test_phantoms_without_the_structure_do_not_count() -> None:
    scores = [
        Score("n", "both", "A", 1, 0.5, 1.0, 1.0),
        Score("n", "both", "A", 2, None, 0.0, 0.0),
        Score("n", "both", "A", 3, 1.0, 1.0, 1.0),
        Score("n", "both", "B", 1, 0.25, 1.0, 1.0),
        Score("n", "both", "C", 1, None, 0.0, 0.0),
    ]

    a, b = summarise(scores)

    assert (a.mean, a.worst, a.cases) == (0.75, 0.5, 2)
    assert means([a, b]) == {("n", "both"): 0.5}


SEED_NAMES = {
    ("mediastinal_ln", "Lymph Node"): "GTVn_Mediastinum",
    ("npc_mr_gtv", "GTVp"): "GTVp_MR",
}
"""What the published systems call a structure that the product's ROI table names otherwise."""


def test_every_label_of_every_network_reaches_an_roi() -> None:
    rois = rois_by_network()

    for name, spec in NETWORKS.items():
        used = set().union(*(roi.labels for roi in rois[name]))
        assert used == set(range(1, len(spec.labels))), name
    assert [len(rois[name]) for name in ("npc_oar", "npc_gtv", "ln_ctv")] == [45, 2, 6]


def test_label_names_say_which_rois_share_them() -> None:
    """A label called "X in Y" belongs to the ROIs X and Y; any other to the ROI of its name or of its seed's name."""
    for name, rois in rois_by_network().items():
        labels_of = {roi.name: roi.labels for roi in rois}
        for value, label in enumerate(NETWORKS[name].labels[1:], start=1):
            wanted = SEED_NAMES.get((name, label), label).split(" in ")
            assert all(value in labels_of[roi] for roi in wanted), label
