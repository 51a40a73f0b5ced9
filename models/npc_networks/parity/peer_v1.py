"""Runs nnU-Net v1's own code in its own environment; started as a script by `npc_networks.parity.original`.

    PYTHON peer_v1.py JOB.json RESULT.json

Steps and functions are those of nnU-Net's `predict_cases`, taken apart to be timed. It imports nothing of this product.
nnU-Net unpickles checkpoints, so it runs only on networks that their owner trusts.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunet.inference.segmentation_export import save_segmentation_nifti_from_softmax
from nnunet.postprocessing.connected_components import load_postprocessing, load_remove_save
from nnunet.training.model_restore import load_model_and_checkpoint_files

# Version 1 was written before PyTorch refused by default to run what checkpoints ask for.
torch.load = functools.partial(torch.load, weights_only=False)


def main(job_path: Path, result_path: Path) -> None:
    """Predict every case of a job."""
    job = json.loads(job_path.read_text())
    torch.set_num_threads(job["threads"])
    folds = "all" if job["folds"] == ["all"] else [int(fold) for fold in job["folds"]] or None
    trainer, weights = load_model_and_checkpoint_files(
        job["folder"], folds, mixed_precision=False, checkpoint_name="model_final_checkpoint"
    )
    cases = [_predict(trainer, weights, case, job) for case in job["cases"]]
    result = {
        "versions": {name: version(name) for name in ("nnunet", "torch", "numpy", "scipy", "scikit-image")},
        "cases": cases,
        "peak_rss_mb": _peak_rss_mb(),
    }
    result_path.write_text(json.dumps(result))


def _peak_rss_mb() -> float:
    """Return the most memory that this process held, 10^6 bytes; `ru_maxrss` would count its parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def _predict(trainer: Any, weights: list[Any], case: dict[str, Any], job: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    start = time.perf_counter()
    data, _, properties = trainer.preprocess_patient(case["images"])
    prepared = time.perf_counter()
    answers = []
    for fold in weights:
        trainer.load_checkpoint_ram(fold, train=False)
        answer = trainer.predict_preprocessed_data_return_seg_and_softmax(
            data,
            do_mirroring=job["mirroring"],
            mirror_axes=trainer.data_aug_params["mirror_axes"],
            use_sliding_window=True,
            step_size=0.5,
            use_gaussian=True,
            all_in_gpu=False,
            verbose=False,
            mixed_precision=False,
        )[1]
        answers.append(answer)
    softmax = sum(answers[1:], answers[0]) / len(answers)
    predicted = time.perf_counter()
    turned = softmax.transpose([0, *(axis + 1 for axis in trainer.plans.get("transpose_backward", (0, 1, 2)))])
    order = getattr(trainer, "regions_class_order", None)
    save_segmentation_nifti_from_softmax(turned, case["labels"], properties, 1, order, verbose=False)
    rules = Path(job["folder"]) / "postprocessing.json"
    if rules.is_file():
        classes, sizes = load_postprocessing(str(rules))
        load_remove_save(case["labels"], case["labels"], classes, sizes)
    exported = time.perf_counter()
    if case["maps"]:
        np.save(case["maps"], np.asarray(softmax, dtype=np.float32))
    return {
        "preprocess_s": prepared - start,
        "network_s": predicted - prepared,
        "export_s": exported - predicted,
        "windows_shape": list(data.shape),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
