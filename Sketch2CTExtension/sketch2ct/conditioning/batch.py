"""Conditions of several boxes -> one batch of tensors."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import Grid
from ..masks.shape_model import ShapeModel
from ..networks.mask_unet import EXPECTED, ConditionBatch
from ..request import Sketch
from .strokes import DRAWING_SIZE, POSE_SIZE, drawing, in_grid


def condition_arrays(
    sketches: list[Sketch], grid: Grid, text: NDArray, facts: NDArray, structure: int, shapes: ShapeModel | None = None
) -> dict[str, NDArray]:
    """The arrays of one box, named as in `ConditionBatch`; what is expected by the structure's shape model, if there is one."""
    drawn, strokes = [drawing(s) for s in sketches], in_grid(sketches, grid)
    nothing = np.zeros((EXPECTED, *grid.shape), np.float32)
    return {
        "strokes": strokes,
        "expected": nothing if shapes is None else shapes.expected(strokes, float(grid.spacing.max()), facts),
        "drawings": np.stack([d[0] for d in drawn]) if drawn else np.zeros((0, 2, DRAWING_SIZE, DRAWING_SIZE), np.float32),
        "poses": np.stack([d[1] for d in drawn]) if drawn else np.zeros((0, POSE_SIZE), np.float32),
        "text": np.asarray(text, dtype=np.float32),
        "facts": np.asarray(facts, dtype=np.float32),
        "structure": np.asarray(structure, dtype=np.int64),
        "spacing": grid.spacing.astype(np.float32),
    }


def collate(conditions: list[dict[str, NDArray]]) -> ConditionBatch:
    """Boxes of equal shape -> one batch; sketches and words are padded to the longest."""
    values: dict[str, Tensor] = {}
    for name in ("strokes", "expected", "facts", "structure", "spacing"):
        values[name] = torch.from_numpy(np.stack([c[name] for c in conditions]))
    for name, flag in (("drawings", "drawn"), ("text", "spoken")):
        most = max(1, *(len(c[name]) for c in conditions))
        values[flag] = torch.tensor([[n < len(c[name]) for n in range(most)] for c in conditions])
        for key in (name, "poses") if name == "drawings" else (name,):
            padded = [np.pad(c[key], [(0, most - len(c[key])), *[(0, 0)] * (c[key].ndim - 1)]) for c in conditions]
            values[key] = torch.from_numpy(np.stack(padded))
    return ConditionBatch(**values)
