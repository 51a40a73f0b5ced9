"""Model cards: what a demo network is, what it was trained on, how well it does and what it must not be used for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from npc_networks.evaluation import Summary, means
from npc_networks.networks import NETWORKS

CARD_FILE = "MODEL_CARD.md"

_TEXT = """# {name} {version}: demo network

**Demo network. Not for clinical use.** {intended_use}

| | |
|---|---|
| segments | {title} |
| input | {channels} |
| grid | {spacing} mm, windows of {patch} voxels, step {step} of a window |
| normalisation | {normalisation} |
| output | {labels} labels and background |
| architecture | plain convolutional 3D U-Net of nnU-Net's form, features {features}, {parameters:.1f} million weights |
| weights | `{weights}`, {megabytes:.1f} MB, float16 stored, SHA-256 `{sha256}` |
| uncertainty | {uncertainty} |

## Training

{trained_on}

{centred:.0%} of the patches are centred on {what} drawn evenly, so that small ones are seen as often as large ones,
the others lie anywhere; brightness, contrast and noise vary a little; nothing is mirrored. The loss is cross
entropy{balance} plus soft Dice at full, half and quarter resolution.
AdamW, learning rate {rate:g} after a short warm-up, falling to 1 % (power 0.9); gradients are clipped; convolutions
run in bfloat16; exported is the running average of the weights.
To repeat: `npc-networks train-demo {name} --out checkpoints --minutes M`, then `npc-networks export {name}
--checkpoint checkpoints/{name}.pt --repo triton_repo`.

## How well it does

{scores}

## Limits

* It has seen parametric phantoms only. Their anatomy is plausible and simple, their contrasts are cleaner than a
  patient's, and every organ is where the generator puts it. Nothing here says anything about patients.
{expects}
"""

_HEAD = """* It expects head and neck, head first, as the pipelines' rules ask; elsewhere it answers with nonsense.
* Surgery, large asymmetry, foreign bodies other than dental metal and other tumours were never shown to it."""
_EXPECTS = {
    "npc": _HEAD,
    "han": _HEAD,
    "chest": """* It expects a contrast CT of the chest from the lung's apex to the heart, head first.
* Nodes below 7 mm were shown to it as normal tissue. Lung tumours, effusions, surgery and nodes outside the mediastinum
  were never shown to it.""",
    "mr": """* It expects spin-echo T1, T2 and T1 with contrast agent of the nasopharynx on one grid, with or
  without fat saturation.
* Metal, motion within a sequence, gradient echoes, surgery and other tumours were never shown to it.""",
}

_BALANCE = " in which small classes weigh more (fading in the second half)"

_SCORES, _LIMITS = "## How well it does\n", "## Limits\n"
"""Headings before and after the scores."""

WHOLE_SCANS = "whole scans at their own spacing and field of view"
COARSE_SCANS = "scans no finer than those trained on"

_UNJUDGED = "Not judged yet: `npc-networks evaluate-demo --repo triton_repo --cards` fills in this table."

_JUDGED = """Dice on {phantoms} phantoms that were not trained on (seeds {seeds}), {scans}, through the
serving code on OpenVINO. `n` counts the phantoms that hold the structure.

{means}

| structure | input | mean | worst | n |
|---|---|---|---|---|
{rows}"""


def write_card(
    repository: Path,
    name: str,
    summaries: Sequence[Summary] = (),
    seeds: Sequence[int] = (),
    *,
    scans: str = WHOLE_SCANS,
) -> Path:
    """Write the model card of an exported network.

    Args:
        repository: folder of Triton's models.
        name: of the network.
        summaries: its scores; none leaves the table out and says so.
        seeds: of the phantoms behind the scores.
        scans: how those were scanned, in words.

    Returns:
        Where it lies.
    """
    contract = json.loads((repository / name / "contract.json").read_text(encoding="utf-8"))
    size = (repository / name / contract["weights"]["file"]).stat().st_size
    own = [summary for summary in summaries if summary.network == name]
    path = repository / name / CARD_FILE
    path.write_text(_card(contract, size, _scores(own, seeds, scans)), encoding="utf-8")
    return path


def renew_card(repository: Path, name: str) -> Path:
    """Write the card anew after a change of the contract, with the scores that it has; return where it lies."""
    path = repository / name / CARD_FILE
    scores = path.read_text(encoding="utf-8").split(_SCORES)[1].split(_LIMITS)[0].strip()
    contract = json.loads((repository / name / "contract.json").read_text(encoding="utf-8"))
    size = (repository / name / contract["weights"]["file"]).stat().st_size
    path.write_text(_card(contract, size, scores), encoding="utf-8")
    return path


def _card(contract: dict[str, Any], size_bytes: int, scores: str) -> str:
    spec = NETWORKS[contract["name"]]
    normalisation = "; ".join(_words(how) for how in contract["normalisation"])
    return _TEXT.format(
        name=contract["name"],
        version=contract["version"],
        title=spec.title,
        intended_use=contract["intended_use"],
        channels=" + ".join(contract["channels"]),
        spacing=" x ".join(f"{value:g}" for value in contract["spacing_zyx_mm"]),
        patch=" x ".join(str(value) for value in contract["patch_zyx"]),
        step=contract["step"],
        normalisation=normalisation,
        labels=len(contract["labels"]) - 1,
        features="-".join(str(value) for value in spec.features),
        parameters=size_bytes / 2e6,
        weights=contract["weights"]["file"],
        megabytes=size_bytes / 1e6,
        sha256=contract["weights"]["sha256"],
        uncertainty=_uncertainty(contract),
        trained_on=contract["trained_on"],
        centred=spec.centred_share,
        what="connected parts of the classes" if spec.centred_on_parts else "classes",
        rate=spec.learning_rate,
        balance=_BALANCE if spec.class_balance else "",
        scores=scores,
        expects=_EXPECTS[spec.kind],
    )


def _uncertainty(contract: dict[str, Any]) -> str:
    if "uncertainty" not in contract:
        return "not calibrated: `npc-networks calibrate-demo`"
    known = contract["uncertainty"]
    return f"{known['source']}; beyond {known['check_mm']:g} mm in the mean a contour is to be checked"


def _words(normalisation: dict[str, Any]) -> str:
    if "scheme" in normalisation:
        return "minus the channel's own mean, by its own deviation"
    low, high = normalisation["clip_hu"]
    return f"clip {low:g} to {high:g} HU, minus {normalisation['mean_hu']:g}, by {normalisation['std_hu']:g}"


def _scores(summaries: Sequence[Summary], seeds: Sequence[int], scans: str) -> str:
    if not summaries:
        return _UNJUDGED
    rows = "\n".join(f"| {s.roi} | {s.inputs} | {s.mean:.3f} | {s.worst:.3f} | {s.cases} |" for s in summaries)
    overall = "\n".join(
        f"* mean over structures, input {inputs}: **{value:.3f}**" for (_, inputs), value in means(summaries).items()
    )
    words = f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else str(seeds[0])
    return _JUDGED.format(scans=scans, phantoms=len(seeds), seeds=words, means=overall, rows=rows)
