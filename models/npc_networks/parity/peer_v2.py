"""Runs nnU-Net v2's own code in its own environment; started as a script by `npc_networks.parity.original`.

    PYTHON peer_v2.py JOB.json RESULT.json

Steps and functions are those of nnU-Net's `predict_from_files_sequential`, taken apart to be timed. It imports nothing
of this product. nnU-Net unpickles checkpoints, so it runs only on networks that their owner trusts.
"""

from __future__ import annotations

import functools
import importlib
import json
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from nnunetv2.inference import export_prediction, predict_from_raw_data
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.postprocessing.remove_connected_components import apply_postprocessing
from nnunetv2.training import nnUNetTrainer


def main(job_path: Path, result_path: Path) -> None:
    """Predict every case of a job."""
    job = json.loads(job_path.read_text())
    torch.set_num_threads(job["threads"])
    if job["single_sums"]:
        _sum_in_single_precision()
    predictor = nnUNetPredictor(
        use_mirroring=job["mirroring"], device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False
    )
    trainers = _use_known_trainers(Path(job["trainers"]))
    rules = load_pickle(job["postprocessing"]) if job["postprocessing"] else ([], [])
    folds = tuple(fold if fold == "all" else int(fold) for fold in job["folds"]) or None
    predictor.initialize_from_trained_model_folder(job["folder"], folds, job["checkpoint"] or "checkpoint_final.pth")
    cases = [_predict(predictor, case, rules) for case in job["cases"]]
    versions = {name: version(name) for name in ("nnunetv2", "torch", "numpy", "scipy", "scikit-image")}
    result = {
        "versions": versions | {"trainer": ", ".join(trainers)},
        "cases": cases,
        "peak_rss_mb": _peak_rss_mb(),
    }
    result_path.write_text(json.dumps(result))


def _use_known_trainers(own: Path) -> list[str]:
    """Let nnU-Net take trainers by the file that defines them; return a list that will name those it took.

    nnU-Net itself imports every trainer there is, and fails where one of them lacks a package. A trainer that is
    neither nnU-Net's nor in the folder `own` is one that its importer said to build the network of the plans.
    """
    sys.path.append(str(own))
    folders = {own: "", Path(nnUNetTrainer.__path__[0]): f"{nnUNetTrainer.__name__}."}
    taken: list[str] = []

    def find(name: str) -> Any:  # noqa: ANN401 - nnU-Net's class
        for wanted in (name, "nnUNetTrainer"):
            for folder, package in folders.items():
                for file in sorted(folder.rglob("*.py")):
                    if re.search(rf"^class {re.escape(wanted)}\b", file.read_text(encoding="utf-8"), re.MULTILINE):
                        taken.append(wanted if wanted == name else f"{wanted} for {name}")
                        parts = file.relative_to(folder).with_suffix("").parts
                        return getattr(importlib.import_module(package + ".".join(parts)), wanted)
        raise LookupError(name)

    predict_from_raw_data.recursive_find_trainer_class_by_name = find
    return taken


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


def _predict(predictor: Any, case: dict[str, Any], rules: tuple[list[Any], list[Any]]) -> dict[str, Any]:  # noqa: ANN401 - nnU-Net's class
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
    labels = apply_postprocessing(labels, *rules)
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
