"""How a structure's facts are spread among its training cases, and the scale that conditions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .measure import FACTS, Facts

_GRID = np.linspace(0, 100, 21)
_LIMIT = 4.0  # standardised facts are clipped here
_LOG_FLOOR = 0.05  # a spread below 5% is measurement noise
_PLAIN_FLOOR = 0.02  # the same for the measures in 0..1
_TILT_FLOOR = 2.0  # degrees


@dataclass(frozen=True)
class Ranges:
    """Percentiles 0, 5, ..., 100 of every fact among the cases of one structure."""

    percentiles: dict[str, list[float]]

    @classmethod
    def fit(cls, cases: Sequence[Facts]) -> Ranges:
        """The spread of measured cases of one structure."""
        if not cases:
            raise ValueError("Ranges need at least one measured case.")
        return cls({fact: np.percentile([getattr(case, fact) for case in cases], _GRID).tolist() for fact in FACTS})

    def to_dict(self) -> dict[str, list[float]]:
        """As JSON: fact -> 21 percentiles."""
        return {fact: list(values) for fact, values in self.percentiles.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Sequence[float]]) -> Ranges:
        """The inverse of `to_dict`."""
        return cls({fact: [float(value) for value in values] for fact, values in data.items()})

    def percentile(self, fact: str, value: float) -> float:
        """Where `value` stands among the cases, 0..100; in the middle of equal percentiles."""
        values = np.asarray(self.percentiles[fact])
        equal = _GRID[values == value]
        return float(equal.mean() if len(equal) else np.interp(value, values, _GRID))

    def value_at(self, fact: str, percentile: float) -> float:
        """The value at a percentile (0..100)."""
        return float(np.interp(percentile, _GRID, self.percentiles[fact]))

    def standardise(self, values: Mapping[str, float]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Facts -> (z clipped to -4..4, given 0 or 1), both float32 (len(FACTS),); what is absent is 0 in both.

        mm and mL are compared by their logarithm. The unit is half the distance from the 16th to the 84th percentile.
        """
        z, given = np.zeros(len(FACTS), np.float32), np.zeros(len(FACTS), np.float32)
        for index, fact in enumerate(FACTS):
            if fact in values:
                low, middle, high, value = (*(self.value_at(fact, p) for p in (16, 50, 84)), values[fact])
                floor = _TILT_FLOOR if fact == "tilt_deg" else _PLAIN_FLOOR
                if fact.endswith(("_mm", "_ml")):
                    low, middle, high, value = (float(np.log(max(x, 1e-6))) for x in (low, middle, high, value))
                    floor = _LOG_FLOOR
                z[index] = np.clip((value - middle) / max((high - low) / 2, floor), -_LIMIT, _LIMIT)
                given[index] = 1
        return z, given


def vector_of(facts: Facts, ranges: Ranges) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All measured facts of a mask on the scale of `Reading.vector`: z and given (all 1), float32 (len(FACTS),)."""
    return ranges.standardise({fact: getattr(facts, fact) for fact in FACTS})
