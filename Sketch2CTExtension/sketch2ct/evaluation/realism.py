"""Does a set of generated CTs look like a set of real ones? Fréchet distance by plane, and diversity by multi-scale similarity.

Fréchet distance (Heusel et al., NeurIPS 2017): MONAI's FIDMetric. Its features are the segmenter's own unless others are named, so its
values compare models on one data set with one segmenter and nothing else; that is why the distance of real, unseen scans to the same
reference stands beside it. A volume's bottleneck (C, a, b, c) gives one feature vector a slab of cells across each plane: the mean over
the slab's stored cells. A slab counts when the body fills at least a tenth of them. Slabs of one patient are not independent: intervals
resample patients.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from monai.metrics import FIDMetric, MultiScaleSSIMMetric
from numpy.typing import NDArray
from scipy.linalg import LinAlgWarning

from . import metrics
from .paired import Placed
from .segmenter import SegmentsCT

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}  # the axis that a plane lies across, on RAS axes
BODY_SHARE = 0.1  # of a slab
DRAWS = 100  # of patients, for an interval
CEILING = 1000.0  # HU, of MS-SSIM; its floor is air
KERNEL = 4  # voxels; small, so that five scales fit a frame of 64 voxels

Features = dict[str, NDArray[np.float64]]  # plane -> (slabs, C)


class FeatureSource(Protocol):
    """What turns a CT into the feature vectors of each plane."""

    name: str

    def __call__(self, placed: Placed) -> Features:
        """plane -> (slices or slabs, C)."""


class SegmenterFeatures:
    """The segmenter's bottleneck, pooled over slabs."""

    def __init__(self, segmenter: SegmentsCT) -> None:
        self.segmenter = segmenter
        self.name = "bottleneck of the project's own segmenter, each cell normalised over its channels, mean over slabs"

    def __call__(self, placed: Placed) -> Features:
        """plane -> (slabs, C)."""
        found, cell = self.segmenter.features(placed.ct)
        return slab_means(found, cell, placed)


def slab_means(found: NDArray, cell: int, placed: Placed) -> Features:
    """Means of features (C, a, b, c), whose cells span `cell` voxels along each axis, over the stored cells of every slab with body."""
    known, body = (_cells(mask, cell) for mask in (placed.known, placed.body))
    stored = known >= 0.5
    result = {}
    for plane, axis in PLANES.items():
        across = tuple(n for n in range(3) if n != axis)
        count = stored.sum(axis=across)
        filled = np.where(stored, body, 0).sum(axis=across) / np.maximum(count, 1)
        means = np.where(stored, found, 0).sum(axis=tuple(n + 1 for n in across)) / np.maximum(count, 1)  # (C, slabs)
        result[plane] = means.T[filled >= BODY_SHARE].astype(np.float64)
    return result


def _cells(mask: NDArray[np.bool_], cell: int) -> NDArray[np.float64]:
    """The share of each cell that a mask fills; past the mask's end there is nothing."""
    padded = np.pad(mask, [(0, -n % cell) for n in mask.shape])
    a, b, c = (n // cell for n in padded.shape)
    return padded.reshape(a, cell, b, cell, c, cell).mean(axis=(1, 3, 5))


def frechet(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """The squared Fréchet distance of two sets (n, C) of at least two vectors each; NaN with fewer, or where it has no solution."""
    if min(len(a), len(b)) < 2:
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of MONAI's call of SciPy
        warnings.simplefilter("ignore", LinAlgWarning)  # fewer vectors than numbers: the product of covariances is singular, and has a root
        try:
            return max(0.0, float(FIDMetric()(torch.from_numpy(a), torch.from_numpy(b))))
        except ValueError:  # the matrix root of nearly singular sets may have an imaginary part
            return float("nan")


@dataclass(frozen=True)
class Distance:
    """How far the CTs of some `patients` lie from a reference: `values` (planes, 1 + DRAWS), first the figure, then those of resamples, and
    the `slabs` of each plane, theirs and the reference's."""

    values: NDArray[np.float64]
    slabs: list[tuple[int, int]]
    patients: int


def distance(own: list[Features], reference: list[Features], seed: int) -> Distance:
    """Of at least one patient each, one entry a patient. The resamples are the same for every set of as many patients."""
    rng = np.random.default_rng(seed)
    picks = [(np.arange(len(own)), np.arange(len(reference)))]
    picks += [(rng.integers(len(own), size=len(own)), rng.integers(len(reference), size=len(reference))) for _ in range(DRAWS)]
    values, slabs = [], []
    for plane in PLANES:
        ours, theirs = ([f[plane] for f in part] for part in (own, reference))
        values.append([frechet(np.concatenate([ours[n] for n in one]), np.concatenate([theirs[n] for n in other])) for one, other in picks])
        slabs.append((sum(map(len, ours)), sum(map(len, theirs))))
    return Distance(np.array(values), slabs, len(own))


def beside(made: Distance, other: Distance) -> dict[str, Any]:
    """By plane and their `mean`: `generated`, the `floor` that another set of the same patients gives, and their `ratio`.

    Intervals: the figure ± 1.96 standard deviations over the resamples (percentiles would be shifted: patients drawn twice raise the
    distance).
    """
    result = {}
    for n, plane in enumerate(PLANES):
        (one, reference), (two, _) = made.slabs[n], other.slabs[n]
        result[plane] = {**_figures(made.values[n], other.values[n], made.patients), "slabs": [one, two, reference]}
    result["mean"] = _figures(made.values.mean(axis=0), other.values.mean(axis=0), made.patients)
    return result


def fid(made: list[Features], real: list[Features], reference: list[Features], seed: int) -> dict[str, Any]:
    """As `beside`: the distance of generated CTs to a reference, and that of real, unseen ones of the same patients.

    Both rest on as many slabs, and what few slabs add to a Fréchet distance is in both.
    """
    if not made or not reference:
        return {}
    return beside(distance(made, reference, seed), distance(real, reference, seed))


def _figures(made: NDArray[np.float64], other: NDArray[np.float64], patients: int) -> dict[str, Any]:
    """Point values first, resamples after them."""
    with np.errstate(divide="ignore", invalid="ignore"):
        columns = {"generated": made, "floor": other, "ratio": made / other}
    return {name: _with_error(column, patients) for name, column in columns.items()}


def _with_error(values: NDArray[np.float64], patients: int) -> dict[str, Any]:
    finite = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or len(finite) < 2:
        return metrics.summary([])
    half, point = 1.96 * float(finite.std(ddof=1)), float(values[0])
    return {"mean": round(point, 4), "ci95": [round(max(0.0, point - half), 4), round(point + half, 4)], "n": patients}


def ms_ssim(a: NDArray, b: NDArray, floor: float = -1000.0) -> float:
    """Multi-scale structural similarity (Wang et al., Asilomar 2003) of two CTs (i, j, k) in HU, clipped to `floor` and CEILING.

    1 when equal. MONAI's, with as many of its five scales as the smallest side allows; NaN when not even two do.
    """
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
    fitting = [n for n in range(5, 1, -1) if min(a.shape) // max(1, n - 1) ** 2 >= KERNEL and min(a.shape) >= 2**n]
    if not fitting:
        return float("nan")
    own = weights[: fitting[0]] / weights[: fitting[0]].sum()
    shares = [(np.clip(x, floor, CEILING).astype(np.float32) - floor) / (CEILING - floor) for x in (a, b)]
    pair = [torch.from_numpy(share)[None, None] for share in shares]
    return float(MultiScaleSSIMMetric(spatial_dims=3, kernel_size=KERNEL, weights=own.tolist())(*pair)[0, 0])


def alike(a: Placed, b: Placed) -> float:
    """MS-SSIM of two placed CTs where both were stored; air elsewhere."""
    shared = a.known & b.known
    air = a.ct.modality.outside
    return ms_ssim(np.where(shared, a.ct.array, air), np.where(shared, b.ct.array, air), air)


def neighbours_of(made: list[Placed], real: list[Placed]) -> list[tuple[float, float]]:
    """MS-SSIM of each patient with the next one: (generated, real)."""
    return [(alike(made[n], made[m]), alike(real[n], real[m])) for n, m in pairwise(range(len(made)))]


def diversity(samples: list[list[float]], across: list[tuple[float, float]], seed: int) -> dict[str, Any]:
    """MS-SSIM, 1 when nothing varies: `one_mask` over pairs of CTs of one label map (one list a patient), `patients` over pairs of
    patients, generated ones and, as the value to compare with, real ones (of different label maps: no map has two real CTs)."""
    own = [float(np.mean(values)) for values in samples if values]
    return {
        "one_mask": metrics.summary(own, seed),
        "patients": metrics.summary([pair[0] for pair in across], seed),
        "patients_real": metrics.summary([pair[1] for pair in across], seed),
    }
