"""The answer is the mean over every mirrored view, each turned back, for every window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch

from npc_networks.serving.mirroring import MirroringEngine

Float32Array = npt.NDArray[np.float32]


class TorchEngine:
    def __init__(self, network: torch.nn.Module) -> None:
        self.seen = 0
        self._network = network

    def predict(self, windows: Iterable[Float32Array]) -> Iterator[Float32Array]:
        for window in windows:
            self.seen += 1
            with torch.inference_mode():
                logits = self._network(torch.from_numpy(np.ascontiguousarray(window[np.newaxis])))[0]
            yield logits.permute(1, 2, 3, 0).numpy()


def _by_nnunet(network: torch.nn.Module, window: Float32Array, axes: tuple[int, ...]) -> Float32Array:
    """nnU-Net's own sum over combinations of axes, in PyTorch."""
    x = torch.from_numpy(window[np.newaxis])
    combinations = [tuple(axis + 2 for n, axis in enumerate(axes) if bits >> n & 1) for bits in range(1 << len(axes))]
    with torch.inference_mode():
        total = sum(torch.flip(network(torch.flip(x, dims)), dims) for dims in combinations) / len(combinations)
    assert isinstance(total, torch.Tensor)
    return total[0].permute(1, 2, 3, 0).numpy()


def test_is_nnunets_mean_for_every_window() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv3d(2, 3, 3, padding=1)
    windows = [np.random.default_rng(seed).normal(size=(2, 4, 6, 5)).astype(np.float32) for seed in (1, 2)]
    for axes in ((0, 1, 2), (2,), (0, 2)):
        engine = TorchEngine(network)

        answers = list(MirroringEngine(engine, axes).predict(windows))

        assert engine.seen == len(windows) * 2 ** len(axes)
        for answer, window in zip(answers, windows, strict=True):
            np.testing.assert_allclose(answer, _by_nnunet(network, window, axes), atol=1e-6)
