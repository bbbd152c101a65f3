"""The average anatomy of the training cases, as a label map on the bundle's frame: where things lie, for who draws on an empty canvas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.derived import body_of
from ..data.nnunet import Dataset
from ..data.shapes import signed_distance, usable
from ..geometry import Grid
from ..imaging import LabelVolume, resample
from ..results import write_image
from ..sketching import crop

GUIDE = "guide.nii.gz"
NAMES = "guide.json"
SPACING_MM = 2.0
MARGIN_MM = 16.0  # a structure's distances are averaged that far beyond its usual box


def average_anatomy(dataset: Dataset, split: str, metadata: dict[str, Any]) -> LabelVolume:
    """The mean of every structure at its usual place, and of the body around them. `metadata` is a bundle's.

    A structure is the set of points with a mean signed distance above the level that gives it the mean volume; cases are laid on
    each other by the structure's own centroid. The body is where more than half of the cases have it.
    """
    frame, placement = metadata["frame"], metadata["placement"]
    names: list[str] = metadata["structures"]
    extent = np.multiply(frame["shape"], frame["spacing"])
    cells = (extent / SPACING_MM).round().astype(int)
    grid = Grid.centred((0, 0, 0), [SPACING_MM] * 3, (int(cells[0]), int(cells[1]), int(cells[2])))
    coarse = Grid.centred((0, 0, 0), frame["spacing"], (frame["shape"][0], frame["shape"][1], frame["shape"][2]))
    means = {name: _MeanShape(np.asarray(placement[name]), grid) for name in names}
    body, seen = np.zeros(coarse.shape), np.zeros(coarse.shape)
    for case in dataset.cases(split):
        labels, shifts = dataset.labels(case), []
        for name in names:
            mask = usable(labels.mask(name), labels.grid, name) if labels.has(name) else None
            if mask is not None:
                shifts.append(means[name].add(mask, labels.grid) - np.asarray(placement[name]))
        if shifts:
            moved = Grid(coarse.shape, coarse.affine.copy())
            moved.affine[:3, 3] += np.mean(shifts, axis=0)
            scan = dataset.image(case)
            body += resample(body_of(scan).astype(np.float32), scan.grid, moved)
            seen += resample(np.ones(scan.grid.shape, np.float32), scan.grid, moved)
    array = np.zeros(grid.shape, np.uint8)
    share = resample((body / np.maximum(seen, 1)).astype(np.float32), coarse, grid)
    array[share > 0.5] = len(names) + 1
    for value, name in enumerate(names, start=1):
        if means[name].count:
            array[means[name].mask()] = value
    return LabelVolume(array, grid, dict(enumerate([*names, "body"], start=1)))


class _MeanShape:
    """Running mean of one structure's signed distance (mm) on `grid`, with its centroid at `place` (RAS mm)."""

    def __init__(self, place: NDArray[np.float64], grid: Grid) -> None:
        self.count, self._volume = 0, 0.0
        self._place, self._grid = place, grid
        self._sum = np.zeros(grid.shape, np.float32)

    def add(self, mask: NDArray[np.bool_], source: Grid) -> NDArray[np.float64]:
        """Take one case in; the centroid of its structure, RAS mm."""
        small, own = crop(np.pad(mask, 1), _padded(source))
        margin = np.ceil(MARGIN_MM / own.spacing).astype(int)
        wide = np.pad(small, np.stack([margin, margin], axis=1))
        affine = own.affine.copy()
        affine[:3, 3] = own.to_ras(-margin)
        centroid = own.to_ras(np.argwhere(small)).mean(axis=0)
        affine[:3, 3] += self._place - centroid
        moved = Grid((wide.shape[0], wide.shape[1], wide.shape[2]), affine)
        self._sum += resample(signed_distance(wide, moved), moved, self._grid, outside=-MARGIN_MM)
        self.count += 1
        self._volume += float(mask.sum()) * source.voxel_ml
        return centroid

    def mask(self) -> NDArray[np.bool_]:
        """The mean shape, with the mean volume."""
        voxels = round(self._volume / self.count / self._grid.voxel_ml)
        return np.asarray(self._sum >= np.partition(self._sum.ravel(), -voxels)[-voxels])


def _padded(grid: Grid) -> Grid:
    """The grid of an array that was padded by one voxel."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_ras((-1, -1, -1))
    return Grid((grid.shape[0] + 2, grid.shape[1] + 2, grid.shape[2] + 2), affine)


def write_guide(folder: Path, labels: LabelVolume) -> None:
    """Write `guide.nii.gz` and `guide.json` (value -> structure) into a bundle's folder."""
    write_image(folder / GUIDE, labels.array, labels.grid)
    (folder / NAMES).write_text(json.dumps({str(v): n for v, n in labels.names.items()}, indent=1) + "\n", encoding="utf-8")
