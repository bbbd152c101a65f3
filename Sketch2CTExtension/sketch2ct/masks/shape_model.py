"""What a structure's shape is expected to be, given the drawn sections and the stated facts: a linear Gaussian shape model. No torch.

Principal components of the truncated signed distance in the structure's box (Leventon et al., 2000), here with the facts of the shape
beside them: x = mean + a @ modes + e, facts = usual + a @ slopes + n, a ~ N(0, I). A drawn section fixes x on the voxels it passes through,
a number in the description fixes a fact, and the rest follows in closed form. The network starts from this and departs from it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..conditioning.strokes import REACH_MM
from .boxes import TRUNCATION_MM
from .components import principal_components

Array = NDArray[np.float32]

COARSE = 2  # the modes are smooth: they are kept on blocks of 2 x 2 x 2 voxels
DRAWN_SD = 0.1  # of a drawn distance, in units of TRUNCATION_MM: a hand wavers by about 1 mm
ALIKE = 6.0  # neighbouring voxels of a section err alike: so many count as one
STATED_SD = 0.2  # of a stated fact, standardised: it is rounded, or only a word
MODES = 80


@dataclass(frozen=True)
class ShapeModel:
    """`mean` (i, j, k), `modes` (K, i, j, k) and `rest`, the variance that they leave (i, j, k), on blocks of the box's voxels; of the
    standardised facts `usual` (F,), `slopes` (K, F) and `noise`, their variance beside the modes (F,)."""

    mean: Array
    modes: Array
    rest: Array
    usual: Array
    slopes: Array
    noise: Array

    @classmethod
    def fit(cls, distances: Array, facts: Array, modes: int = MODES) -> ShapeModel:
        """Of training shapes (N, i, j, k) in -1..1 in their boxes, and their standardised facts (N, F)."""
        blocks = coarse(distances)
        flat, usual = blocks.reshape(len(blocks), -1), facts.mean(axis=0).astype(np.float64)
        mean, weights, found = principal_components(flat, modes)
        slopes = weights.T @ (facts - usual) / len(flat)
        rest = (flat - mean - weights @ found).var(axis=0)
        noise = (facts - usual - weights @ slopes).var(axis=0)
        shape = blocks.shape[1:]
        parts = (mean.reshape(shape), found.reshape(-1, *shape), rest.reshape(shape), usual, slopes, noise)
        return cls(*(np.asarray(part, np.float32) for part in parts))

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> ShapeModel:
        """The inverse of `arrays`."""
        return cls(**{f.name: np.asarray(arrays[f.name], np.float32) for f in fields(cls)})

    def arrays(self) -> dict[str, Array]:
        """To be stored."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def _fine(self) -> tuple[Array, Array, Array]:
        """Mean (D,), modes (K, D) and rest (D,) on the voxels of the box."""
        every = finer(np.concatenate([self.mean[None], self.rest[None], self.modes])).reshape(2 + len(self.modes), -1)
        return every[0], every[2:], every[1]

    def expected(self, strokes: Array, voxel_mm: float, facts: Array) -> Array:
        """Mean and standard deviation of the shape (2, i, j, k), in -1..1 and 0..1.

        `strokes` (channels, i, j, k) as `conditioning.strokes.in_grid` gives them, `facts` (2F,): standardised values, then which are
        given. Silhouettes say too little in this way and are left to the network.
        """
        mean, modes, rest = self._fine
        section, nearness = strokes[1].ravel(), strokes[2].ravel()
        away = (1 - nearness) * REACH_MM
        seen = np.flatnonzero(away < 0.75 * voxel_mm)
        drawn = np.arctanh(np.clip(section[seen], -0.999, 0.999)) * (REACH_MM / TRUNCATION_MM)
        count = len(self.usual)
        given = np.flatnonzero(facts[count:])
        rows = np.concatenate([modes[:, seen].T, self.slopes[:, given].T]).astype(np.float64)  # (M, K)
        off = np.concatenate([np.clip(drawn, -1, 1) - mean[seen], facts[given] - self.usual[given]])
        doubt = ALIKE * (DRAWN_SD**2 + rest[seen] + (0.5 * away[seen] / TRUNCATION_MM) ** 2)
        variance = np.concatenate([doubt, self.noise[given] + STATED_SD**2])
        precision = np.eye(len(modes)) + (rows / variance[:, None]).T @ rows
        factor = np.linalg.cholesky(precision)
        weights = np.linalg.solve(precision, (rows / variance[:, None]).T @ off)
        shape = strokes.shape[1:]
        likely = np.clip(mean + weights.astype(np.float32) @ modes, -1, 1).reshape(shape)
        spread = np.linalg.solve(factor, self.modes.reshape(len(modes), -1))  # (K, blocks)
        deviation = np.sqrt((spread**2).sum(axis=0) + self.rest.ravel()).reshape(1, *self.mean.shape)
        return np.stack([likely, np.clip(finer(deviation)[0], 0, 1)]).astype(np.float32)


def coarse(values: Array) -> Array:
    """Means over blocks of COARSE voxels of the last three axes, whose sizes must be even."""
    *lead, i, j, k = values.shape
    c = COARSE
    return values.reshape(*lead, i // c, c, j // c, c, k // c, c).mean(axis=(-1, -3, -5))


def finer(values: NDArray) -> Array:
    """Blocks (N, i, j, k) back on voxels (N, 2i, 2j, 2k), by linear interpolation."""
    for axis in (1, 2, 3):
        values = np.moveaxis(np.tensordot(_between(values.shape[axis]), values, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(values, np.float32)


def _between(count: int) -> NDArray[np.float64]:
    """Weights (2n, n) of linear interpolation between the middles of blocks, constant beyond the outermost."""
    at = np.clip((np.arange(COARSE * count) + 0.5) / COARSE - 0.5, 0, count - 1)
    low = np.minimum(at.astype(int), max(count - 2, 0))
    weights = np.zeros((COARSE * count, count))
    rows = np.arange(len(at))
    weights[rows, low] = 1 - (at - low)
    if count > 1:
        weights[rows, low + 1] += at - low
    return weights


def pack(models: dict[str, ShapeModel]) -> dict[str, Array]:
    """The models of several structures as one set of arrays, "structure.field"."""
    return {f"{name}.{key}": array for name, model in models.items() for key, array in model.arrays().items()}


def unpack(arrays: dict[str, Any]) -> dict[str, ShapeModel]:
    """The inverse of `pack`; arrays or tensors."""
    found: dict[str, dict[str, Array]] = {}
    for key, array in arrays.items():
        name, _, part = key.rpartition(".")
        found.setdefault(name, {})[part] = np.asarray(array)
    return {name: ShapeModel.from_arrays(own) for name, own in found.items()}
