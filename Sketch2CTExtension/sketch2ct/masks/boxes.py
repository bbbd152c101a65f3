"""The box around a structure in which its mask is made: how large, how fine, and where, given the strokes. No torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import describe
from ..geometry import Grid
from ..request import Sketch

TRUNCATION_MM = 10.0  # signed distances saturate here; 1.0 in the model


@dataclass(frozen=True)
class Boxes:
    """Per structure: `shapes` (cells), `spacings` (mm), `offsets` (mm) and fact `ranges`; `names` in the order of the model's codes.

    `offsets[name][axis]` is the mean way from a sketch's own middle to the structure's middle along each body axis, for sketches
    whose normal is nearest to body axis `axis`: along the normal a section says nothing about the middle, anatomy does.
    `placement[name]` is the mean position (RAS mm) of the structure's middle from the middle of the bundle's frame.
    """

    names: tuple[str, ...]
    shapes: dict[str, tuple[int, int, int]]
    spacings: dict[str, tuple[float, float, float]]
    offsets: dict[str, tuple[tuple[float, float, float], ...]]
    ranges: dict[str, describe.Ranges]
    placement: dict[str, tuple[float, float, float]]

    def code(self, structure: str) -> int:
        """The structure's number in the model; 0 stands for none."""
        return 1 + self.names.index(structure)

    def shape_of(self, structure: str) -> tuple[int, int, int]:
        """Cells of the structure's box."""
        return self.shapes[structure]

    def grid(self, structure: str, centre: NDArray[np.float64]) -> Grid:
        """The box's grid around `centre` (RAS mm)."""
        return Grid.centred(centre, self.spacings[structure], self.shapes[structure])

    def centre(self, structure: str, sketches: list[Sketch]) -> NDArray[np.float64]:
        """Where the box goes (RAS mm): along each body axis, the middle of the sketches that span it; where none does, the mean of
        their positions moved by the structure's usual offset."""
        low, high, place = np.full(3, np.inf), np.full(3, -np.inf), []
        for sketch in sketches:
            points = sketch.points()
            first, last = points.min(0), points.max(0)
            offset = np.asarray(self.offsets.get(structure, ((0.0, 0.0, 0.0),) * 3)[sketch.plane.axis])
            place.append((first + last) / 2 + offset)
            spans = np.abs(sketch.plane.normal) < 0.7
            low[spans] = np.minimum(low[spans], first[spans])
            high[spans] = np.maximum(high[spans], last[spans])
        spanned = np.isfinite(low)
        return np.where(spanned, (np.where(spanned, low, 0) + np.where(spanned, high, 0)) / 2, np.mean(place, axis=0))

    def to_dict(self) -> dict[str, Any]:
        """As JSON (a bundle's metadata)."""
        ranges = {name: value.to_dict() for name, value in self.ranges.items()}
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "ranges": ranges}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Boxes:
        """From JSON."""
        return cls(
            names=tuple(data["names"]),
            shapes={k: tuple(v) for k, v in data["shapes"].items()},
            spacings={k: tuple(v) for k, v in data["spacings"].items()},
            offsets={k: tuple(tuple(x) for x in v) for k, v in data["offsets"].items()},
            ranges={k: describe.Ranges.from_dict(v) for k, v in data["ranges"].items()},
            placement={k: tuple(v) for k, v in data["placement"].items()},
        )
