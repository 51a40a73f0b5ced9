"""Where an imported network came from, kept beside it as `origin.json`: what `npc-networks parity` compares with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from npc_networks.imports.safe_files import ImportRefused

FILE = "origin.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """What was imported.

    Attributes:
        framework: "nnunet-v1", "nnunet-v2" or "state-dict".
        path: folder of the training, or the file of weights.
        folds: as asked for; none took what there was.
        mirroring: whether windows are shown mirrored too.
    """

    framework: str
    path: Path
    folds: tuple[str, ...] = ()
    mirroring: bool = False


def write_origin(folder: Path, origin: Origin) -> None:
    """Write `origin.json` into a model folder."""
    content = {
        "framework": origin.framework,
        "path": str(origin.path),
        "folds": list(origin.folds),
        "mirroring": origin.mirroring,
    }
    (folder / FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_origin(folder: Path) -> Origin:
    """Read `origin.json`.

    Raises:
        ImportRefused: the network was not imported, or the file is damaged.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Origin(
            content["framework"], Path(content["path"]), tuple(content["folds"]), mirroring=content["mirroring"]
        )
    except OSError as error:
        raise ImportRefused(
            f"{path} cannot be read ({error.strerror}): only networks that `npc-networks import` wrote have an original"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ImportRefused(f"{path} is damaged: {error!r}: import the network anew") from error
