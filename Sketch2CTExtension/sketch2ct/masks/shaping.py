"""Extents, length, tilt, elongation and flatness that a request states are held at every sampling step, by a linear map.

The network's proposal (see `steering`) is stretched and turned as little as possible until it measures about what was asked. Without a
sketch the map is free. One cross-section, drawn along a body axis, must stay as drawn: only the stretch along that axis is free, and only
the extent along it counts. More sketches already say what the map would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from ..describe import Ranges, Reading
from ..geometry import Grid
from ..request import Sketch

Vector = NDArray[np.float64]

EXTENTS = ("extent_lr_mm", "extent_ap_mm", "extent_cc_mm")
_MM = dict.fromkeys((*EXTENTS, "length_mm"), 1.0)
# What is near enough is left alone (mm as a logarithm): contours end in points that a network rounds off, and to stretch the whole for
# those costs more overlap than it gains (3D Dice of four cases from one sketch .795 free, .767 held without leeway).
LEEWAY = {**{fact: 0.12 * x for fact, x in _MM.items()}, "tilt_deg": 6.0, "elongation": 0.08, "flatness": 0.1}
UNITS = {**{fact: 0.03 * x for fact, x in _MM.items()}, "tilt_deg": 3.0, "elongation": 0.03, "flatness": 0.03}
VAGUE = 3.0  # a word is held so many times less strictly than a number
STIFFNESS = 0.6  # a map of this size (log stretch, radians) weighs as much as one unit of disagreement
LIMIT = 0.5  # the largest log stretch and turn
FEWEST = 20  # voxels: a smaller proposal has no shape to hold
ALONG = 0.95  # cosine from which a plane counts as lying across a body axis


@dataclass(frozen=True)
class Target:
    """Asked facts, fact -> (value, weight); with a cross-section that stays, the body `axis` across it and its `place` there (mm)."""

    facts: dict[str, tuple[float, float]]
    axis: int | None = None
    place: float = 0.0

    @classmethod
    def of(cls, reading: Reading, ranges: Ranges, sketches: Sequence[Sketch]) -> Target | None:
        """What a text asks of a shape beside its sketches; None when there is nothing that a map could hold."""
        words = {fact: (ranges.value_at(fact, level), 1 / VAGUE) for fact, level in reading.levels.items()}
        asked = {**words, **{fact: (value, 1.0) for fact, value in reading.values.items()}}
        facts = {fact: target for fact, target in asked.items() if fact in UNITS and target[0] > 0}
        if not sketches:
            return cls(facts) if facts else None
        plane, axis = sketches[0].plane, sketches[0].plane.axis
        alone = len(sketches) == 1 and sketches[0].meaning == "cross_section" and abs(plane.normal[axis]) > ALONG
        if not alone or EXTENTS[axis] not in facts:
            return None
        return cls({EXTENTS[axis]: facts[EXTENTS[axis]]}, axis, float(sketches[0].points()[:, axis].mean()))


@dataclass(frozen=True)
class Form:
    """What a map acts on: the surface (N, 3) of a proposal and its spread (3, 3) about its `centre`, RAS mm."""

    surface: Vector
    spread: Vector
    centre: Vector

    @classmethod
    def of(cls, distance: NDArray[np.floating], grid: Grid) -> Form | None:
        """Of a signed distance (i, j, k) in mm, positive inside, on a grid along RAS; None when hardly anything is inside."""
        inside = distance > 0
        if inside.sum() < FEWEST:
            return None
        at = grid.to_ras(np.argwhere(inside))
        share = np.clip(distance[inside] / grid.spacing.mean() + 0.5, 0, 1)
        centre = np.average(at, axis=0, weights=share)
        spread = np.cov((at - centre).T, aweights=share) + np.diag(grid.spacing**2) / 12
        near = inside & ~ndimage.binary_erosion(inside, border_value=1)
        slope = np.stack(np.gradient(distance, *grid.spacing), axis=-1)[near]
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
        # the surface lies as far outwards as the distance says
        surface = grid.to_ras(np.argwhere(near)) - slope * distance[near][:, None]
        return cls(surface - centre, spread, centre)

    def measured(self, matrix: Vector) -> dict[str, float]:
        """The facts in UNITS after a linear map (3, 3)."""
        points, spread = self.surface @ matrix.T, matrix @ self.spread @ matrix.T
        values, vectors = np.linalg.eigh(spread)
        main = vectors[:, 2]
        found: dict[str, float] = dict(zip(EXTENTS, np.ptp(points, axis=0).tolist(), strict=True))
        found["length_mm"] = float(np.ptp(points @ main))
        found["tilt_deg"] = float(np.degrees(np.arccos(min(1.0, abs(main[2])))))
        found["elongation"] = float(1 - np.sqrt(values[1] / values[2]))
        found["flatness"] = float(1 - np.sqrt(values[0] / values[1]))
        return found


def fit(form: Form, target: Target) -> Vector:
    """The smallest linear map (3, 3) after which a form measures about what the target asks (regularised least squares): a turn after a
    stretch along the body axes. Nothing turns unless a tilt is asked for."""
    turns = target.axis is None and "tilt_deg" in target.facts
    axes = [0, 1, 2] if target.axis is None else [target.axis]

    def matrix(x: Vector) -> Vector:
        stretch = np.zeros(3)
        stretch[axes] = x[: len(axes)]
        turn = Rotation.from_rotvec(x[len(axes) :]).as_matrix() if turns else np.eye(3)
        return turn @ np.diag(np.exp(stretch))

    def misses(x: Vector) -> Vector:
        found, off = form.measured(matrix(x)), []
        for fact, (value, weight) in target.facts.items():
            miss = np.log(found[fact] / value) if fact in _MM else found[fact] - value
            off.append(weight * (miss - np.clip(miss, -LEEWAY[fact], LEEWAY[fact])) / UNITS[fact])
        return np.asarray([*off, *(x / STIFFNESS)])

    return matrix(_solve(misses, len(axes) + 3 * turns))


def _solve(misses: Callable[[Vector], Vector], count: int) -> Vector:
    # wide differences: an extent hangs on single points, so its slope is a staircase
    return least_squares(misses, np.full(count, 1e-3), bounds=(-LIMIT, LIMIT), diff_step=0.02, x_scale=0.1, max_nfev=20).x


def hold_shape(clean: Tensor, box: Grid, unit_mm: float, target: Target) -> Tensor:
    """`clean` (1, 1, i, j, k), signed distance in units of `unit_mm` in a box along RAS, moved by the map that fits it to the target."""
    form = Form.of(clean[0, 0].float().cpu().numpy() * unit_mm, box)
    if form is None:
        return clean
    fixed = form.centre.copy()
    if target.axis is not None:
        fixed[target.axis] = target.place
    back = np.asarray(np.linalg.inv(fit(form, target)), np.float64)
    return move(clean, box, back, fixed)


def move(clean: Tensor, box: Grid, back: Vector, fixed: Vector) -> Tensor:
    """`clean` (1, 1, i, j, k) looked up at `fixed + back @ (x - fixed)` for every voxel x of the box (a grid along RAS)."""
    half = (np.asarray(box.shape) - 1) * box.spacing / 2  # grid_sample counts -1..1 between the outermost voxel centres
    middle = (fixed - box.centre) / half
    linear = back * half[None, :] / half[:, None]
    affine = np.concatenate([linear, (middle - linear @ middle)[:, None]], axis=1)
    last_first = affine[::-1][:, [2, 1, 0, 3]].copy()  # it also counts the axes from the last
    theta = torch.as_tensor(last_first[None], dtype=clean.dtype, device=clean.device)
    places = functional.affine_grid(theta, list(clean.shape), align_corners=True)
    return functional.grid_sample(clean, places, mode="bilinear", padding_mode="border", align_corners=True)
