"""Case of a network that answers nonsense to a running service: told with the reason in seconds, and nothing waits."""

from __future__ import annotations

import random
from pathlib import Path

from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_testkit.cases import Seen
from npc_testkit.fault_lab import Lab, started
from npc_testkit.fault_site import Sender, Service, Study, phantom_series, wait_for, write_networks
from npc_testkit.orthanc import Orthanc

WITHIN_S = 30.0
"""From the case to its end, on a machine that does other things, too."""
MODEL = """\
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from npc_networks.serving.dlpack import Lent

KIND = Path({kind!r})


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        shape = np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "VOLUME")).shape[1:]
        noise = np.random.default_rng(1)
        labels = np.zeros(shape, np.uint8)
        crossings = np.zeros((2, *shape), np.uint8)
        kind = KIND.read_text()
        if kind != "nothing":
            labels[10:20, 40:60, 40:60] = 1
        if kind == "a label that is none":
            labels[0, 0, 0] = 200
        if kind == "noise":
            labels = noise.integers(0, 7, shape, np.uint8)
        if kind == "everywhere":
            labels[...] = 1
        if kind == "another shape":
            labels = labels[1:]
        if kind == "noise of crossings":
            crossings = noise.integers(0, 255, crossings.shape, np.uint8)
        answers = [("LABELS", labels), ("CROSSINGS", crossings)]
        asked = [pair for pair in answers if pair[0] in request.requested_output_names()]
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(name, Lent(array)) for name, array in asked])
"""
ANSWERS = {
    "a label that is none": ("failed", "answered with label 200 (1 voxels), its contract has labels 0 to 6"),
    "noise": ("failed", "answered with noise: 6 labels in"),
    "everywhere": ("failed", " cc are allowed"),
    "another shape": ("failed", "answered LABELS with shape"),
    "noise of crossings": ("failed", "edges between voxels of one label"),
    "nothing": ("refused", "found none of its 6 ROIs"),
    "a structure": ("contoured", ""),
}
"""What the network answers: the state that its case ends in, and words of the reason."""
ENDED = "SELECT state, reasons, extract(epoch FROM updated_at - created_at) AS seconds FROM contour_case"
ENDED += " WHERE study_instance_uid = %(study)s AND state NOT IN ('waiting', 'routed', 'segmented')"
WRITTEN = "SELECT FROM structure_set JOIN contour_case ON id = case_id WHERE study_instance_uid = %(study)s"


def nonsense(_case: Path, work: Path) -> Seen:
    """One study for each kind of answer, one after another, to one service."""
    kind, repository = work / "kind", work / "networks"
    kind.write_text("nothing")
    write_networks(repository, ["ln_ctv"])
    (repository / "ln_ctv" / "1" / "model.py").write_text(MODEL.format(kind=str(kind)))
    faults: list[str] = []
    silent_wrong = False
    with EmbeddedTriton(repository, work / "triton", start_timeout_s=300) as triton:
        images = phantom_series(work / "phantom")
        lab = Lab(work, images, repository, triton.urls.grpc, Orthanc(1, 1, "NOBODY"), random.Random())
        with started(lab.service("nonsense", max_retry_s=600)) as service:
            for answered, (state, words) in ANSWERS.items():
                kind.write_text(answered)
                (study,) = lab.studies(answered.replace(" ", "-"), 1)
                faults += [f"{answered}: {fault}" for fault in _faults(service, study, state, words)]
                silent_wrong |= state != "contoured" and bool(service.query(WRITTEN, {"study": study.uid}))
    return Seen(tuple(faults), silent_wrong)


def _faults(service: Service, study: Study, state: str, words: str) -> list[str]:
    Sender(service.port).send(study.all_files)
    wait_for(lambda: bool(service.query(ENDED, {"study": study.uid})), "the end of the case", 120)
    (ended,) = service.query(ENDED, {"study": study.uid})
    reasons = " ".join(ended["reasons"])
    faults = [] if ended["state"] == state and words in reasons else [f"{ended['state']}: {reasons}"]
    return faults if ended["seconds"] < WITHIN_S else [*faults, f"after {ended['seconds']:.0f} s"]
