"""What usually lies where in a region: the mean class map of the training cases in the usual anatomy, carried to another. No torch.

A case says only of the structures that were contoured in it where they are. Elsewhere a voxel of soft tissue may be one that was not; the
prior shares it out as the contoured cases tell (one step of expectation maximisation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..geometry import Grid
from ..imaging import resample
from .region_classes import UNKNOWN, Labels, RegionClasses
from .region_warp import Way

Vector = NDArray[np.float64]
Places = dict[str, tuple[float, float, float]]
Case = tuple[Labels, tuple[str, ...]]  # a class map on the frame, and the structures contoured in it
Share = tuple[tuple[slice, slice, slice], NDArray[np.float32]]  # a part of the frame, and how likely its voxels are of one structure

HIDES_FROM = 0.02  # a class that makes less of a structure than this is its border, not a place where it hides
REACH_MM = 8.0  # a structure may be this far from where it was ever seen
FLOOR = 1e-4  # of a probability: nothing is impossible to the network


def origin(middles: dict[str, Vector], placement: Places) -> Vector | None:
    """Where the frame's middle lies (RAS mm), given the middles of some structures; None when it knows none of them."""
    ways = [middle - np.asarray(placement[name]) for name, middle in middles.items() if name in placement]
    return np.mean(ways, axis=0) if ways else None


@dataclass(frozen=True)
class Hiding:
    """Where a structure that was not contoured may be. `under[s, d]`: whether class d (0 outside, then the derived ones) makes a part
    of structure s; `support` (S, i, j, k) on the frame: where s was seen, or nearly."""

    under: NDArray[np.bool_]
    support: NDArray[np.bool_]

    @classmethod
    def fit(cls, cases: Callable[[], Iterable[Case]], under: NDArray[np.int64], frame: Grid, classes: RegionClasses) -> Hiding:
        """From training cases; `under` as in `Region`, summed over them."""
        support = np.zeros((len(classes.structures), *frame.shape), bool)
        for labels, contoured in cases():
            for name in contoured:
                support[classes.structures.index(name)] |= labels == classes.index(name)
        for n, seen in enumerate(support):
            if seen.any():
                support[n] = ndimage.distance_transform_edt(~seen, sampling=frame.spacing) <= REACH_MM
        share = under / np.maximum(under.sum(axis=1, keepdims=True), 1)
        return cls(share >= HIDES_FROM, support)

    def may(self, labels: Labels, contoured: Iterable[str], classes: RegionClasses) -> NDArray[np.int32]:
        """The classes that each voxel of a class map on the frame may be, as bits of an integer (i, j, k).

        Where nothing is known a voxel may be anything but a contoured structure: contours reach past the stored slices.
        """
        contoured = set(contoured)
        table = np.zeros(256, np.int32)
        table[: classes.count] = 1 << np.arange(classes.count)
        table[UNKNOWN] = sum(1 << n for n, name in enumerate(classes.names) if name not in contoured)
        allowed = table[labels]
        for n, name in enumerate(classes.structures):
            if name not in contoured:
                hidden = np.zeros(256, bool)
                hidden[: classes.first] = self.under[n]
                allowed[hidden[labels] & self.support[n]] |= 1 << classes.index(name)
        return allowed


@dataclass(frozen=True)
class RegionPrior:
    """`values` (K, i, j, k): the probability of every class in the usual anatomy on a coarse `grid` in the frame (RAS mm from the frame's
    middle); `placement` structure -> usual middle (mm) in the same frame; `frame` the grid around 0 that the network works on."""

    values: NDArray[np.float32]
    grid: Grid
    placement: Places
    frame: Grid

    @cached_property
    def log(self) -> NDArray[np.float32]:
        """Logarithm of the probabilities on the frame, (K, i, j, k) float32, floored."""
        return self._log(self.values)

    def _log(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        inner = np.stack([resample(np.pad(v, 1, mode="edge"), _padded(self.grid), self.frame) for v in values])
        inner = np.maximum(inner, FLOOR)
        return np.asarray(np.log(inner / inner.sum(axis=0)), np.float32)

    def around(self, shares: dict[int, Share], way: Way) -> NDArray[np.float32]:
        """`log` in another anatomy, from which a `way` leads to the usual one, and of which is known how likely voxels belong to some
        classes (by number): these are nowhere else, and the others share what is left as usual."""
        others = [n for n in range(len(self.values)) if n not in shares]
        index = np.indices(self.grid.shape) + way.moves(self.grid) / np.reshape(self.grid.spacing, (3, 1, 1, 1))
        usual = self._log(np.stack([ndimage.map_coordinates(self.values[n], index, order=1, mode="nearest") for n in others]))
        sure = {n: (part, np.clip(share, FLOOR, 1 - FLOOR)) for n, (part, share) in shares.items()}
        left = np.ones(self.frame.shape, np.float32)
        for part, share in sure.values():
            left[part] *= 1 - share
        odds = {n: (part, share / (1 - share) * left[part]) for n, (part, share) in sure.items()}
        total = left.copy()
        for part, own in odds.values():
            total[part] += own
        found = np.full((len(self.values), *self.frame.shape), np.log(FLOOR), np.float32)
        scale = np.log(np.maximum(left / total, FLOOR))
        for n, own in zip(others, usual, strict=True):
            found[n] = np.maximum(own + scale, found[n])
        for n, (part, own) in odds.items():
            found[n][part] = np.log(np.maximum(own / total[part], FLOOR))
        return found

    def at(self, middle: Vector) -> Grid:
        """The frame around a point (RAS mm)."""
        return Grid.centred(np.round(middle, 3), self.frame.spacing, self.frame.shape)


def _padded(grid: Grid) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_ras((-1, -1, -1))
    return Grid((grid.shape[0] + 2, grid.shape[1] + 2, grid.shape[2] + 2), affine)


def coarse_grid(frame: Grid, times: int) -> Grid:
    """The grid over the frame whose cells are `times` voxels wide; the frame's sizes must be multiples. Raises ValueError."""
    if any(n % times for n in frame.shape):
        raise ValueError(f"a frame of {frame.shape} voxels cannot be made {times} times coarser")
    shape = (frame.shape[0] // times, frame.shape[1] // times, frame.shape[2] // times)
    return Grid.centred(frame.centre, times * frame.spacing, shape)


def build(
    cases: Callable[[], Iterable[Case]],
    hiding: Hiding,
    classes: RegionClasses,
    frame: Grid,
    placement: Places,
    *,
    coarse: int,
    smooth_mm: float,
) -> RegionPrior:
    """The prior of training cases, smoothed by a Gaussian of `smooth_mm`. Raises ValueError without cases."""
    certain = _frequencies(cases, hiding, classes, frame)
    total, weight = np.zeros((classes.count, *frame.shape), np.float32), np.zeros(frame.shape, np.float32)
    for labels, contoured in _stored(cases):
        weight += labels != UNKNOWN
        missing = [n for n, name in enumerate(classes.structures) if name not in contoured]
        for c in range(classes.count):
            here = labels == c
            rivals = [n for n in missing if c < classes.first and hiding.under[n, c]]
            if not rivals:
                total[c] += here
                continue
            shares = {classes.first + n: certain[classes.first + n] * hiding.support[n] for n in rivals}
            own = np.maximum(certain[c], FLOOR)
            whole = own + np.sum(list(shares.values()), axis=0)
            total[c] += here * own / whole
            for other, share in shares.items():
                total[other] += here * share / whole
    if not weight.any():
        raise ValueError("No case has a structure of known place.")
    mean = total / np.maximum(weight, 1)
    # beyond what any case shows, anatomy goes on as at the border of what they do
    nearest = ndimage.distance_transform_edt(weight < 1, sampling=frame.spacing, return_distances=False, return_indices=True)
    mean = mean[(slice(None), *nearest)]
    smooth = np.stack([ndimage.gaussian_filter(m, smooth_mm / frame.spacing, mode="nearest") for m in mean])
    grid = coarse_grid(frame, coarse)
    i, j, k = grid.shape
    cells = smooth.reshape(classes.count, i, coarse, j, coarse, k, coarse).mean(axis=(2, 4, 6))
    return RegionPrior((cells / cells.sum(axis=0)).astype(np.float32), grid, placement, frame)


def _frequencies(cases: Callable[[], Iterable[Case]], hiding: Hiding, classes: RegionClasses, frame: Grid) -> NDArray[np.float32]:
    """How often each class is seen in every voxel, (K, i, j, k), among the cases that tell: those in which the structure is contoured, and
    for tissue those in which nothing can hide in it; among all cases where there is none of these."""
    seen, told, ever = (np.zeros((classes.count, *frame.shape), np.float32) for _ in range(3))
    known = np.zeros(frame.shape, np.float32)
    for labels, contoured in _stored(cases):
        stored = labels != UNKNOWN
        known += stored
        missing = [n for n, name in enumerate(classes.structures) if name not in contoured]
        for c, name in enumerate(classes.names):
            here = labels == c
            ever[c] += here
            if name in contoured or (c < classes.first and not hiding.under[missing, c].any()):
                seen[c] += here
                told[c] += stored
    return np.where(told > 0, seen / np.maximum(told, 1), ever / np.maximum(known, 1))


def _stored(cases: Callable[[], Iterable[Case]]) -> Iterator[Case]:
    """The cases without what is told of slices that were not stored: there, only voxels of a structure would be known."""
    for labels, contoured in cases():
        unknown = (labels == UNKNOWN).mean(axis=(0, 1)) > 0.5
        yield np.where(unknown, np.uint8(UNKNOWN), labels), contoured
