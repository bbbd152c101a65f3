"""What a drawn region is to show: stated facts, words and relations as targets of linear combinations of its numbers. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import truncnorm

from .. import describe
from ..describe import Facts, Ranges
from ..describe.relations import AXES, BESIDE_MM, Relation

FACTS = len(describe.FACTS)
VOLUME = describe.FACTS.index("volume_ml")
LARGER = 1.15  # of two volumes, so that "larger" still shows on a coarse grid; it is said of what differs by a tenth
LEVEL = 1.05  # ratio of what is "about as large as" something
BESIDE = 1.5 * BESIDE_MM  # so that an order along an axis still shows
STATED_SD = 0.1  # standardised
RELATION_SD = {"volume": 0.02, "place": 0.5}  # logarithm of a ratio; mm

Key = tuple[str, str, int]  # structure, "fact" or "place", and its number


@dataclass(frozen=True)
class Aim:
    """The sum of `weights` times numbers is to be `target`, within `sd`. Both are what is measured, less `offset`."""

    weights: Mapping[Key, float]
    target: float
    sd: float
    offset: float = 0.0

    def seen(self, facts: Mapping[str, Facts], ranges: Mapping[str, Ranges], placement: Mapping[str, tuple[float, ...]]) -> float | None:
        """What drawn shapes with these facts show of it; None where one of them is missing. Places count from `placement`."""
        total = 0.0
        for (name, kind, number), weight in self.weights.items():
            if name not in facts:
                return None
            if kind == "fact":
                total += weight * float(describe.vector_of(facts[name], ranges[name])[0][number])
            else:
                total += weight * (facts[name].centroid_ras[number] - placement[name][number])
        return total


def fact(name: str, number: int, value: float) -> Aim:
    """A standardised fact of one structure."""
    return Aim({(name, "fact", number): 1.0}, value, STATED_SD)


def relation(said: Relation, ranges: Mapping[str, Ranges], placement: Mapping[str, tuple[float, ...]]) -> tuple[dict[Key, float], float]:
    """The weights and the offset of the number that tells a relation: the logarithm of the ratio of two volumes, or mm along an axis."""
    one, other = said.one, said.other
    if said.kind in AXES:
        axis = AXES[said.kind]
        return {(one, "place", axis): 1.0, (other, "place", axis): -1.0}, placement[one][axis] - placement[other][axis]
    (middle, unit), (middle2, unit2) = _log_volume(_frozen(ranges[one])), _log_volume(_frozen(ranges[other]))
    return {(one, "fact", VOLUME): unit, (other, "fact", VOLUME): -unit2}, middle - middle2


def holding(said: Relation, usual: float, spread: float, rng: np.random.Generator) -> float:
    """A value of that number as it is where the relation holds, if it usually is `usual` with a standard deviation of `spread`."""
    if said.kind in AXES:
        low, high = BESIDE, float("inf")
    else:
        low, high = (np.log(LARGER), float("inf")) if said.kind == "larger" else (-np.log(LEVEL), np.log(LEVEL))
    value = float(truncnorm.ppf(rng.uniform(0.05, 0.95), (low - usual) / spread, (high - usual) / spread)) * spread + usual
    return value if np.isfinite(value) else float(low)


def _frozen(ranges: Ranges) -> tuple[float, ...]:
    return tuple(ranges.percentiles["volume_ml"])


@cache
def _log_volume(percentiles: tuple[float, ...]) -> tuple[float, float]:
    """Middle and unit of the logarithm of a volume on the scale of the facts."""
    ranges, step = Ranges({"volume_ml": list(percentiles)}), 0.01
    usual = ranges.value_at("volume_ml", 50)
    low, high = (float(ranges.standardise({"volume_ml": usual * float(np.exp(s))})[0][VOLUME]) for s in (0.0, step))
    return float(np.log(usual)), step / (high - low)
