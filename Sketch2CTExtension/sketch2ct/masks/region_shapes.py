"""A structure of a region as a few dozen numbers: its code. No torch.

A code is a pose (place, size along the axes, how the slices wander) and the principal components of the signed distance once the pose is
undone (Leventon et al., 2000), so that a thin, bent cord is as linear as a ball.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import ndimage

from ..geometry import Grid
from .components import principal_components

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Case = tuple[Mask, Grid]
Part = tuple[slice, slice, slice]

DEGREES = (0, 4)  # of the Legendre polynomials that the middles of the slices follow: a horseshoe's do not, a cord's do
PLACE = 3  # numbers of a pose that say where
MODES = 24
AROUND_MM = 9.0  # of a structure, in its canonical box
STEP_MM = 3.5  # of the canonical box in the mean
FAR_MM = 15.0  # distances outside are cut here
NEAR = 1.0  # canonical distance within which a border is judged
MOST = 4.0  # standard deviations that a weight may be away
FITTED = 1.2  # half heights: polynomials run away beyond what they were fitted to
BESIDE = 1.5  # spreads from its middle line lie landmarks of a structure


def pose_of(mask: Mask, grid: Grid, degree: int) -> Array:
    """The pose (8 + 2 `degree`,) of a mask on an upright grid: its middle (RAS mm), the logarithms of its size (mm: the spread within
    slices along x and y, half the height), and the Legendre coefficients of the slices' middles (x, then y, mm) from its own.

    Raises ValueError when it is empty.
    """
    index = np.argwhere(mask)
    if not len(index):
        raise ValueError("There is no shape in an empty mask.")
    points = grid.to_ras(index)
    middle, (dx, dy, dz) = points.mean(axis=0), grid.spacing
    half = (points[:, 2].max() - points[:, 2].min() + dz) / 2
    w = (points[:, 2] - middle[2]) / half
    bends, spread, told = np.zeros((2, degree + 1)), np.zeros(2), min(degree, len(np.unique(index[:, 2])) - 1)
    for axis, voxel in ((0, dx), (1, dy)):
        away = points[:, axis] - middle[axis]
        bends[axis, : told + 1] = legendre.legfit(w, away, told)
        spread[axis] = np.sqrt(np.mean((away - legendre.legval(w, bends[axis])) ** 2) + voxel**2 / 12)
    return np.concatenate([middle, np.log([*spread, half]), bends.ravel()])


def _uncoil(points: Array, pose: Array) -> Array:
    """RAS points (N, 3) -> canonical coordinates (N, 3)."""
    size, bends = np.exp(pose[PLACE : PLACE + 3]), pose[PLACE + 3 :].reshape(2, -1)
    away = points - pose[:3]
    w = away[:, 2] / size[2]
    inside = np.clip(w, -FITTED, FITTED)
    return np.stack([(away[:, a] - legendre.legval(inside, bends[a])) / size[a] for a in (0, 1)] + [w], axis=1)


def _coil(canonical: Array, pose: Array) -> Array:
    """The inverse of `_uncoil`."""
    size, bends = np.exp(pose[PLACE : PLACE + 3]), pose[PLACE + 3 :].reshape(2, -1)
    inside = np.clip(canonical[:, 2], -FITTED, FITTED)
    across = [canonical[:, a] * size[a] + legendre.legval(inside, bends[a]) for a in (0, 1)]
    return np.stack([*across, canonical[:, 2] * size[2]], axis=1) + pose[:3]


def _width(pose: Array) -> float:
    """What canonical distances are measured in (mm)."""
    return float(np.exp(pose[PLACE : PLACE + 2].mean()))


def signed_distance(mask: Mask, spacing: Array) -> Array:
    """Distance (mm) to the border, half a voxel from the middle of the last voxel, positive inside."""
    border = float(np.mean(spacing)) / 2
    inner, outer = (ndimage.distance_transform_edt(m, sampling=spacing) for m in (mask, ~mask))
    return np.where(mask, inner - border, border - outer)


@dataclass(frozen=True)
class Shape:
    """One structure: `mean` (i, j, k) and `modes` (K, i, j, k) of the canonical distance on a grid from -`reach` to `reach` (3,), with
    weights of unit variance; `rest` is the standard deviation (mm) of what they leave near the border, `degree` that of the pose."""

    mean: NDArray[np.float32]
    modes: NDArray[np.float32]
    reach: Array
    rest: float
    degree: int

    @property
    def pose(self) -> int:
        """Numbers of a code that are its pose."""
        return 8 + 2 * self.degree

    @property
    def length(self) -> int:
        """Numbers of a code."""
        return self.pose + len(self.modes)

    @cached_property
    def points(self) -> Array:
        """Canonical coordinates of the grid's points."""
        axes = [np.linspace(-r, r, n) for r, n in zip(self.reach, self.mean.shape, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)

    @classmethod
    def fit(cls, cases: Sequence[Case], modes: int = MODES) -> Shape:
        """From the masks of training cases on upright grids; of DEGREES the one that leaves less."""
        return min((cls._fitted(cases, modes, degree) for degree in DEGREES), key=lambda shape: shape.rest)

    @classmethod
    def _fitted(cls, cases: Sequence[Case], modes: int, degree: int) -> Shape:
        poses = [pose_of(mask, grid, degree) for mask, grid in cases]
        size = np.exp(np.mean([pose[PLACE : PLACE + 3] for pose in poses], axis=0))
        extent = [np.abs(_uncoil(g.to_ras(np.argwhere(m)), p)).max(axis=0) for (m, g), p in zip(cases, poses, strict=True)]
        reach = np.percentile(extent, 95, axis=0) + AROUND_MM / size
        counts = np.ceil(2 * reach * size / STEP_MM).astype(int) + 1
        box = cls(np.zeros(tuple(counts), np.float32), np.zeros((0, *counts), np.float32), reach, 1.0, degree)
        flat = np.stack([box._distances(mask, grid, pose) for (mask, grid), pose in zip(cases, poses, strict=True)])
        mean, weights, found = principal_components(flat, modes)
        off, near = flat - mean - weights @ found, np.abs(flat) < NEAR
        rest = float(np.sqrt(np.mean(off[near] ** 2))) * float(np.mean([_width(pose) for pose in poses]))
        return cls(mean.astype(np.float32).reshape(counts), found.astype(np.float32).reshape(-1, *counts), reach, rest, degree)

    def _distances(self, mask: Mask, grid: Grid, pose: Array) -> NDArray[np.float32]:
        """Canonical distances (D,) of a mask."""
        lows, highs = np.argwhere(mask).min(axis=0), np.argwhere(mask).max(axis=0) + 1
        pad = np.ceil(FAR_MM / grid.spacing).astype(int) + 1
        around = tuple(slice(int(a), int(b)) for a, b in zip(np.maximum(lows - pad, 0), highs + pad, strict=True))
        distance = signed_distance(np.pad(mask[around], 1), grid.spacing)
        index = grid.to_index(_coil(self.points, pose)) - [a.start - 1 for a in around]
        found = ndimage.map_coordinates(distance, index.T, order=1, mode="nearest")
        return (np.maximum(found, -FAR_MM) / _width(pose)).astype(np.float32)

    def code(self, mask: Mask, grid: Grid) -> Array:
        """The code of a mask on an upright grid: its pose and the weights of the modes. Raises ValueError when it is empty."""
        pose = pose_of(mask, grid, self.degree)
        basis = self.modes.reshape(len(self.modes), -1).astype(np.float64)
        away = self._distances(mask, grid, pose) - self.mean.ravel()
        weights = np.linalg.solve(basis @ basis.T + 1e-6 * np.eye(len(basis)), basis @ away)
        return np.concatenate([pose, np.clip(weights, -MOST, MOST)])

    def landmarks(self, code: Array) -> Array:
        """Points (L, 3) that lie in every shape alike, RAS mm: on its middle line and around it, in more slices the more it may bend."""
        across = np.array([(0, 0), (BESIDE, 0), (-BESIDE, 0), (0, BESIDE), (0, -BESIDE)])
        levels = np.linspace(-1, 1, max(self.degree + 1, 3))
        return _coil(np.array([(u, v, w) for w in levels for u, v in across]), code[: self.pose])

    def distance(self, code: Array, grid: Grid) -> tuple[Part, NDArray[np.float32]]:
        """The part of an upright grid around the shape of a code, and its signed distance (mm) there."""
        pose, weights = code[: self.pose], code[self.pose :].astype(np.float32)
        corners = grid.to_index(_coil(self.points, pose))
        low, high = np.floor(corners.min(axis=0)), np.ceil(corners.max(axis=0)) + 1
        i, j, k = (slice(int(np.clip(a, 0, n)), int(np.clip(b, 0, n))) for a, b, n in zip(low, high, grid.shape, strict=True))
        axes = [np.arange(p.start, p.stop) for p in (i, j, k)]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        at = (_uncoil(grid.to_ras(index), pose) / self.reach + 1) / 2 * (np.array(self.mean.shape) - 1)
        field = self.mean + np.tensordot(weights, self.modes, axes=1)
        found = ndimage.map_coordinates(field, at.T, order=1, mode="nearest") * _width(pose)
        outside = ((at < 0) | (at > np.array(self.mean.shape) - 1)).any(axis=1)
        found[outside] = np.minimum(found[outside], -AROUND_MM)
        return (i, j, k), found.reshape([len(axis) for axis in axes]).astype(np.float32)
