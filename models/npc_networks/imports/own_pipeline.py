"""`npc-networks pipeline`: a pipeline of a site's own, from the labels of a network that no pipeline here asks for."""

from __future__ import annotations

import argparse
import colorsys
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from npc_contour.catalog import read_pipeline
from npc_contour.errors import CatalogError
from npc_contour.structure_names import known, meaning
from npc_networks.imports.safe_files import ImportRefused

TITLE = "write a pipeline of your own for a network's labels, as its dataset.json names them"
LONGEST = 16
"""Characters of an ROI's name that every planning system takes."""
NAME = re.compile(r"[a-z][a-z0-9_]*")
_SIDES = {"left": "_L", "right": "_R", "": ""}
_GOLDEN = 0.618034
"""Steps of this share around the circle of colours keep neighbours apart."""
_CUTS = (LONGEST, 5, 4, 3, 2)


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Declare the arguments of `pipeline`."""
    command.epilog = """examples:
  npc-networks pipeline Dataset558_HeadNeck/nnUNetTrainer__nnUNetPlans__3d_fullres --name han_cads --out han_cads.toml
  npc-networks import nnunet-v2 Dataset558_HeadNeck/... --pipeline han_cads.toml --repo my_repo"""
    command.add_argument("source", type=Path, metavar="FOLDER", help="with dataset.json, or that file")
    command.add_argument("--name", required=True, help="of the pipeline and its network, for example han_cads")
    command.add_argument("--out", type=Path, required=True, metavar="TOML", help="to write")
    command.add_argument(
        "--anatomy", choices=["head", "any"], default="head", help="what the images must show (default head)"
    )


def run(options: argparse.Namespace, console: Console) -> int:
    """Run `pipeline`; returns 2 and says why when the data set is refused."""
    try:
        path = options.source / "dataset.json" if options.source.is_dir() else options.source
        text = pipeline_toml(read_dataset(path), options.name, options.anatomy, str(path))
        with options.out.open("x", encoding="utf-8") as file:
            file.write(text)
        made = read_pipeline(options.out)
    except (ImportRefused, CatalogError, OSError) as error:
        console.print(f"refused: {error}", soft_wrap=True, markup=False, highlight=False)
        return 2
    names = ", ".join(roi.name for roi in made.rois)
    console.print(f"{options.out}: {len(made.rois)} ROIs: {names}", soft_wrap=True, markup=False, highlight=False)
    told = f"Check names and types in it, then: npc-networks import ... --pipeline {options.out}"
    console.print(told, soft_wrap=True, markup=False, highlight=False)
    return 0


def read_dataset(path: Path) -> Mapping[str, Any]:
    """Return a `dataset.json`.

    Raises:
        ImportRefused: it cannot be read, or is no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ImportRefused(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ImportRefused(f"{path} is no JSON: {error}") from error
    if not isinstance(content, Mapping) or not isinstance(content.get("labels"), Mapping):
        raise ImportRefused(f"{path} has no labels: is it nnU-Net's dataset.json?")
    return content


def pipeline_toml(dataset: Mapping[str, Any], name: str, anatomy: str, where: str) -> str:
    """Return a pipeline of one CT and one network.

    Args:
        dataset: content of `dataset.json`, of version 1 or 2.
        name: of the pipeline and of the network.
        anatomy: "head" or "any".
        where: the file, for messages.

    Raises:
        ImportRefused: the network does not take one CT, or labels or name are not what they must be.
    """
    if not NAME.fullmatch(name):
        raise ImportRefused(f"--name {name!r}: expected lower case letters, digits and _, a letter first")
    channels = list(map(str, (dataset.get("channel_names") or dataset.get("modality") or {}).values()))
    if len(channels) != 1 or "ct" not in channels[0].casefold():
        raise ImportRefused(
            f"{where}: the network takes {', '.join(channels) or 'nothing'}, and a pipeline is written for one CT:"
            " of others write the roles by hand, as in npc_contour/pipelines"
        )
    labels = dict(_labels(dataset["labels"], where))
    rois = [
        f'  {{ name = {json.dumps(roi, ensure_ascii=False)}, type = "{_type(roi)}", network = "{name}",'
        f" labels = {labels[theirs]}, colour = {_colour(index)} }},"
        for index, (theirs, roi) in enumerate(roi_names(list(labels)).items())
    ]
    return "\n".join([
        f"# Labels of {Path(where).parent.name or where}. Check names, types and what the images must show before use.",
        "",
        f'name = "{name}"',
        f"title = {json.dumps(str(dataset.get('name') or name), ensure_ascii=False)}",
        f'label = "{name[:LONGEST].upper()}"',
        'planning_role = "planning_ct"',
        "",
        "rois = [",
        *rois,
        "]",
        "",
        "[[roles]]",
        'name = "planning_ct"',
        'modality = "CT"',
        'contrast = "any"',
        f'anatomy = "{anatomy}"',
        'exclude_pattern = "bone|sharp|lung"',
        "",
        "[[networks]]",
        f'network = "{name}"',
        'roles = ["planning_ct"]',
        "",
    ])  # fmt: skip


def roi_names(labels: list[str]) -> dict[str, str]:
    """Return names of ROIs for a network's names: TG-263's where it is known and one label has it, else shortened."""
    meanings = Counter(meaning(label) for label in labels)
    taken: set[str] = set()
    names: dict[str, str] = {}
    for label in labels:
        means = meaning(label)
        is_known = means.structure in known().values() and meanings[means] == 1
        candidates = [means.structure + _SIDES[means.side]] if is_known else []
        candidates += list(_shortened(label, means.side))
        free = [one for one in candidates if 0 < len(one) <= LONGEST and one.casefold() not in taken]
        stem = candidates[-1][: LONGEST - 3]
        names[label] = free[0] if free else next(
            one for number in range(2, 999) if (one := f"{stem}{number}").casefold() not in taken
        )  # fmt: skip
        taken.add(names[label].casefold())
    return names


def _shortened(label: str, side: str) -> Iterator[str]:
    """Yield a name with ever shorter words, its side last."""
    words = [word for word in re.findall(r"[^\W_]+", label) if not side or meaning(f"x {word}").side != side] or ["ROI"]
    for letters in _CUTS:
        yield "_".join(word[:letters] for word in words) + _SIDES[side]


def _labels(labels: Mapping[Any, Any], where: str) -> Iterator[tuple[str, list[int]]]:
    """Yield (name, its label values); version 1 writes value to name, version 2 name to value or values."""
    for one, other in labels.items():
        numbered = str(one).isdecimal() and isinstance(other, str) and not other.isdecimal()
        name, value = (other, one) if numbered else (one, other)
        values = value if isinstance(value, list) else [value]
        if not all(str(number).isdecimal() for number in values):
            raise ImportRefused(f"{where}: label {name!r} is {value!r}, expected whole numbers")
        if str(name) != "ignore" and any(map(int, values)):
            yield str(name), [int(number) for number in values]


def _type(name: str) -> str:
    prefix = name[:3].upper()
    return prefix if prefix in {"GTV", "CTV", "PTV"} else "ORGAN"


def _colour(index: int) -> list[int]:
    red, green, blue = colorsys.hsv_to_rgb(index * _GOLDEN % 1, 0.6 + 0.4 * (index % 2), 1.0)
    return [round(255 * part) for part in (red, green, blue)]
