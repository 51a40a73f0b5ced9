"""Outputs of a network in the pipeline's order, where whoever imports it says which label is which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from npc_networks.imports.network import ImportedNetwork
from npc_networks.imports.safe_files import ImportRefused


class _Arranged(nn.Module):
    """A network whose outputs come in another order."""

    def __init__(self, network: nn.Module, order: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("order", torch.tensor(order))

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, class, z, y, x)."""
        return torch.index_select(self.network(x), 1, self.get_buffer("order"))


def read_mapping(words: Sequence[str]) -> dict[str, str]:
    """Read THEIRS=OURS, names or values of labels.

    Raises:
        ImportRefused: a word is not of that form, or a name is there twice.
    """
    mapping: dict[str, str] = {}
    for word in words:
        theirs, equals, ours = word.partition("=")
        if not (theirs and equals and ours):
            raise ImportRefused(f"--labels {word!r}: expected THEIRS=OURS, for example Parotid_Right=Parotid_R")
        if theirs in mapping:
            raise ImportRefused(f"--labels: {theirs!r} is there twice")
        mapping[theirs] = ours
    return mapping


def arranged(network: ImportedNetwork, mapping: Mapping[str, str], labels: Sequence[str]) -> ImportedNetwork:
    """Return the network with its labels where the pipeline has them.

    Args:
        network: as it was read.
        mapping: its labels, by name or value, to the pipeline's, by name or value; all others keep their values.
        labels: names of the pipeline's labels, by value; a name of several structures lists them ("A in B").

    Raises:
        ImportRefused: a label is not known, two fall on one, or the network gives regions, not labels.
    """
    if not mapping:
        return network
    if network.regions is not None:
        raise ImportRefused("--labels: the network gives regions, whose labels its regions_class_order says")
    theirs = network.label_names or tuple(map(str, range(network.classes)))
    ours = tuple(label.split(" in ")[0] for label in labels)
    moved = {_value(one, theirs, "the network"): _value(other, ours, "the pipeline") for one, other in mapping.items()}
    places = [moved.get(value, value) for value in range(network.classes)]
    if doubles := {place for place in places if places.count(place) > 1}:
        raise ImportRefused(
            f"--labels: several labels of the network fall on {', '.join(ours[place] for place in sorted(doubles))}"
        )
    order = [places.index(value) for value in range(network.classes)]
    return replace(
        network,
        module=_Arranged(network.module, order).eval(),
        # Who maps labels has said what they mean: their names are the pipeline's from here on.
        label_names=tuple(ours[value] if own in moved else theirs[own] for value, own in enumerate(order))
        if network.label_names
        else (),
        keep_largest=tuple(
            replace(rule, labels=tuple(places[label] for label in rule.labels)) for rule in network.keep_largest
        ),
        validation={
            str(places[int(label)]) if label.isdecimal() else label: dice for label, dice in network.validation.items()
        },
    )


def _value(label: str, names: Sequence[str], whose: str) -> int:
    if label in names:
        return names.index(label)
    if label.isdecimal() and int(label) < len(names):
        return int(label)
    raise ImportRefused(f"--labels: {whose} has no label {label!r}; it has {', '.join(names)}")
