"""Is a generated mask a copy of a training mask? Its nearest one in shape, beside that of the real mask of the same case.

Masks are laid with their centroids on one raster of the body's axes; the distance is 1 - Dice. Left-right mirrored training masks of
the structure (or of its partner on the other side) count, too, for training mirrors them. A case is never its own neighbour.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..anatomy import vocabulary
from ..geometry import Grid
from ..imaging import resample
from . import metrics
from .paired import ratio
from .training_masks import TrainingMask, centroid

Mask = NDArray[np.bool_]

RASTER_MM = 3.0
ROOM = 1.3  # of the raster, times the largest training mask
SMOOTH_MM = 6.0  # standard deviation of the Gaussian that takes contour noise off
COPY = 0.5  # of the smallest distance between a real case and its nearest training mask


@dataclass(frozen=True)
class Raster:
    """A raster around a centroid, `shape` (odd) cells of RASTER_MM along R, A, S."""

    shape: tuple[int, int, int]

    @classmethod
    def around(cls, masks: Sequence[tuple[Mask, Grid]]) -> Raster:
        """One that holds every mask, and ROOM times more."""
        reach = [np.abs(grid.to_ras(np.argwhere(mask)) - centroid(mask, grid)).max(0) for mask, grid in masks]
        half = np.ceil(ROOM * np.max(reach, axis=0) / RASTER_MM).astype(int) + 1
        return cls((2 * half[0] + 1, 2 * half[1] + 1, 2 * half[2] + 1))

    def lay(self, mask: Mask, grid: Grid) -> Mask:
        """The mask with its centroid in the raster's middle, (a, b, c); an empty one stays empty."""
        if not mask.any():
            return np.zeros(self.shape, bool)
        own = Grid.centred(centroid(mask, grid), [RASTER_MM] * 3, self.shape)
        return np.asarray(resample(mask.astype(np.float32), grid, own) >= 0.5)


def smoothed(laid: Mask) -> Mask:
    """A mask on a raster without detail finer than SMOOTH_MM, of the same volume (to the voxels that are equally filled)."""
    share = ndimage.gaussian_filter(laid.astype(np.float32), SMOOTH_MM / RASTER_MM, mode="constant")
    count = int(laid.sum())
    return np.asarray(share >= np.partition(share.ravel(), -count)[-count]) if count else laid


@dataclass
class Gallery:
    """The training masks of one structure on its raster, as they are and smoothed: (N, cells), float32 0 or 1; and their `cases`."""

    raster: Raster
    laid: NDArray[np.float32]
    smooth: NDArray[np.float32]
    cases: list[str]

    @classmethod
    def of(cls, entries: Sequence[tuple[str, Mask, Grid]]) -> Gallery:
        """From (case, mask, its grid)."""
        raster = Raster.around([(mask, grid) for _, mask, grid in entries])
        laid = [raster.lay(mask, grid) for _, mask, grid in entries]
        rows = [np.stack([one.ravel() for one in own]).astype(np.float32) for own in (laid, [smoothed(one) for one in laid])]
        return cls(raster, rows[0], rows[1], [case for case, _, _ in entries])

    def nearest(self, mask: Mask, grid: Grid, case: str) -> dict[str, Any]:
        """The nearest training mask: its `case`, `distance` 0..1, the `median` distance to all, and the smallest distance when all are
        `smooth`."""
        own = self.raster.lay(mask, grid)
        distances, smooth = (self._distances(rows, one, case) for rows, one in ((self.laid, own), (self.smooth, smoothed(own))))
        if not own.any() or not np.isfinite(distances).any():
            return {"case": None, **dict.fromkeys(("distance", "median", "smooth"), float("nan"))}
        best = int(np.nanargmin(distances))
        far = {"distance": float(distances[best]), "median": float(np.nanmedian(distances)), "smooth": float(np.nanmin(smooth))}
        return {"case": self.cases[best], **far}

    def _distances(self, rows: NDArray[np.float32], own: Mask, case: str) -> NDArray[np.float32]:
        one = own.ravel().astype(np.float32)
        distances = 1 - 2 * (rows @ one) / np.maximum(rows.sum(1) + one.sum(), 1)
        distances[[name == case for name in self.cases]] = np.nan
        return distances


def galleries(masks: Sequence[TrainingMask]) -> dict[str, Gallery]:
    """Structure -> the training masks as they are, and mirrored."""
    entries: dict[str, list[tuple[str, Mask, Grid]]] = defaultdict(list)
    for known in masks:
        entries[known.structure].append((known.case, known.mask, known.grid))
    for known in masks:
        partner = vocabulary()[known.structure].mirror or known.structure
        if partner in entries:
            entries[partner].append((known.case, known.mask, Grid(known.grid.shape, np.diag([-1.0, 1, 1, 1]) @ known.grid.affine)))
    return {name: Gallery.of(own) for name, own in entries.items()}


def both(gallery: Gallery, case: str, structure: str, made: Mask, real: Mask, grid: Grid) -> dict[str, Any]:
    """The nearest training mask of a generated mask, and of the real one."""
    sides = {"generated": made, "real": real}
    return {"case": case, "structure": structure, **{side: gallery.nearest(mask, grid, case) for side, mask in sides.items()}}


def summarise(found: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """By structure and `overall`: mean distances (`generated`, `real`), their `ratio` (1: as far from the training masks as unseen
    patients are), `ratio_smooth` (the same when all masks are smoothed), `contrast` (nearest over median distance of each: small when
    one mask stands out), `copy_limit` and `copies`.

    A generated mask has no contour noise and resembles everybody a little more, which lowers `ratio` without any copying. A copy is
    a generated mask nearer to a training mask than COPY times the smallest distance of any real one of that structure.
    """
    names = list(dict.fromkeys(item["structure"] for item in found))
    result = {name: _figures([item for item in found if item["structure"] == name], seed) for name in names}
    if names:
        result["overall"] = _figures(found, seed) | {"copies": [copy for name in names for copy in result[name]["copies"]]}
        del result["overall"]["copy_limit"]
    return result


def _figures(found: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    made, real = (_table(found, side) for side in ("generated", "real"))
    spans = [_table(found, side, "median") for side in ("generated", "real")]
    limit = COPY * float(np.nanmin(real)) if np.isfinite(real).any() else float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        contrasts = {"generated": made / spans[0], "real": real / spans[1]}
    return {
        "generated": metrics.mean_of_means(made, seed),
        "real": metrics.mean_of_means(real, seed),
        "ratio": ratio(made, real, seed),
        "ratio_smooth": ratio(_table(found, "generated", "smooth"), _table(found, "real", "smooth"), seed),
        "contrast": {side: metrics.mean_of_means(values, seed) for side, values in contrasts.items()},
        "copy_limit": round(limit, 4) if np.isfinite(limit) else None,
        "copies": [_copy(item) for item in found if item["generated"]["distance"] < limit],
    }


def _copy(item: dict[str, Any]) -> dict[str, Any]:
    near = item["generated"]
    return {"case": item["case"], "structure": item["structure"], "training": near["case"], "distance": round(near["distance"], 4)}


def _table(found: list[dict[str, Any]], side: str, key: str = "distance") -> NDArray[np.float64]:
    names = list(dict.fromkeys(item["structure"] for item in found))
    return metrics.table({(item["case"], item["structure"]): item[side][key] for item in found}, names)
