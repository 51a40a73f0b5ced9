"""The networks behind the contours: architecture, training, export, and what runs inside Triton."""

import sys

# `import openvino` reports itself to a web analytics service unless its telemetry package cannot be imported. A
# hospital's machine calls nobody: this entry makes that import fail, which openvino takes for "not installed".
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
