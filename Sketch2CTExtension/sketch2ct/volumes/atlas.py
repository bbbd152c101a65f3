"""The average anatomy as a CT latent: what usually lies where, relative to the structures that are given. No torch.

A single labelled organ says little about the body around it; the atlas, laid so that its organs meet the given ones, says what is
usual there. The volume model starts from it and is free to depart from it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..geometry import Grid

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Atlas:
    """`values` (C + 1, i, j, k): mean latent and, last, the share of cases that know this cell; `grid` of its cells, in the bundle's
    frame (RAS mm from the frame's centre); `placement` structure -> usual middle (mm) in the same frame."""

    values: NDArray[np.float32]
    grid: Grid
    placement: dict[str, tuple[float, float, float]]

    def origin(self, middles: dict[str, Vector]) -> Vector | None:
        """Where the frame's centre lies (RAS mm), given the middles of some structures; None when it knows none of them."""
        ways = [middle - np.asarray(self.placement[name]) for name, middle in middles.items() if name in self.placement]
        return np.mean(ways, axis=0) if ways else None

    def on(self, cells: Grid, origin: Vector | None) -> NDArray[np.float32]:
        """The atlas at the cells of a latent (same cell size, RAS axes), (C + 1, i, j, k); zeros when `origin` is None or outside."""
        result = np.zeros((len(self.values), *cells.shape), np.float32)
        if origin is None:
            return result
        first = self.grid.to_index(cells.to_ras((0, 0, 0)) - origin)
        for source, target in zip(self.values, result, strict=True):
            ndimage.affine_transform(source, np.ones(3), first, output_shape=cells.shape, output=target, order=1)
        return result


def build(
    latents: Iterable[tuple[NDArray[np.floating], NDArray[np.bool_], Grid, dict[str, Vector]]],
    placement: dict[str, tuple[float, float, float]],
    shape: tuple[int, int, int],
    spacing: Vector,
) -> Atlas:
    """The atlas of training cases, each (latent (C, i, j, k), known cells, grid of its cells, middles of its structures)."""
    grid = Grid.centred((0, 0, 0), spacing, shape)
    total: NDArray | None = None
    weight, cases = np.zeros(shape, np.float32), 0
    for latent, known, cells, middles in latents:
        ways = [middle - np.asarray(placement[name]) for name, middle in middles.items() if name in placement]
        if not ways:
            continue
        first = cells.to_index(grid.to_ras((0, 0, 0)) + np.mean(ways, axis=0))
        moved = [
            ndimage.affine_transform(np.asarray(part, np.float32), np.ones(3), first, output_shape=shape, order=1)
            for part in (known.astype(np.float32), *(channel * known for channel in latent))
        ]
        total = np.zeros((len(latent), *shape), np.float32) if total is None else total
        weight, cases = weight + moved[0], cases + 1
        total += np.stack(moved[1:])
    if total is None:
        raise ValueError("No case has a structure of known place.")
    mean = total / np.maximum(weight, 1.0)  # fewer than one case in all: fades to nothing
    return Atlas(np.concatenate([mean, weight[None] / cases]).astype(np.float32), grid, placement)
