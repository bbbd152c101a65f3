"""What a drawn region is to show: stated facts, words and relations as targets of linear combinations of its numbers. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import truncnorm

from .. import describe
from ..describe import Facts, Ranges
from ..describe.relations import AXES, BESIDE_MM, Relation

VOLUME = describe.FACTS.index("volume_ml")
LARGER = 1.15  # of two volumes, so that "larger" still shows on a coarse grid; it is said of what differs by a tenth
LEVEL = 1.05  # ratio of what is "about as large as" something
BESIDE = 1.5 * BESIDE_MM  # so that an order along an axis still shows
# Of a stated fact (standardised), of the logarithm of a ratio, of a place (mm). A fact is asked for softly, and then for more where it does
# not show: when it was held to .1, what the few modes of a shape cannot show bent everything that they can.
STATED_SD, RATIO_SD, PLACE_SD = 0.8, 0.02, 0.5
DRAWN_SD = 0.1  # of a volume that was drawn, and is there but for what is not linear
# how far a target may be moved to make up for what is not linear: what cannot be had must not bend everything else
FACT_LEEWAY, VOLUME_LEEWAY, RATIO_LEEWAY, PLACE_LEEWAY = 1.5, 3.0, 0.8, 15.0

Key = tuple[str, str, int]  # structure, "fact", "place" or "code", and the number of the fact, the axis or the number of the code


@dataclass(frozen=True)
class Aim:
    """The sum of `weights` times numbers is to be `target`, within `sd`; to be seen there, it may be asked for up to `leeway` beside it."""

    weights: Mapping[Key, float]
    target: float
    sd: float
    leeway: float = 0.0

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


def fact(name: str, number: int, value: float, sd: float = STATED_SD) -> Aim:
    """A standardised fact of one structure."""
    return Aim({(name, "fact", number): 1.0}, value, sd, VOLUME_LEEWAY if number == VOLUME else FACT_LEEWAY)


def relation(
    said: Relation,
    ranges: Mapping[str, Ranges],
    placement: Mapping[str, tuple[float, ...]],
    usual: Callable[[Mapping[Key, float]], tuple[float, float]],
    rng: np.random.Generator,
) -> Aim:
    """A relation, as the logarithm of the ratio of two volumes or as mm along an axis, drawn as it is where the relation holds.

    `usual` gives mean and standard deviation of a combination of numbers.
    """
    one, other = said.one, said.other
    weights: dict[Key, float]
    if said.kind in AXES:
        axis = AXES[said.kind]
        weights, offset = {(one, "place", axis): 1.0, (other, "place", axis): -1.0}, placement[one][axis] - placement[other][axis]
        (low, high), sd, leeway = (BESIDE, float("inf")), PLACE_SD, PLACE_LEEWAY
    else:
        (middle, unit), (middle2, unit2) = (_log_volume(tuple(ranges[n].percentiles["volume_ml"])) for n in (one, other))
        weights, offset = {(one, "fact", VOLUME): unit, (other, "fact", VOLUME): -unit2}, middle - middle2
        low, high = (float(np.log(LARGER)), float("inf")) if said.kind == "larger" else (-float(np.log(LEVEL)), float(np.log(LEVEL)))
        sd, leeway = RATIO_SD, RATIO_LEEWAY
    mean, spread = usual(weights)
    low, high = low - offset, high - offset
    value = float(truncnorm.ppf(rng.uniform(0.05, 0.95), (low - mean) / spread, (high - mean) / spread)) * spread + mean
    return Aim(weights, value if np.isfinite(value) else low, sd, leeway)


@cache
def _log_volume(percentiles: tuple[float, ...]) -> tuple[float, float]:
    """Middle and unit of the logarithm of a volume on the scale of the facts."""
    ranges, step = Ranges({"volume_ml": list(percentiles)}), 0.01
    usual = ranges.value_at("volume_ml", 50)
    low, high = (float(ranges.standardise({"volume_ml": usual * float(np.exp(s))})[0][VOLUME]) for s in (0.0, step))
    return float(np.log(usual)), step / (high - low)
