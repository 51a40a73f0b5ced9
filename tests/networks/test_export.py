"""What is exported computes what was trained, and the contract beside it says so truly."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch

from npc_contour.catalog import read_contract
from npc_networks.cards import write_card
from npc_networks.evaluation import Summary
from npc_networks.export import Exported, ExportError, export_network, network_of, write_served
from npc_networks.networks import NETWORKS
from npc_networks.unet import PlainConvUNet

SPEC = replace(NETWORKS["npc_gtv"], patch_zyx=(16, 16, 24), features=(8, 16, 16))


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(2)
    return PlainConvUNet(SPEC.plan).state_dict()


@pytest.fixture(scope="module")
def exported(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    repository = tmp_path_factory.mktemp("repository")
    return export_network(SPEC, weights, repository, trained_on="noise")


def test_openvino_answers_as_torch_for_any_batch(exported: Exported, weights: dict[str, torch.Tensor]) -> None:
    image = torch.randn(3, 2, 16, 16, 24, generator=torch.Generator().manual_seed(1))
    compiled = openvino.Core().compile_model(exported.onnx_path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    theirs = compiled(image.numpy())[0]

    with torch.inference_mode():
        ours = network_of(SPEC, weights)(image).numpy()
    assert theirs.shape == (3, 3, 16, 16, 24)
    np.testing.assert_allclose(theirs, ours, atol=5e-4)
    assert exported.parity < 5e-4


def test_weights_are_stored_as_halves(exported: Exported, weights: dict[str, torch.Tensor]) -> None:
    model = onnx.load(exported.onnx_path)
    large = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1 and tensor.data_type != 7]

    assert large
    assert {tensor.data_type for tensor in large} == {onnx.TensorProto.FLOAT16}
    parameters = sum(value.numel() for key, value in weights.items() if "seg_layers.0" not in key)
    assert exported.size_bytes < 2 * parameters + 40_000
    assert b"/models/npc_networks" not in exported.onnx_path.read_bytes()


def test_contract_names_the_file_beside_it(exported: Exported) -> None:
    contract = read_contract(exported.contract_path)

    path = exported.contract_path.parent / contract.weights_file
    assert hashlib.sha256(path.read_bytes()).hexdigest() == contract.weights_sha256
    assert contract.demo
    assert (contract.labels, contract.channels) == (SPEC.labels, SPEC.channels)
    assert (contract.spacing_zyx_mm, contract.patch_zyx) == (SPEC.spacing_zyx_mm, SPEC.patch_zyx)
    assert contract.normalisation == SPEC.normalisation


def test_card_and_triton_files_describe_the_export(exported: Exported) -> None:
    repository = exported.contract_path.parents[1]
    summaries = [Summary("npc_gtv", "both", "GTVp", 0.8125, 0.5, 2)]

    write_served(repository, SPEC.name)
    card = write_card(repository, SPEC.name, summaries, seeds=(1, 2)).read_text()

    assert exported.weights_sha256 in card
    assert "Not for clinical use" in card
    assert "| GTVp | both | 0.812 | 0.500 | 2 |" in card
    config = (repository / SPEC.name / "config.pbtxt").read_text()
    assert read_contract(exported.contract_path).contract_sha256 in config


def test_network_that_changes_on_export_is_refused(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    broken = {key: value * float("nan") for key, value in weights.items()}

    with pytest.raises(ExportError, match="logits differ by nan"):
        export_network(SPEC, broken, tmp_path, trained_on="noise")
