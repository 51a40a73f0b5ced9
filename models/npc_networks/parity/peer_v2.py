"""Runs nnU-Net v2's own code in its own environment; started as a script by `npc_networks.parity.original`.

    PYTHON peer_v2.py JOB.json RESULT.json

Steps and functions are those of nnU-Net's `predict_from_files_sequential`, taken apart to be timed. It imports nothing
of this product. nnU-Net unpickles checkpoints, so it runs only on networks that their owner trusts.
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
from nnunetv2.inference import export_prediction, predict_from_raw_data
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


def main(job_path: Path, result_path: Path) -> None:
    """Predict every case of a job."""
    job = json.loads(job_path.read_text())
    torch.set_num_threads(job["threads"])
    if job["single_sums"]:
        _sum_in_single_precision()
    predictor = nnUNetPredictor(
        use_mirroring=job["mirroring"], device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False
    )
    folds = tuple(fold if fold == "all" else int(fold) for fold in job["folds"]) or None
    predictor.initialize_from_trained_model_folder(job["folder"], folds)
    cases = [_predict(predictor, case) for case in job["cases"]]
    result = {
        "versions": {name: version(name) for name in ("nnunetv2", "torch", "numpy", "scipy", "scikit-image")},
        "cases": cases,
        "peak_rss_mb": _peak_rss_mb(),
    }
    result_path.write_text(json.dumps(result))


def _peak_rss_mb() -> float:
    """Return the most memory that this process held, 10^6 bytes; `ru_maxrss` would count its parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def _sum_in_single_precision() -> None:
    """Make float32 of the sums of windows and of the Gaussian, which nnU-Net keeps in float16 on every device."""
    torch.half = torch.float32
    predict_from_raw_data.compute_gaussian = functools.partial(
        predict_from_raw_data.compute_gaussian, dtype=torch.float32
    )


def _predict(predictor: Any, case: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - nnU-Net's class
    plans, configuration = predictor.plans_manager, predictor.configuration_manager
    start = time.perf_counter()
    data, _, properties = configuration.preprocessor_class(verbose=False).run_case(
        case["images"], None, plans, configuration, predictor.dataset_json
    )
    prepared = time.perf_counter()
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).cpu()
    predicted = time.perf_counter()
    labels = export_prediction.convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, plans, configuration, predictor.label_manager, properties, num_threads_torch=torch.get_num_threads()
    )
    exported = time.perf_counter()
    plans.image_reader_writer_class().write_seg(labels, case["labels"], properties)
    if case["maps"]:
        np.save(case["maps"], logits.float().numpy())
    return {
        "preprocess_s": prepared - start,
        "network_s": predicted - prepared,
        "export_s": exported - predicted,
        "windows_shape": list(data.shape),
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
