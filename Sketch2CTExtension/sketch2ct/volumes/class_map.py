"""A label map as the class map of a whole region, on the model's grid, and contrast: what GuideGen's CT model is conditioned on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import BadRequest
from ..geometry import Grid
from ..imaging import LabelVolume
from ..masks.region_classes import UNKNOWN, Labels, RegionClasses
from .shares import share_on, whole

UNTOLD, WITHOUT, WITH = 0, 1, 2  # contrast agent
CONTRASTS = 2


def check(labels: LabelVolume, classes: RegionClasses) -> None:
    """Raises BadRequest for a map that is empty, holds what is no number, a value without a name, or a class that is not known."""
    array = labels.array
    if not np.isfinite(array).all() or (array < 0).any():
        raise BadRequest("The label map holds values that are no labels (NaN, infinity or negative).", "Save it as whole numbers.")
    present = {int(value) for value in np.unique(array) if value}
    if not present:
        raise BadRequest("The label map is empty.", "Give one that holds at least one structure.")
    nameless = sorted(present - set(labels.names))
    if nameless:
        raise BadRequest(f"The label map holds the value {nameless[0]}, which has no name.", "Name it, or remove it.")
    known = classes.names[1:]
    for value in sorted(present):
        if labels.names[value] not in known:
            raise BadRequest(f"The CT model does not know '{labels.names[value]}'.", f"It knows: {', '.join(known)}.")


def class_map(labels: LabelVolume, classes: RegionClasses, grid: Grid) -> Labels:
    """The class with the largest share of every voxel of `grid` (i, j, k).

    Where a map tells the body, what it does not label is outside air. Without a body it tells its structures alone: the rest is UNKNOWN,
    as is what lies beyond the map's own grid. Raises BadRequest, see `check`.
    """
    check(labels, classes)
    unsaid = share_on(labels.array == 0, labels.grid, grid)
    inside = share_on(np.ones(labels.grid.shape, bool), labels.grid, grid)
    best = np.maximum(unsaid, 1 - inside)
    result = np.full(grid.shape, UNKNOWN, np.uint8)
    if whole(labels):
        result[(unsaid >= 1 - inside) & (inside > 0)] = 0
    for n, name in enumerate(classes.names):
        if name and labels.has(name):
            share = share_on(labels.mask(name), labels.grid, grid)
            won = (share > 0) & (share >= best)  # of two halves a structure is the rarer
            result[won], best[won] = n, share[won]
    return result


def condition(found: Tensor, classes: int, contrast: Tensor) -> Tensor:
    """Class maps (N, i, j, k) and `contrast` (N,), of UNTOLD, WITHOUT and WITH -> (N, classes + CONTRASTS, i, j, k) float32.

    One channel a class, all zeros where a voxel is UNKNOWN; then one for each contrast, the same everywhere, zeros when it is not told.
    """
    numbers = torch.arange(classes, device=found.device).view(1, -1, 1, 1, 1)
    kinds = torch.arange(1, 1 + CONTRASTS, device=found.device)
    told = (contrast[:, None] == kinds).float()[:, :, None, None, None]
    return torch.cat([(found[:, None] == numbers).float(), told.expand(-1, -1, *found.shape[1:])], dim=1)


def contrast_number(contrast: bool | None) -> int:
    """UNTOLD, WITHOUT or WITH."""
    return UNTOLD if contrast is None else (WITH if contrast else WITHOUT)
