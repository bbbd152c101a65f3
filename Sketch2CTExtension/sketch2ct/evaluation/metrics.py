"""Measures between masks, and their summary over patients. Overlap and surface distance are MONAI's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ..geometry import Grid, Plane, Points, inside, outlines
from ..request import Sketch
from ..sketching import crop

Mask = NDArray[np.bool_]

RASTER_MM = 1.0
TOLERANCE_MM = 3.0
RESAMPLES = 1000
_TOUCHING = np.ones((3, 3, 3), dtype=int)  # corners touch: a thin oblique plate is one piece


def dice(a: Mask, b: Mask) -> float:
    """2 |a and b| / (|a| + |b|), 0..1; 1 when both are empty."""
    if not a.any() and not b.any():
        return 1.0
    return float(compute_dice(_tensor(a), _tensor(b), ignore_empty=False)[0, 0])


def hd95_mm(a: Mask, b: Mask, spacing: ArrayLike) -> float:
    """The 95th percentile of the distance between two surfaces in mm, both ways; NaN when a mask is empty.

    `spacing` is the voxel size along the arrays' axes, mm.
    """
    if not a.any() or not b.any():
        return float("nan")
    pair, voxel = _boxed(a, b), [float(s) for s in np.asarray(spacing)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI warns of its own call
        return float(compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=voxel)[0, 0])


def surface_dice(a: Mask, b: Mask, spacing: ArrayLike, tolerance_mm: float = TOLERANCE_MM) -> float:
    """The share of two surfaces that lies within `tolerance_mm` of the other one, 0..1, weighed by area; 1 when both are empty, 0 when
    one is.

    Nikolov et al., Journal of Medical Internet Research 23:e26151 (2021). `spacing` is the voxel size along the arrays' axes, mm.
    """
    if not a.any() or not b.any():
        return 1.0 if not a.any() and not b.any() else 0.0
    voxel = [float(s) for s in np.asarray(spacing)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        found = compute_surface_dice(*_boxed(a, b), [tolerance_mm], include_background=True, spacing=voxel, use_subvoxels=True)
    return float(found[0, 0])


def _boxed(a: Mask, b: Mask) -> list[torch.Tensor]:
    """Both masks cut to the box around them."""
    box = ndimage.find_objects((a | b).astype(np.uint8))[0]
    # A border of background: without it, MONAI sees no surface where the mask touches the array's end.
    return [_tensor(np.pad(mask[box], 1)) for mask in (a, b)]


def _tensor(mask: NDArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None, None]


def plane_dice(mask: Mask, truth: Mask, grid: Grid, sketch: Sketch) -> tuple[float, float]:
    """Dice on the sketch's plane, on a raster of 1 mm within the grid: of the masks' sections, and of the mask with the filled sketch."""
    drawn = [sketch.plane.to_plane(stroke)[:, :2] for stroke in sketch.strokes]
    uv, shape = _raster(sketch.plane, grid, mask | truth, drawn)
    flat = uv.reshape(-1, 2)
    seen = grid.contains(sketch.plane.to_ras(flat)).reshape(shape)
    filled = inside(outlines(drawn), flat).reshape(shape)
    made, real = (section_at(m, grid, sketch.plane, uv) & seen for m in (mask, truth))
    return dice(made, real), dice(made, filled & seen)


def _raster(plane: Plane, grid: Grid, mask: Mask, drawn: list[Points]) -> tuple[NDArray, tuple[int, int]]:
    """Points (U, V, 2) in plane mm, 1 mm apart, that cover the drawing and the mask; and (U, V)."""
    points = np.concatenate(drawn)
    if mask.any():
        points = np.concatenate([points, plane.to_plane(crop(mask, grid, 1)[1].corners())[:, :2]])
    low, high = points.min(0) - 2 * RASTER_MM, points.max(0) + 2 * RASTER_MM
    axes = [np.arange(a, b, RASTER_MM) for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1), (len(axes[0]), len(axes[1]))


def section_at(mask: Mask, grid: Grid, plane: Plane, uv: NDArray[np.float64]) -> Mask:
    """Whether the mask (linear between voxels) covers the points `uv` (..., 2) of a plane, in mm."""
    index = np.moveaxis(grid.to_index(plane.to_ras(uv)), -1, 0)
    return np.asarray(ndimage.map_coordinates(mask.astype(np.float32), index, order=1, mode="nearest") >= 0.5)


def moved_onto(mask: Mask, truth: Mask) -> Mask:
    """A mask, of any shape, moved (linear between voxels) so that its centroid lies on the truth's, on the truth's array (i, j, k)."""
    if not mask.any() or not truth.any():
        return np.zeros(truth.shape, dtype=bool)
    way = np.argwhere(mask).mean(0) - np.argwhere(truth).mean(0)
    return np.asarray(ndimage.affine_transform(mask.astype(np.float32), np.ones(3), way, output_shape=truth.shape, order=1) >= 0.5)


def volume_error(predicted_ml: float, true_ml: float) -> float:
    """|predicted - true| / true; `true_ml` must not be 0."""
    return abs(predicted_ml - true_ml) / true_ml


def components(mask: Mask) -> int:
    """The number of pieces; voxels that touch by a corner belong together."""
    return int(ndimage.label(mask, _TOUCHING)[1])


def hole_voxels(mask: Mask) -> int:
    """The number of background voxels that the mask encloses completely."""
    return int(ndimage.binary_fill_holes(mask).sum() - mask.sum())


def summary(values: Sequence[float] | NDArray, seed: int = 0) -> dict[str, Any]:
    """`{"mean", "ci95": [low, high], "n"}` over patients; NaN are left out, and then counted as `"undefined"`.

    The interval is the percentile bootstrap's (Efron and Tibshirani, 1993), 1000 resamples of the patients.
    """
    array = np.asarray(values, dtype=np.float64)
    finite = array[np.isfinite(array)]
    missing = {"undefined": len(array) - len(finite)} if len(finite) < len(array) else {}
    if not len(finite):
        return {"mean": None, "ci95": [None, None], "n": 0, **missing}
    picks = np.random.default_rng(seed).integers(len(finite), size=(RESAMPLES, len(finite)))
    low, high = np.percentile(finite[picks].mean(axis=1), [2.5, 97.5])
    interval = [round(float(low), 4), round(float(high), 4)]
    return {"mean": round(float(finite.mean()), 4), "ci95": interval, "n": len(finite), **missing}


def table(values: Mapping[tuple[str, str], float], names: Sequence[str]) -> NDArray[np.float64]:
    """(case, structure) -> value as (patients, structures), for `mean_of_means`; NaN where there is none."""
    cases = list(dict.fromkeys(case for case, _ in values))
    return np.array([[values.get((case, name), np.nan) for name in names] for case in cases], dtype=np.float64).reshape(-1, len(names))


def mean_of_means(table: NDArray[np.float64], seed: int = 0) -> dict[str, Any]:
    """The mean over structures of their means over patients; `table` (patients, structures), NaN where not contoured.

    The interval resamples patients as in `summary`, so that the structures of one patient stay together.
    """
    table = table[np.isfinite(table).any(axis=1)][:, np.isfinite(table).any(axis=0)]
    if not table.size:
        return summary([])
    picks = np.random.default_rng(seed).integers(len(table), size=(RESAMPLES, len(table)))
    known, values = np.isfinite(table), np.nan_to_num(table)
    counts = known[picks].sum(axis=1)  # (resamples, structures)
    means = np.where(counts > 0, values[picks].sum(axis=1) / np.maximum(counts, 1), np.nan)
    low, high = np.percentile(np.nanmean(means, axis=1), [2.5, 97.5])
    mean = float((values.sum(axis=0) / known.sum(axis=0)).mean())
    return {"mean": round(mean, 4), "ci95": [round(float(low), 4), round(float(high), 4)], "n": len(table)}
