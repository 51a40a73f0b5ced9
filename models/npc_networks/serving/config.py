"""Triton's config.pbtxt, made from the contract and from nothing else."""

from __future__ import annotations

from npc_contour.core.class_doubts import COLUMNS
from npc_contour.domain.pipelines import NetworkContract

CONTRACT_KEY = "contract_sha256"
VOLUME, SPACING, LABELS, CROSSINGS = "VOLUME", "SPACING_ZYX_MM", "LABELS", "CROSSINGS"
DOUBTS = "DOUBTS"
"""Computed only when asked for, as CROSSINGS are."""
EXACT_SPACING = "SPACING_ZYX_MM_FP64"
"""Optional, since services of the version before do not send it; SPACING counts where it is absent."""
IMAGE, LOGITS = "image", "logits"


def config_pbtxt(contract: NetworkContract) -> str:
    """Return the text of `triton_repo/<network>/config.pbtxt`."""
    return f"""# Made from contract.json by `npc-networks export`; a test compares.
name: "{contract.name}"
backend: "python"
max_batch_size: 0
input [
  {{ name: "{VOLUME}", data_type: TYPE_INT16, dims: [ {len(contract.channels)}, -1, -1, -1 ] }},
  {{ name: "{SPACING}", data_type: TYPE_FP32, dims: [ 3 ] }},
  {{ name: "{EXACT_SPACING}", data_type: TYPE_FP64, dims: [ 3 ], optional: true }}
]
output [
  {{ name: "{LABELS}", data_type: TYPE_UINT8, dims: [ -1, -1, -1 ] }},
  {{ name: "{CROSSINGS}", data_type: TYPE_UINT8, dims: [ 2, -1, -1, -1 ] }},
  {{ name: "{DOUBTS}", data_type: TYPE_FP64, dims: [ {len(contract.labels)}, {COLUMNS} ] }}
]
instance_group [ {{ kind: KIND_CPU, count: 1 }} ]
parameters: {{ key: "{CONTRACT_KEY}", value: {{ string_value: "{contract.contract_sha256}" }} }}
"""


def model_py() -> str:
    """Return the text of `triton_repo/<network>/1/model.py`."""
    return 'from npc_networks.serving.model import TritonPythonModel\n\n__all__ = ["TritonPythonModel"]\n'
