"""Would a mask stand out among the training cases? Its facts, position and pieces against their 2.5th to 97.5th percentile.

Facts are held against the bundle's own percentiles. Position and pieces need the training masks: where the centroid lies from those of
the case's other (real) structures along each body axis, and how far it lies beyond the sketch's plane. The real mask of each case is
judged alike, so that the figures can be read beside what unseen patients reach (about 0.95).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import describe
from ..anatomy import vocabulary
from ..describe import FACTS, Ranges
from ..geometry import Grid, Plane
from ..sketching import largest_section
from . import metrics
from .case import Question
from .training_masks import TrainingMask, centroid

OUTER = (2.5, 97.5)  # percentiles between which a value is usual
FEWEST = 20  # training cases that make a percentile
CHECKS = ("volume", "facts", "position", "beyond_sketch", "components")

Limits = tuple[NDArray[np.float64], NDArray[np.float64]]
Points = Mapping[str, NDArray[np.float64]]


@dataclass
class Usual:
    """What is usual among the training cases: `offsets` (structure, other) -> limits (3,) in mm; `beyond` (structure, axis of the sketch)
    -> limits in mm; `components` structure -> the most."""

    offsets: dict[tuple[str, str], Limits] = field(default_factory=dict)
    beyond: dict[tuple[str, int], Limits] = field(default_factory=dict)
    components: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, masks: Sequence[TrainingMask]) -> Usual:
        """From training masks; what fewer than FEWEST cases tell is left out."""
        offsets, beyond, pieces = defaultdict(list), defaultdict(list), defaultdict(list)
        middles: dict[str, dict[str, NDArray]] = defaultdict(dict)
        for known in masks:
            middles[known.case][known.structure] = known.centroid
            plane = largest_section(known.mask, known.grid)
            beyond[known.structure, plane.axis].append(_beyond(known.centroid, plane))
            pieces[known.structure].append(known.components)
        for own in middles.values():
            for a, here in own.items():
                for b, there in own.items():
                    if a != b:
                        offsets[a, b].append(here - there)
        return cls(_limits(offsets), _limits(beyond), {n: float(np.percentile(v, OUTER[1])) for n, v in pieces.items() if len(v) >= FEWEST})


def _limits(values: Mapping[Any, list]) -> dict[Any, Limits]:
    found = {key: np.percentile(np.array(own), OUTER, axis=0) for key, own in values.items() if len(own) >= FEWEST}
    return {key: (low, high) for key, (low, high) in found.items()}


def _beyond(middle: NDArray[np.float64], plane: Plane) -> float:
    """How far a centroid lies from a plane, along the body axis nearest to its normal, mm."""
    return float(middle[plane.axis] - plane.matrix[plane.axis, 3])


def judge(
    mask: NDArray[np.bool_], grid: Grid, structure: str, plane: Plane, others: Points, ranges: Ranges, usual: Usual
) -> dict[str, float]:
    """Of one mask each of CHECKS as 0..1: inside what is usual, or the share that is; NaN where nothing is known.

    `others` are the centroids (RAS, mm) of other structures in the case; `plane` is that of the sketch. `volume_percentile` is 0..100.
    An empty mask fails every check.
    """
    if not mask.any():
        return {**dict.fromkeys(CHECKS, 0.0), "volume_percentile": float("nan")}
    facts = describe.measure(mask, grid.affine)
    percentiles = {fact: ranges.percentile(fact, getattr(facts, fact)) for fact in FACTS}
    inside = {fact: OUTER[0] <= p <= OUTER[1] for fact, p in percentiles.items()}
    middle = centroid(mask, grid)
    placed = [_inside(middle - there, usual.offsets.get((structure, name))) for name, there in others.items() if name != structure]
    most = usual.components.get(structure, float(vocabulary()[structure].pieces))
    return {
        "volume": float(inside["volume_ml"]),
        "facts": float(np.mean(list(inside.values()))),
        "position": _mean(placed),
        "beyond_sketch": _inside(np.array(_beyond(middle, plane)), usual.beyond.get((structure, plane.axis))),
        "components": float(metrics.components(mask) <= most),
        "volume_percentile": percentiles["volume_ml"],
    }


def _inside(value: NDArray[np.float64], limits: Limits | None) -> float:
    """The share of the entries that lie within their limits; NaN without limits."""
    return float("nan") if limits is None else float(((value >= limits[0]) & (value <= limits[1])).mean())


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def both(q: Question, mask: NDArray[np.bool_], others: Points, ranges: Ranges, usual: Usual) -> dict[str, Any]:
    """A generated mask and the real one of its question, judged alike."""
    sides = {"generated": mask, "real": q.mask}
    found = {side: judge(own, q.grid, q.structure, q.sketch.plane, others, ranges, usual) for side, own in sides.items()}
    return {"case": q.case, "structure": q.structure, **found}


def summarise(found: list[dict[str, Any]], seed: int) -> dict[str, Any]:
    """By structure and `overall` (the mean over structures): each of CHECKS and `volume_percentile` as `generated` and `real`."""
    names = list(dict.fromkeys(item["structure"] for item in found))

    def figure(own: list[str], side: str, key: str) -> dict[str, Any]:
        values = {(item["case"], item["structure"]): item[side][key] for item in found}
        return metrics.mean_of_means(metrics.table(values, own), seed)

    keys = (*CHECKS, "volume_percentile")
    groups = {name: [name] for name in names} | ({"overall": names} if names else {})
    return {g: {k: {side: figure(own, side, k) for side in ("generated", "real")} for k in keys} for g, own in groups.items()}
