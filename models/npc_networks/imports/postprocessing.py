"""nnU-Net's rules for the finished label map: `postprocessing.json` of version 1, `postprocessing.pkl` of version 2."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npc_contour.domain.pipelines import LargestComponent
from npc_networks.imports.safe_files import ImportRefused, Named, read_pickle

LARGEST_V2 = Named(
    "nnunetv2.postprocessing.remove_connected_components", "remove_all_but_largest_component_from_segmentation"
)


def read_v1(path: Path) -> tuple[LargestComponent, ...]:
    """Return the rules of a `postprocessing.json`; none where there is no such file.

    Version 1 takes pieces together that share a face, and spares pieces of a size that was valid in training.

    Raises:
        ImportRefused: the file is no JSON or its keys are not version 1's.
    """
    if not path.is_file():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        classes = content["for_which_classes"]
        sizes = ast.literal_eval(content.get("min_valid_object_sizes", "None"))
        return tuple(_rule_v1(chosen, sizes, path) for chosen in classes)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, AttributeError) as error:
        raise ImportRefused(
            f"{path} is not version 1's: {type(error).__name__}: {error}; expected for_which_classes, a list of labels"
            " or of lists of labels, and min_valid_object_sizes"
        ) from error


def read_v2(path: Path) -> tuple[LargestComponent, ...]:
    """Return the rules of a `postprocessing.pkl`; pieces are taken together that share a corner.

    Raises:
        ImportRefused: the file is absent, would run code, or asks for another function than nnU-Net's own.
    """
    content = read_pickle(path, allowed=(LARGEST_V2,))
    if not isinstance(content, tuple | list) or len(content) != 2:
        raise ImportRefused(f"{path} holds a {type(content).__name__}, expected functions and their arguments")
    functions, arguments = content
    if not isinstance(functions, list) or not isinstance(arguments, list) or len(functions) != len(arguments):
        raise ImportRefused(f"{path}: expected as many arguments as functions")
    return tuple(_rule_v2(function, given, path) for function, given in zip(functions, arguments, strict=True))


def _rule_v1(chosen: Any, sizes: Any, path: Path) -> LargestComponent:  # noqa: ANN401
    labels = _labels(chosen, path)
    key = tuple(chosen) if isinstance(chosen, list) else chosen
    spare = None if sizes is None else float(sizes[key])
    return LargestComponent(labels, corners=False, spare_mm3=spare)


def _rule_v2(function: Any, given: Any, path: Path) -> LargestComponent:  # noqa: ANN401
    if function != LARGEST_V2 or not isinstance(given, Mapping) or "labels_or_regions" not in given:
        raise ImportRefused(f"{path}: expected {LARGEST_V2.name} with labels_or_regions, found {given!r}")
    if given.get("background_label", 0) != 0:
        raise ImportRefused(f"{path}: background_label is {given['background_label']!r}, expected 0")
    return LargestComponent(_labels(given["labels_or_regions"], path), corners=True)


def _labels(value: Any, path: Path) -> tuple[int, ...]:  # noqa: ANN401
    """Return all labels of a label, a region, or a list of either."""
    if isinstance(value, list | tuple):
        return tuple(dict.fromkeys(label for one in value for label in _labels(one, path)))
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ImportRefused(f"{path}: {value!r} is no label of a structure")
    return (int(value),)
