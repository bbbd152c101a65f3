"""Whether a whole-region label map is one that training cases could be: every structure in its range of volume and position. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Grid
from ..imaging import LabelVolume
from ..masks.region_prior import Places, origin

Middles = Mapping[str, NDArray[np.float64]]
Limits = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class RegionLimits:
    """The ranges of the training cases: `volumes` structure -> (least, most) mL; `places` structure -> (lowest, highest) corner (mm) of
    where its middle lies from where the case's other structures put it."""

    placement: Places
    volumes: dict[str, tuple[float, float]] = field(default_factory=dict)
    places: dict[str, Limits] = field(default_factory=dict)

    @classmethod
    def fit(cls, cases: Iterable[tuple[Middles, Mapping[str, float]]], placement: Places) -> RegionLimits:
        """From the middles (RAS mm) and the volumes (mL) of the structures of every case."""
        volumes: dict[str, list[float]] = {}
        ways: dict[str, list[NDArray]] = {}
        for middles, own in cases:
            for name, volume in own.items():
                volumes.setdefault(name, []).append(volume)
            for name, way in away(middles, placement).items():
                ways.setdefault(name, []).append(way)
        places: dict[str, Limits] = {n: (tuple(np.min(w, axis=0).tolist()), tuple(np.max(w, axis=0).tolist())) for n, w in ways.items()}
        return cls(placement, {n: (min(v), max(v)) for n, v in volumes.items()}, places)

    def judge(self, labels: LabelVolume) -> dict[str, bool]:
        """Of every structure with a range, whether a label map holds it, of a volume and at a place of the training cases."""
        middles = {name: _middle(labels.mask(name), labels.grid) for name in self.volumes if labels.has(name)}
        ways = away(middles, self.placement)
        found = {}
        for name, (least, most) in self.volumes.items():
            if name not in middles:
                found[name] = False
                continue
            volume = float(labels.mask(name).sum()) * labels.grid.voxel_ml
            low, high = self.places.get(name, ((-np.inf,) * 3, (np.inf,) * 3))
            way = ways.get(name, np.zeros(3))
            found[name] = least <= volume <= most and bool((way >= low).all() and (way <= high).all())
        return found

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the placement, which a bundle has anyway."""
        return {"volumes": self.volumes, "places": self.places}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], placement: Places) -> RegionLimits:
        """The inverse of `to_dict`."""
        places = {n: (tuple(low), tuple(high)) for n, (low, high) in data["places"].items()}
        return cls(placement, {n: (v[0], v[1]) for n, v in data["volumes"].items()}, places)


def away(middles: Middles, placement: Places) -> dict[str, NDArray[np.float64]]:
    """How far (mm) each structure lies from where the others of its case put it; a structure alone lies nowhere."""
    found = {}
    for name in (n for n in middles if n in placement):
        put = origin({other: m for other, m in middles.items() if other != name}, placement)
        if put is not None:
            found[name] = middles[name] - np.asarray(placement[name]) - put
    return found


def _middle(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    return grid.to_ras(np.argwhere(mask).mean(axis=0))
