"""How a network did on its own validation cases, as nnU-Net's `summary.json` beside each fold says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from npc_networks.imports.safe_files import ImportRefused

V1, V2 = Path("validation_raw") / "summary.json", Path("validation") / "summary.json"


def read_validation(folds: Sequence[Path], summary: Path) -> dict[str, float]:
    """Return the mean Dice of each label or region over the folds that were validated, by nnU-Net's own key.

    Args:
        folds: folders of the folds.
        summary: where each keeps its figures, V1 or V2.

    Raises:
        ImportRefused: a file is not what nnU-Net writes.
    """
    found: dict[str, list[float]] = {}
    for path in (fold / summary for fold in folds):
        if not path.is_file():
            continue
        for label, dice in _dice_of(path).items():
            # A label that no case of the fold holds has no Dice.
            if math.isfinite(dice):
                found.setdefault(label, []).append(dice)
    return {label: sum(values) / len(values) for label, values in found.items()}


def check_validation(dice: Mapping[str, float], names: Sequence[str]) -> None:
    """Return when every label was found in some validation case.

    Args:
        dice: by label or region.
        names: of labels, by value; none where they are not known.

    Raises:
        ImportRefused: with the labels whose Dice is 0.
    """
    if missed := [f"{label} ({named(label, names)})" for label, value in dice.items() if not value]:
        raise ImportRefused(
            f"on its own validation cases the network finds nothing of label {', '.join(missed)}: its Dice is 0;"
            " --accept takes it all the same"
        )


def named(label: str, names: Sequence[str]) -> str:
    """Return what a label of the summary is called."""
    return names[int(label)] if label.isdecimal() and int(label) < len(names) else "no name"


def _dice_of(path: Path) -> dict[str, float]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        means = content.get("results", content)["mean"]
        return {str(label): float(scores["Dice"]) for label, scores in means.items() if str(label) not in ("0", "mean")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImportRefused(f"{path} is not what nnU-Net writes after training: {error!r}") from error
