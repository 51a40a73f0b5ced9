"""State dicts put into networks: every key and shape accounted for, or refused with what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from npc_networks.imports.safe_files import ImportRefused

SHOWN = 5
PREFIXES = ("module.", "_orig_mod.")


def tensors_of(content: Any, where: str) -> dict[str, Tensor]:  # noqa: ANN401
    """Return a state dict without the prefixes that wrappers leave.

    Raises:
        ImportRefused: it is no dictionary of tensors.
    """
    if not isinstance(content, Mapping) or not content:
        raise ImportRefused(f"{where} is no state dict: found {type(content).__name__}")
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ImportRefused(f"{where}: {key!r} is a {type(value).__name__}, expected a tensor")
        name = key
        while name.startswith(PREFIXES):
            name = name.removeprefix("module.").removeprefix("_orig_mod.")
        tensors[name] = value
    return tensors


def load(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Put weights into a network.

    Raises:
        ImportRefused: keys are missing or left over, shapes differ, or a weight is not a number.
    """
    state = module.state_dict()
    # What is not trained (indices, counters of steps) keeps the network's own value where the file has none.
    trained = {*dict(module.named_parameters()), *(key for key, value in state.items() if value.is_floating_point())}
    wanted = {key: value for key, value in state.items() if key in trained or key in weights}
    if missing := [key for key in wanted if key not in weights]:
        raise ImportRefused(f"{path} lacks {len(missing)} of {len(wanted)} weights: {_some(missing)}")
    if unknown := [key for key in weights if key not in wanted]:
        raise ImportRefused(f"{path} holds {len(unknown)} weights that this network has no place for: {_some(unknown)}")
    for key, place in wanted.items():
        if weights[key].shape != place.shape:
            raise ImportRefused(
                f"{path}: {key} has shape {tuple(weights[key].shape)}, expected {tuple(place.shape)} from the plans"
            )
        if not torch.isfinite(weights[key]).all():
            raise ImportRefused(f"{path}: {key} holds values that are not numbers")
    module.load_state_dict({**state, **{key: weights[key].to(place.dtype) for key, place in wanted.items()}})


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
