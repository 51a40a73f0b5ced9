"""`npc-contour self-test`: do the networks of this installation still contour a patient whose anatomy is known?

A phantom is rendered, given to the Triton of the running service (or to an embedded one started for the call), and the
answer is compared with the phantom's truth. Nothing is sent anywhere and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from npc_contour.adapters.triton.client import TritonEngine
from npc_contour.adapters.triton.embedded import EmbeddedTriton
from npc_contour.app.reference_cases import try_case
from npc_contour.app.runtime import FILE, Runtime
from npc_contour.app.shared import catalog_of
from npc_contour.application.checks import Check
from npc_contour.application.self_testing import NetworkScore
from npc_contour.catalog import Catalog
from npc_contour.core.overlap import confusion, roi_dice
from npc_contour.domain.pipelines import NetworkContract, Pipeline
from npc_contour.domain.volumes import Volume
from npc_contour.errors import InferenceError
from npc_contour.settings import Settings
from npc_contour.store.database import Store
from npc_phantom import Phantom, PhantomOptions, draw, render, uid

Progress = Callable[[str, float], None]
SLICE_SPACING_MM = 3.0

SELF_TEST = "self-test"
"""Name of the check."""
NIGHTLY_SEED = 1

FLOOR = 0.5
"""Mean Dice under which a network that knows phantoms is broken, not merely weak."""
NOTHING = 0.01
"""Mean Dice under which a network finds nothing of a phantom; trained on patients, it may find little, not nothing."""


@dataclass(frozen=True, slots=True)
class NetworkResult:
    """One network's answer to the phantom.

    Attributes:
        dice: by ROI name; ROIs that neither truth nor answer holds are left out. Empty where the phantom has no truth
            for the network: then only its contract was compared.
    """

    network: str
    demo: bool
    dice: Mapping[str, float]

    @property
    def mean(self) -> float | None:
        """Mean Dice over the ROIs; None without any."""
        return float(np.mean(list(self.dice.values()))) if self.dice else None

    @property
    def works(self) -> bool:
        """Whether it does what it must; networks trained on patients need not know a phantom, but find something."""
        return self.mean is None or self.mean >= self.least

    @property
    def least(self) -> float:
        """Mean Dice that it must reach."""
        return FLOOR if self.demo else NOTHING


def self_test(settings: Settings, seed: int, progress: Progress) -> tuple[NetworkResult, ...]:
    """Contour a phantom with every network in use.

    Args:
        settings: the site's.
        seed: which phantom.
        progress: told the name of a step and the fraction of it that is done.

    Raises:
        InferenceError, NetworkMismatchError, EmbeddedServerError: Triton does not do what it must.
        CatalogError: a pipeline or contract is wrong.
    """
    catalog = catalog_of(settings)
    used = [
        (pipeline, contract) for pipeline in catalog.pipelines.values() for contract in catalog.contracts_of(pipeline)
    ]
    with ExitStack() as stack:
        progress("reaching Triton", 0.0)
        engine = _engine(settings, catalog, stack)
        for _, contract in used:
            engine.check(contract)
        progress("reaching Triton", 1.0)
        phantom = _phantom(seed, lambda done: progress("rendering the phantom", done))
        results = []
        for pipeline, contract in used:
            progress(f"network {contract.name}", 0.0)
            results.append(_judge(engine, pipeline, contract, phantom))
            progress(f"network {contract.name}", 1.0)
    return tuple(results)


def scores(settings: Settings) -> tuple[NetworkScore, ...]:
    """Do the test that the service does by itself: always the same phantom and cases, so that nights can be compared.

    Raises:
        AutocontourError: as `self_test` and `try_case`.
    """
    results = self_test(settings, NIGHTLY_SEED, lambda *_: None)
    on_phantom = [NetworkScore(result.network, result.mean, result.works) for result in results]
    cases = [result for case in settings.self_test.cases for result in try_case(settings, case, lambda *_: None)]
    kept = [NetworkScore(result.network, result.mean, result.works, "; ".join(result.fallen)) for result in cases]
    return (*on_phantom, *kept)


def self_test_check(store: Store, settings: Settings) -> Check:
    """Return the readiness line of the test that runs by itself; it never makes the service not ready."""

    def look() -> str:
        with store.transaction() as tx:
            last = tx.last_self_test()
        if last is None:
            return f"has not run yet: the first is at {settings.self_test.at}"
        words = f"{last.at.astimezone():%Y-%m-%d %H:%M}: {last.detail}"
        if not last.ok:
            raise InferenceError(words)
        return words

    remedy = "`npc-contour self-test --config FILE` repeats it; see the networks and Triton's log"
    return Check(SELF_TEST, look, remedy, required=False)


def _phantom(seed: int, progress: Callable[[float], None]) -> Phantom:
    patient = draw(seed, PhantomOptions(matrix=512, slice_spacing_mm=SLICE_SPACING_MM))
    return render(patient, patient.grid(), progress=progress)


def _judge(engine: TritonEngine, pipeline: Pipeline, contract: NetworkContract, phantom: Phantom) -> NetworkResult:
    truths = {"npc_oar": phantom.oar_labels, "npc_gtv": phantom.gtv_labels, "ln_ctv": phantom.ln_labels}
    if contract.name not in truths:
        return NetworkResult(contract.name, contract.demo, {})
    use = next(use for use in pipeline.networks if use.network == contract.name)
    phases = {"planning_ct": phantom.noncontrast_hu, "contrast_ct": phantom.contrast_hu}
    found = engine.segment(contract, [_volume(phases[role], phantom) for role in use.roles])
    counts = confusion(truths[contract.name], found.labels, len(contract.labels))
    rois = [roi for roi in pipeline.rois if roi.network == contract.name]
    dice = {roi.name: value for roi in rois if (value := roi_dice(counts, roi.labels)) is not None}
    return NetworkResult(contract.name, contract.demo, dice)


def _volume(hu: npt.NDArray[np.int16], phantom: Phantom) -> Volume:
    grid = phantom.grid
    index = np.zeros((grid.shape_zyx[0], 3))
    index[:, 0] = np.arange(grid.shape_zyx[0])
    uids = tuple(uid(phantom.seed, f"self-test {slice_index}") for slice_index in range(grid.shape_zyx[0]))
    return Volume(hu, grid, uids, grid.to_patient_mm(index))


def _engine(settings: Settings, catalog: Catalog, stack: ExitStack) -> TritonEngine:
    timeout_s = settings.triton.timeout_s
    url, runtime_file = settings.triton.url, settings.storage.root / FILE
    if url == "embedded" and runtime_file.exists():
        url = Runtime.read(runtime_file).triton_url
        if not url:
            raise InferenceError("the service's embedded Triton is still starting: try again in a moment")
    if url != "embedded":
        return stack.enter_context(TritonEngine(url, timeout_s=timeout_s))
    server = stack.enter_context(
        EmbeddedTriton(
            settings.triton.model_repository,
            networks=catalog.contracts,
            start_timeout_s=settings.triton.start_timeout_s,
        )
    )
    return stack.enter_context(TritonEngine(server.urls.grpc, metrics_url=server.urls.metrics, timeout_s=timeout_s))
