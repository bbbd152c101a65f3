"""The contoured masks of the training cases, each cut to its box: what generated masks are held against."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.nnunet import Dataset
from ..data.shapes import usable
from ..geometry import Grid
from ..sketching import crop
from . import metrics


@dataclass(frozen=True)
class TrainingMask:
    """One mask (i, j, k) on its own small `grid`, without stray pieces; `components` before they were removed."""

    case: str
    structure: str
    mask: NDArray[np.bool_]
    grid: Grid
    components: int

    @property
    def centroid(self) -> NDArray[np.float64]:
        """RAS, mm."""
        return centroid(self.mask, self.grid)


def centroid(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    """RAS position (mm) of the middle of a mask's voxels; NaN for an empty one."""
    index = np.argwhere(mask)
    return np.asarray(grid.to_ras(index.mean(0)) if len(index) else np.full(3, np.nan))


def training_masks(dataset: Dataset, structures: Sequence[str], split: str = "Tr", without: Collection[str] = ()) -> list[TrainingMask]:
    """Every mask of the structures that was contoured in a split, and that training can use; not of the cases `without`."""
    found = []
    for case in dataset.cases(split):
        if case in without:
            continue
        labels, listed = dataset.labels(case), dataset.labelled(case)
        for name in structures:
            if name not in listed or not labels.has(name):
                continue
            small, grid = crop(labels.mask(name), labels.grid, 1)
            kept = usable(small, grid, name)
            if kept is not None:
                found.append(TrainingMask(case, name, kept, grid, metrics.components(small)))
    return found
