"""How what lies around the structures of a region moves with them. No torch.

Landmarks of every structure lie in the usual anatomy and in one of given codes. Between them, the way from one to the other is that of a
Gaussian process (scipy's radial basis functions) about the way that they go in the mean, so that a spine goes with its cord, and what is
far from every structure with them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from ..geometry import Grid
from ..imaging import resample
from .region_classes import UNKNOWN, Labels

Array = NDArray[np.float64]

REACH_MM = 40.0  # of a landmark: standard deviation of the Gaussian
DOUBT = 1.0  # variance of what a landmark tells beside that of the way: 0 to follow every one
EVERY_MM = 16.0  # the way is smooth: it is worked out so far apart


@dataclass(frozen=True)
class Way:
    """From points `here` (L, 3) to `there` (L, 3), RAS mm, and of all points around them."""

    here: Array
    there: Array

    def back(self) -> Way:
        """The other way, which is the inverse as far as both are smooth."""
        return Way(self.there, self.here)

    def moves(self, grid: Grid) -> NDArray[np.float32]:
        """How far the voxels of an upright grid go (3, i, j, k), mm."""
        coarse = _coarse(grid)
        index = np.stack(np.meshgrid(*map(np.arange, coarse.shape), indexing="ij"), axis=-1).reshape(-1, 3)
        found = self._process(coarse.to_ras(index)).T.reshape(3, *coarse.shape)
        return np.stack([resample(moved.astype(np.float32), coarse, grid) for moved in found])

    def carried(self, labels: Labels, grid: Grid) -> Labels:
        """A class map on a grid whose every voxel is what lies where it goes, UNKNOWN beyond the grid."""
        index = np.indices(grid.shape) + self.moves(grid) / np.reshape(grid.spacing, (3, 1, 1, 1))
        return np.asarray(ndimage.map_coordinates(labels, index, order=0, mode="constant", cval=UNKNOWN), np.uint8)

    @cached_property
    def _process(self) -> RBFInterpolator:
        kernel = {"kernel": "gaussian", "epsilon": 1 / (np.sqrt(2) * REACH_MM)}
        return RBFInterpolator(self.here, self.there - self.here, smoothing=DOUBT, degree=0, **kernel)


def _coarse(grid: Grid) -> Grid:
    """A grid with the same first voxel and voxels EVERY_MM apart, as far as they are whole ones, and none of `grid` beyond the last."""
    steps = np.maximum(1, np.round(EVERY_MM / grid.spacing)).astype(int)
    affine = grid.affine.copy()
    affine[:3, :3] *= steps
    i, j, k = (-(-(n - 1) // int(step)) + 1 for n, step in zip(grid.shape, steps, strict=True))
    return Grid((i, j, k), affine)
