"""Do generated label maps look like real ones? Fréchet distance of what is measured on their structures.

Features of one structure: its measured facts on the scale of the training cases (`Ranges.standardise`, so that nothing counts for more than
LIMIT of their spreads), how far it lies from where the others of its map put it, and its number of pieces. The distance is taken for each
structure and averaged: not every structure is contoured in every real case. A structure that a generated map lacks counts as LIMIT off in
everything. All maps are measured on the same voxels, for smoothness is a matter of their size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import describe
from ..describe import FACTS, Facts, Ranges
from ..imaging import LabelVolume
from ..masks.region_prior import Places
from ..sketching import crop
from . import metrics
from .realism import DRAWS, frechet
from .region_validity import away

LIMIT = 4.0
UNIT_MM = 5.0  # of a place: about the spread among people
NAME = "measured facts, place and pieces of each structure"

RegionFacts = Mapping[str, Facts]
Features = dict[str, NDArray[np.float64]]


def facts_of(labels: LabelVolume, names: Sequence[str]) -> dict[str, Facts]:
    """What is measured on each of the named structures that a map holds."""
    found = {}
    for name in names:
        if labels.has(name):
            mask, grid = crop(labels.mask(name), labels.grid, 1)
            found[name] = describe.measure(mask, grid.affine)
    return found


def features(facts: RegionFacts, ranges: Mapping[str, Ranges], placement: Places) -> Features:
    """structure -> (len(FACTS) + 4,), of every structure that is measured and has ranges."""
    ways = away({name: np.asarray(own.centroid_ras) for name, own in facts.items()}, placement)
    found = {}
    for name, own in facts.items():
        if name in ranges:
            z, _ = ranges[name].standardise({fact: getattr(own, fact) for fact in FACTS})
            place = np.clip(ways.get(name, np.zeros(3)) / UNIT_MM, -LIMIT, LIMIT)
            found[name] = np.concatenate([z, place, [min(own.components - 1.0, LIMIT)]]).astype(np.float64)
    return found


def with_missing(own: Features, names: Sequence[str]) -> Features:
    """The features of a generated map, of which every structure is expected."""
    return {name: own.get(name, np.full(len(FACTS) + 4, -LIMIT)) for name in names}


def distances(sets: Mapping[str, list[Features]], reference: list[Features], names: Sequence[str], seed: int) -> dict[str, Any]:
    """Each set's mean distance over the structures to the reference, as figures; `ratio` of the set "made" to the set "gaussian", if both
    are there. Intervals: ± 1.96 standard deviations over DRAWS resamples of all sets."""
    rng = np.random.default_rng(seed)
    table: dict[str, list[float]] = {name: [] for name in sets}
    for draw in range(1 + DRAWS):
        known = _picked(reference, rng, draw)
        picked = {name: _picked(own, rng, draw) for name, own in sets.items()}
        for name, own in picked.items():
            table[name].append(_distance(own, known, names))
    values = {name: np.array(own) for name, own in table.items()}
    if "made" in values and "gaussian" in values:
        with np.errstate(divide="ignore", invalid="ignore"):
            values["ratio"] = values["made"] / values["gaussian"]
    counts = {name: len(own) for name, own in sets.items()}
    return {name: _figure(own, counts.get(name, counts.get("made", 0))) for name, own in values.items()}


def _picked(own: list[Features], rng: np.random.Generator, draw: int) -> list[Features]:
    """The set itself first, then resamples of it."""
    return own if draw == 0 else [own[n] for n in rng.integers(len(own), size=len(own))] if own else []


def _distance(made: list[Features], reference: list[Features], names: Sequence[str]) -> float:
    found = []
    for name in names:
        a, b = ([own[name] for own in side if name in own] for side in (made, reference))
        if min(len(a), len(b)) >= 2:
            found.append(frechet(np.array(a), np.array(b)))
    known = [value for value in found if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _figure(values: NDArray[np.float64], count: int) -> dict[str, Any]:
    rest = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or len(rest) < 2:
        return metrics.summary([])
    half = 1.96 * float(rest.std(ddof=1))
    low, high = max(0.0, float(values[0]) - half), float(values[0]) + half
    return {"mean": round(float(values[0]), 4), "ci95": [round(low, 4), round(high, 4)], "n": count}
