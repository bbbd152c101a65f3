"""What an image's numbers mean: HU of a CT, or the normalised intensities of an MR. A property of a data set and of a bundle. No torch.

MR scanners have no unit. MR images are kept as 0 (no signal) to 1000 (the 99.5th percentile of the image), brighter voxels up to 3000:
the size of numbers that the networks know from CT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadRequest

MR_WHITE = 1000.0
MR_PERCENTILE = 99.5


@dataclass(frozen=True)
class Modality:
    """`unit` in words; `outside` the value beyond an image's border; `low`, `high` the range of values.

    `body` is a threshold between air and tissue; `derived` are the structures that thresholds give; `soft` is the window in which
    soft tissues differ; `tissues` name -> (low, high) are looked at one by one when a reconstruction is judged.
    """

    name: str
    unit: str
    outside: int
    low: int
    high: int
    body: float
    derived: tuple[str, ...]
    soft: tuple[float, float]
    tissues: dict[str, tuple[float, float]]

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """A copy that went to another process is the same object again, so that `is` may be asked."""
        return named, (self.name,)


CT = Modality(
    name="CT",
    unit="HU",
    outside=-1000,
    low=-1024,
    high=3071,
    body=-300,  # half-way between lung-free soft tissue and the air around the patient, skin's partial volume included
    derived=("body", "bone", "air"),
    soft=(-250.0, 250.0),  # fat, muscle and glands differ by tens of HU only
    tissues={"air": (-2000, -400), "soft": (-250, 200), "bone": (250, 4000)},
)
MR = Modality(
    name="MR",
    unit="normalised intensity",
    outside=0,
    low=0,
    high=3000,
    body=80,  # above the noise of air; bone and air are equally dark, so neither can be derived
    derived=("body",),
    soft=(0.0, 1000.0),
    tissues={"dark": (-1, 200), "middle": (200, 600), "bright": (600, 4000)},
)
_BY_NAME = {"CT": CT, "MR": MR, "MRI": MR}


def named(name: str) -> Modality:
    """A modality by its name (`CT`, `MR` or `MRI`). Raises BadRequest."""
    found = _BY_NAME.get(str(name).strip().upper())
    if found is None:
        raise BadRequest(f"Unknown modality '{name}'.", "Known: CT, MR.")
    return found


def of(metadata: dict[str, Any]) -> Modality:
    """The modality of a bundle (CT where its metadata name none) or of a recipe."""
    return named(metadata.get("modality", "CT"))


def normalised_mr(array: NDArray) -> NDArray[np.int16]:
    """MR intensities of any scale -> the kept scale, int16. Raises ValueError for an image without signal."""
    white = float(np.percentile(array, MR_PERCENTILE))
    if not white > 0:
        raise ValueError("the image holds no signal")
    scaled = np.asarray(array, np.float32) * (MR_WHITE / white)
    return np.clip(np.round(scaled), MR.low, MR.high).astype(np.int16)
