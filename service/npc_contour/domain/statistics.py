"""What is kept of every case of a site, so that a change of scanner, kernel, network or patients is seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Measure(StrEnum):
    """What is kept; all but the volume are of the case as a whole."""

    VOLUME = "volume_cc"
    SOFT_TISSUE = "soft_tissue_hu"
    NOISE = "noise_hu"
    SLICE = "slice_mm"
    FINDINGS = "findings"
    NOT_FOUND = "not_found"

    def scaled(self, value: float) -> float:
        """Return a value such that usual ones are normally distributed, about: volumes by logarithm, counts by root."""
        if self is Measure.VOLUME:
            return math.log(max(value, 0.001))
        return math.sqrt(value) if self in {Measure.FINDINGS, Measure.NOT_FOUND} else value

    def unscaled(self, value: float) -> float:
        """Return what `scaled` was given."""
        if self is Measure.VOLUME:
            return math.exp(value)
        return value**2 if self in {Measure.FINDINGS, Measure.NOT_FOUND} else value


LEAST_DEVIATION: Mapping[Measure, float] = {
    Measure.VOLUME: 0.02,
    Measure.SOFT_TISSUE: 2.0,
    Measure.NOISE: 0.5,
    Measure.SLICE: 0.25,
    Measure.FINDINGS: 0.5,
    Measure.NOT_FOUND: 0.5,
}
"""Standard deviations below which values count as equal, in the unit of the measure; of volumes, of the logarithm."""


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """Which values are compared with each other.

    Attributes:
        structure: name of the ROI; "" for the case as a whole.
        network: name of the network; of the pipeline where the case as a whole is meant.
        version: of the network, or of all of the pipeline's: a new one starts a new baseline.
    """

    measure: Measure
    structure: str
    network: str
    version: str

    @property
    def text(self) -> str:
        """What is measured, in words."""
        return f"{self.structure or 'the case'} of {self.network} {self.version}"


@dataclass(frozen=True, slots=True)
class UsualRow:
    """What is usual of one series of values at this site.

    Attributes:
        cases: values so far.
        usual: their mean, in the unit of the measure; of volumes the geometric mean.
        low: a twentieth of the last values lies below.
        high: a twentieth of the last values lies above.
        watch: how much speaks for a shift, 1 gives an alarm.
        shift: the shift in words; "" as long as there is none.
        shifted_at: when it was told.
    """

    key: SeriesKey
    cases: int
    usual: float
    low: float
    high: float
    watch: float
    shift: str = ""
    shifted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ScannerRow:
    """Values of one series from one scanner and kernel: median, and what a twentieth lies below and above.

    Attributes:
        scanner: manufacturer and model.
        doubtful: cases in which something was found doubtful of the structure.
    """

    scanner: str
    kernel: str
    cases: int
    median: float
    low: float
    high: float
    doubtful: int
