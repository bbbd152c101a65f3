"""What the request states exactly is held at every sampling step: the section drawn on a plane, and a volume given in mL.

The network proposes a clean signed distance; before it is used, it is moved onto what is known. As in inpainting by diffusion, the rest
then grows to fit, which a correction after the last step could not do. Distances are in units of `TRUNCATION_MM`, positive inside.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..conditioning.strokes import REACH_MM
from .boxes import TRUNCATION_MM

MAX_SHIFT = 0.4  # of TRUNCATION_MM: a volume that needs its surface moved further than 4 mm is not forced
HALVINGS = 12


def hold_section(clean: Tensor, strokes: Tensor, voxel_mm: float) -> Tensor:
    """`clean` (N, 1, i, j, k) with the drawn section on the drawn planes, blending into the proposal within a voxel.

    `strokes` are the channels of `conditioning.strokes.in_grid`; without a cross-section nothing changes.
    """
    section, nearness = strokes[:, 1:2], strokes[:, 2:3]
    away = (1 - nearness) * REACH_MM  # mm; REACH_MM and more where nothing is drawn
    share = (1 - away / voxel_mm).clamp(0, 1)
    drawn = (torch.atanh(section.clamp(-0.999, 0.999)) * (REACH_MM / TRUNCATION_MM)).clamp(-1, 1)
    return clean + share * (drawn - clean)


def volume_ml(clean: Tensor, voxel_ml: float) -> Tensor:
    """Volume (N,) of the masks, partial voxels counted by their distance (a surface moves one voxel per voxel of distance)."""
    width = 10 * voxel_ml ** (1 / 3) / TRUNCATION_MM  # edge of a cube of that volume, in units of the distance
    return (clean / width + 0.5).clamp(0, 1).sum((1, 2, 3, 4)) * voxel_ml


def hold_volume(clean: Tensor, strokes: Tensor, asked_ml: float, voxel_ml: float) -> Tensor:
    """`clean` (1, 1, i, j, k) with its surface moved evenly, less so near drawn planes, until the mask has the volume asked for."""
    freedom = 1 - strokes[:, 2:3]
    low, high = -MAX_SHIFT, MAX_SHIFT
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if float(volume_ml(clean + middle * freedom, voxel_ml)) < asked_ml:
            low = middle
        else:
            high = middle
    return (clean + (low + high) / 2 * freedom).clamp(-1, 1)
