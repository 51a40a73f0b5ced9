"""Starting a training from an exported network of the same form: its weights, fitted to other channels and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from npc_contour.catalog import read_contract

FIRST = "encoder.stages.0.0.convs.0.conv.weight"
HEAD = "decoder.seg_layers."


def exported(folder: Path) -> tuple[str, Mapping[str, Tensor], tuple[str, ...]]:
    """Return name, weights and labels of the network in a folder of the model repository."""
    contract = read_contract(folder / "contract.json")
    model = onnx.load(folder / contract.weights_file)
    weights = {
        tensor.name.removesuffix(".half"): torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32))
        for tensor in model.graph.initializer
    }
    return contract.name, weights, contract.labels


def fitted(
    own: Mapping[str, Tensor], labels: Sequence[str], given: Mapping[str, Tensor], given_labels: Sequence[str]
) -> tuple[dict[str, Tensor], int]:
    """Fit the weights of one network to another.

    Channels that are one here and several there have their first kernels added: the sum answers as the given network
    does to equal channels; other numbers of channels keep their own first kernels. A label takes the row of the label
    that has its name, or of which it is a part by name ("Musc_Constrict_S" of "Musc_Constrict"); other rows stay.

    Args:
        own: state dict of the network to start.
        labels: its labels.
        given: weights of the exported network.
        given_labels: its labels.

    Returns:
        The state dict to load, and how many labels took a row.

    Raises:
        ValueError: the networks are of different forms.
    """
    state = {name: value.clone() for name, value in own.items()}
    rows = {k: _row_of(label, given_labels) for k, label in enumerate(labels)}
    pairs = [(k, row) for k, row in rows.items() if row is not None]
    for name, value in given.items():
        if name not in state:
            raise ValueError(f"the exported network has weights {name}, this one has none of that name")
        if name.startswith(HEAD):
            for k, row in pairs:
                state[name][k] = value[row]
            continue
        fit = _first_kernels(value, own[name]) if name == FIRST else value
        if fit.shape != own[name].shape:
            raise ValueError(f"{name} is {list(fit.shape)} in the exported network, {list(own[name].shape)} here")
        state[name] = fit.clone()
    return state, len(pairs)


def _first_kernels(given: Tensor, own: Tensor) -> Tensor:
    if own.shape[1] == 1:
        return given.sum(dim=1, keepdim=True)
    return given if given.shape[1] == own.shape[1] else own


def _row_of(label: str, given: Sequence[str]) -> int | None:
    plain = [name.split(" in ")[0] for name in given]
    for matches in (
        lambda name: name == label,
        lambda name: label.startswith(f"{name}_"),
        lambda name: label.replace("CavityOral", "Cavity_Oral").startswith(name) and name != "background",
    ):
        found = [row for row, name in enumerate(plain) if matches(name)]
        if found:
            # The last one: a plain label stands behind those of its overlaps.
            return found[-1] if label.startswith("Musc_") else found[0]
    return None
