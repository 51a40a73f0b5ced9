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
        checkpoint: file of each fold; None takes the framework's own.
        postprocessing: rules that are applied to every answer; None where there are none, or the framework finds them.
    """

    framework: str
    path: Path
    folds: tuple[str, ...] = ()
    mirroring: bool = False
    checkpoint: str | None = None
    postprocessing: Path | None = None


def write_origin(folder: Path, origin: Origin) -> None:
    """Write `origin.json` into a model folder."""
    content = {
        "framework": origin.framework,
        "path": str(origin.path),
        "folds": list(origin.folds),
        "mirroring": origin.mirroring,
        "checkpoint": origin.checkpoint,
        "postprocessing": None if origin.postprocessing is None else str(origin.postprocessing),
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
        # Networks that were imported before the last two were kept have neither.
        rules = content.get("postprocessing")
        return Origin(
            content["framework"],
            Path(content["path"]),
            tuple(content["folds"]),
            mirroring=content["mirroring"],
            checkpoint=content.get("checkpoint"),
            postprocessing=None if rules is None else Path(rules),
        )
    except OSError as error:
        raise ImportRefused(
            f"{path} cannot be read ({error.strerror}): only networks that `npc-networks import` wrote have an original"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImportRefused(f"{path} is damaged: {error!r}: import the network anew") from error
