"""Ratios of two figures that were measured on the same patients, and CTs placed on the bundle's frame."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..data.derived import body_of, stored
from ..data.nnunet import Dataset
from ..geometry import Grid
from ..imaging import CTVolume, LabelVolume, resample
from . import metrics
from .ct import Comparison, frame_for, on_frame


@dataclass
class Placed:
    """A CT on the bundle's frame, placed by its structures; air where the real scan was not stored (`known`, (i, j, k) bool).

    `body` (i, j, k) lies within `known`; `labels` are the case's contoured structures.
    """

    case: str
    ct: CTVolume
    known: NDArray[np.bool_]
    body: NDArray[np.bool_]
    labels: LabelVolume

    @classmethod
    def of(cls, case: str, ct: CTVolume, known: NDArray[np.bool_], labels: LabelVolume) -> Placed:
        """From a CT on the grid of the labels."""
        ct = CTVolume(np.where(known, ct.array, ct.modality.outside).astype(np.int16), labels.grid, ct.modality)
        return cls(case, ct, known, body_of(ct) & known, labels)


def both(comparison: Comparison) -> tuple[Placed, Placed]:
    """The generated and the real CT of a comparison, cut to the same stored voxels."""
    c = comparison
    return Placed.of(c.case, c.made, c.known, c.labels), Placed.of(c.case, c.real, c.known, c.labels)


def place(dataset: Dataset, case: str, metadata: dict[str, Any]) -> Placed:
    """The real CT of a case on the bundle's frame. Raises BadRequest when its files are missing or damaged."""
    real, labels = dataset.image(case), dataset.labels(case)
    grid: Grid = frame_for(labels, metadata)
    hu = np.round(resample(real.array.astype(np.float32), real.grid, grid, outside=real.modality.outside))
    known = resample(stored(real).astype(np.uint8), real.grid, grid, order=0).astype(bool)
    on_grid = CTVolume(hu.astype(np.int16), grid, real.modality)
    return Placed.of(case, on_grid, known, on_frame(labels, grid, [str(name) for name in metadata["structures"]]))


def ratio(top: ArrayLike, bottom: ArrayLike, seed: int = 0) -> dict[str, Any]:
    """Mean of `top` over mean of `bottom`, both (patients,) or (patients, structures); `{"mean", "ci95", "n"}`.

    What is NaN in one is left out of both; with structures, the means are means over structures of means over patients. The
    interval resamples patients (as `metrics.summary` does), the same ones above and below the line.
    """
    a, b = (np.asarray(x, dtype=np.float64) for x in (top, bottom))
    if not a.size:
        return metrics.summary([])
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    missing = ~(np.isfinite(a) & np.isfinite(b))
    a, b = np.where(missing, np.nan, a), np.where(missing, np.nan, b)
    some = ~missing.all(axis=1)
    a, b = a[some][:, ~missing.all(axis=0)], b[some][:, ~missing.all(axis=0)]
    if not a.size or not _mean(b):
        return metrics.summary([])
    picks = np.random.default_rng(seed).integers(len(a), size=(metrics.RESAMPLES, len(a)))
    above, below = _mean(a[picks]), _mean(b[picks])
    kept = below != 0  # of few patients, a resample may hold only zeros below the line
    low, high = np.nanpercentile(above[kept] / below[kept], [2.5, 97.5])
    return {"mean": round(float(_mean(a) / _mean(b)), 4), "ci95": [round(float(low), 4), round(float(high), 4)], "n": len(a)}


def _mean(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over structures (last axis) of means over patients (the one before); a structure that no patient has is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a resample may miss every patient of a structure
        return np.asarray(np.nanmean(np.nanmean(tables, axis=-2), axis=-1))


def beside(made: ArrayLike, real: ArrayLike, seed: int = 0) -> dict[str, Any]:
    """One figure of generated and of real CTs (patients,), side by side: `generated`, `real`, `ratio`."""
    a, b = (np.asarray(x, dtype=np.float64) for x in (made, real))
    return {"generated": metrics.summary(a, seed), "real": metrics.summary(b, seed), "ratio": ratio(a, b, seed)}
