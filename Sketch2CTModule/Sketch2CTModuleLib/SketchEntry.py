"""One sketch: the strokes of a structure on a plane."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from sketch2ct.geometry import Plane, outlines
from sketch2ct.request import Sketch

from .Stroke import Stroke

_TOUCHING_MM = 1e-6
_SIDES = ("RL", "AP", "SI")  # letter of the positive and of the negative direction of each body axis


@dataclass(frozen=True, eq=False)
class SketchEntry:
    """Strokes (at least one) that agree in structure, plane and meaning, and whether they are shown."""

    strokes: tuple[Stroke, ...]
    visible: bool = True

    @property
    def structure(self) -> str:
        """The vocabulary's name."""
        return self.strokes[0].structure

    @property
    def plane(self) -> NDArray[np.float64]:
        """4x4 SliceToRAS with orthogonal unit axes, mm."""
        return self.strokes[0].plane

    @property
    def meaning(self) -> str:
        """`cross_section` or `silhouette`."""
        return self.strokes[0].meaning

    @property
    def planeLabel(self) -> str:
        """Where the plane lies, for example `axial, S 12.5 mm`, or `oblique`."""
        return planeLabel(self.plane)

    @property
    def points(self) -> NDArray[np.float64]:
        """All points of all strokes, (N, 3) RAS mm."""
        return np.concatenate([stroke.points for stroke in self.strokes])

    @property
    def lengthMm(self) -> float:
        """Length of all drawn lines."""
        return sum(stroke.lengthMm for stroke in self.strokes)

    @property
    def gapMm(self) -> float:
        """Total length of the gaps that closing the outlines will bridge."""
        return float(np.linalg.norm(self.bridges[:, 1] - self.bridges[:, 0], axis=1).sum())

    @cached_property
    def bridges(self) -> NDArray[np.float64]:
        """The straight pieces that close the strokes to outlines, (N, 2 ends, 3) RAS mm."""
        drawn = {edge for stroke in self.strokes for edge in _edges(stroke.points)}
        found = []
        for outline in outlines([stroke.points for stroke in self.strokes]):
            closed = np.concatenate([outline, outline[:1]])
            for edge, start, end in zip(_edges(closed), closed[:-1], closed[1:], strict=True):
                if edge not in drawn and np.linalg.norm(end - start) > _TOUCHING_MM:
                    found.append((start, end))
        return np.array(found).reshape(-1, 2, 3)

    def toRequest(self) -> Sketch:
        """As the backend takes it. Raises BadRequest when a stroke is too short."""
        return Sketch(self.structure, Plane(self.plane), [stroke.points for stroke in self.strokes], meaning=self.meaning)


def planeLabel(plane: NDArray[np.float64]) -> str:
    """Where a plane (4x4 SliceToRAS) lies, for example `axial, S 12.5 mm`, or `oblique`."""
    shape = Plane(plane)
    if shape.orientation == "oblique":
        return "oblique"
    position = round(float(plane[shape.axis, 3]), 1)
    side = _SIDES[shape.axis][0 if position >= 0 else 1]
    return f"{shape.orientation}, {side} {abs(position):.1f} mm"


def _edges(line: NDArray[np.float64]) -> list[frozenset[bytes]]:
    return [frozenset(pair) for pair in pairwise(point.tobytes() for point in line)]
