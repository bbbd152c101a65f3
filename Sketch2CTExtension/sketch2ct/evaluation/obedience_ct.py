"""Does a generated CT obey its label map? The segmenter's Dice to the map, beside the same segmenter's on the real CT of the case."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import metrics
from .paired import Placed, ratio
from .segmenter import SegmentsCT

FEWEST = 10  # voxels of a structure where the CT was stored


def dice_of(segmenter: SegmentsCT, placed: Placed) -> dict[str, float]:
    """Dice of the segmenter's map and the given labels where the CT was stored, by given structure, 0..1.

    A structure that was not contoured is not judged.
    """
    found = segmenter.segment(placed.ct)
    result = {}
    for name in placed.labels.names.values():
        truth = placed.labels.mask(name) & placed.known
        if name in segmenter.structures and truth.sum() >= FEWEST:
            result[name] = metrics.dice(found.mask(name) & placed.known, truth)
    return result


def summarise(pairs: list[tuple[dict[str, float], dict[str, float]]], seed: int) -> dict[str, Any]:
    """Over (generated, real) of each patient, by structure and `overall`: `generated`, `real` and their `ratio`."""
    names = list(dict.fromkeys(name for made, _ in pairs for name in made))
    if not names:
        return {}
    table = np.array([[[side.get(name, np.nan) for name in names] for side in pair] for pair in pairs])  # (patients, 2, structures)
    result: dict[str, Any] = {}
    for n, name in enumerate(names):
        sides = {"generated": metrics.summary(_held(table[:, 0, n]), seed), "real": metrics.summary(_held(table[:, 1, n]), seed)}
        result[name] = {**sides, "ratio": ratio(table[:, 0, n], table[:, 1, n], seed)}
    sides = {"generated": metrics.mean_of_means(table[:, 0], seed), "real": metrics.mean_of_means(table[:, 1], seed)}
    result["overall"] = {**sides, "ratio": ratio(table[:, 0], table[:, 1], seed)}
    return result


def _held(values: np.ndarray) -> np.ndarray:
    """Without the patients that a structure was not contoured in."""
    return values[np.isfinite(values)]
