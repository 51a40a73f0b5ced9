"""Calibration gives every class the voxels it truly has, by constants alone."""

from __future__ import annotations

import numpy as np

from npc_networks.calibration import prior_shift


def test_volumes_after_the_shift_are_the_true_ones() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, size=60_000, p=[0.9, 0.08, 0.02]).astype(np.uint8)
    logits = rng.normal(0.0, 1.0, size=(len(labels), 3))
    logits[np.arange(len(labels)), labels] += 3.0
    logits[:, 2] += 2.0

    shift = prior_shift(logits.astype(np.float16), labels)

    true, found = (np.bincount(values, minlength=3) for values in (labels, (logits + shift).argmax(axis=1)))
    before = np.bincount(logits.argmax(axis=1), minlength=3)
    assert before[2] > 3 * true[2]
    assert np.abs(found / true - 1.0).max() < 0.1


def test_a_class_that_is_never_true_is_left_alone() -> None:
    logits = np.array([[2.0, 0.0, 1.0], [0.0, 2.0, 1.0]] * 10, dtype=np.float16)

    shift = prior_shift(logits, np.array([0, 1] * 10, dtype=np.uint8))

    assert shift[2] == 0.0
    assert shift[0] == 0.0
