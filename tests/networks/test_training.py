"""Training learns, repeats itself, and goes on after an interruption as if there had been none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from npc_networks.networks import NETWORKS, NetworkSpec
from npc_networks.patches import SampledCase, with_centres
from npc_networks.phantom_data import TrainingCase
from npc_networks.training import Recipe, Training, read_checkpoint, trained_on

SPEC = replace(NETWORKS["npc_gtv"], patch_zyx=(16, 16, 16), features=(4, 8, 8), learning_rate=1e-2)


class BallPool:
    """Cases with a bright ball (1) and a dark one (2) in noise, anywhere."""

    def __init__(self, spec: NetworkSpec = SPEC) -> None:
        self.spec = spec

    def case(self, number: int) -> SampledCase:
        rng = np.random.default_rng(number)
        zyx = np.indices((20, 24, 22)).astype(float)
        hu = rng.normal(0, 15, (2, 20, 24, 22))
        labels = np.zeros((20, 24, 22), np.uint8)
        for label, step_hu in ((1, 150), (2, -150)):
            centre = rng.uniform(6, 14, 3).reshape(3, 1, 1, 1)
            ball = ((zyx - centre) ** 2).sum(0) < 16
            labels[ball] = label
            hu[:, ball] = step_hu
        return with_centres(TrainingCase(number, np.rint(hu).astype(np.int16), labels))


def _recipe(steps: int) -> Recipe:
    return Recipe(seed=3, steps=steps, first_cases=2, cases=4, steps_per_new_case=3, mixed_precision=False)


def test_loss_falls_within_a_few_steps() -> None:
    losses = [report.loss for report in Training(SPEC, _recipe(60)).run(BallPool())]

    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.8


def test_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = Training(SPEC, _recipe(6))
    list(whole.run(BallPool()))
    first = Training(SPEC, _recipe(6))
    run = first.run(BallPool())
    for _ in range(3):
        next(run)
    first.save(tmp_path / "half.pt")

    second = Training(SPEC, _recipe(6))
    second.load(tmp_path / "half.pt")
    reports = list(second.run(BallPool()))

    assert [report.step for report in reports] == [4, 5, 6]
    for ours, theirs in ((whole.network.state_dict(), second.network.state_dict()), (whole.average, second.average)):
        for key, value in ours.items():
            assert torch.equal(value, theirs[key]), key


def test_mixed_precision_learns_too() -> None:
    recipe = replace(_recipe(30), mixed_precision=True)

    losses = [report.loss for report in Training(SPEC, recipe).run(BallPool())]

    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.5


def test_average_follows_the_weights() -> None:
    training = Training(SPEC, _recipe(5))
    before = {key: value.clone() for key, value in training.average.items()}

    list(training.run(BallPool()))

    key = "decoder.seg_layers.1.weight"
    moved = (training.network.state_dict()[key] - before[key]).norm()
    lag = (training.network.state_dict()[key] - training.average[key]).norm()
    assert 0 < lag < moved


def test_checkpoint_of_another_network_or_seed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    Training(SPEC, _recipe(1)).save(path)

    with pytest.raises(ValueError, match="holds network npc_gtv, expected ln_ctv"):
        read_checkpoint(path, "ln_ctv")
    with pytest.raises(ValueError, match="seed 3, asked to continue with 4"):
        Training(SPEC, replace(_recipe(1), seed=4)).load(path)


def test_a_refinement_has_a_learning_rate_of_its_own_and_says_so(tmp_path: Path) -> None:
    training = Training(SPEC, replace(_recipe(80), learning_rate=2e-3))
    rates = [report.learning_rate for report in training.run(_Constant())]
    training.save(tmp_path / "net.pt")

    assert max(rates) < 2e-3 < SPEC.learning_rate
    assert "learning rate 0.002" in trained_on(read_checkpoint(tmp_path / "net.pt", SPEC.name))


def test_learning_rate_warms_up_and_falls() -> None:
    rates = [report.learning_rate for report in Training(SPEC, _recipe(80)).run(_Constant())]

    peak = int(np.argmax(rates))
    assert 40 <= peak <= 55
    assert rates[-1] < 0.05 * rates[peak]


class _Constant(BallPool):
    def __init__(self) -> None:
        super().__init__()
        self._case = super().case(0)

    def case(self, number: int) -> SampledCase:
        assert number >= 0
        return self._case


def test_pool_grows_with_the_steps_alone() -> None:
    recipe = _recipe(100)

    assert [recipe.pool_size(step) for step in (0, 2, 3, 6, 99)] == [2, 2, 3, 4, 4]


@pytest.mark.parametrize(("steps", "minutes"), [(None, None), (5, 1.0)])
def test_plan_is_either_steps_or_minutes(steps: int | None, minutes: float | None) -> None:
    with pytest.raises(ValueError, match="either steps or minutes"):
        Recipe(seed=0, steps=steps, minutes=minutes)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_runs_on_cuda() -> None:
    recipe = replace(_recipe(20), device="cuda", mixed_precision=True)

    losses = [report.loss for report in Training(SPEC, recipe).run(BallPool())]

    assert np.isfinite(losses).all()
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
