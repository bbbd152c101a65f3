"""One line drawn by hand on a plane, as plain data."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sketch2ct.geometry import Plane, polyline_length

CLOSE_RATIO = 0.25  # as in sketch2ct.geometry.outlines: a stroke with a smaller gap, relative to its length, closes on itself
SAME_ANGLE_DEG = 0.1
SAME_OFFSET_MM = 0.05
MIN_POINTS = 3  # fewer are no outline, nor a piece of one


@dataclass(frozen=True, eq=False)
class Stroke:
    """A stroke of `structure` on `plane` (4x4 SliceToRAS: orthogonal unit axes, origin a point of the plane).

    `points` are (N, 3) RAS mm in the order of drawing. Strokes that agree in structure, plane and meaning make up one
    sketch. Strokes are values: an edited one is another object with the same `id`.
    """

    structure: str
    plane: NDArray[np.float64]
    points: NDArray[np.float64]
    meaning: str = "cross_section"
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        plane = Plane(self.plane).matrix.copy()
        points = np.array(self.points, dtype=np.float64).reshape(-1, 3)
        plane.setflags(write=False)
        points.setflags(write=False)
        object.__setattr__(self, "plane", plane)
        object.__setattr__(self, "points", points)

    @property
    def lengthMm(self) -> float:
        """Length of the drawn line, without its closing gap."""
        return polyline_length(self.points)

    @property
    def gapMm(self) -> float:
        """Distance from the last point to the first."""
        return float(np.linalg.norm(self.points[-1] - self.points[0])) if len(self.points) else 0.0

    @property
    def closesItself(self) -> bool:
        """Whether the line is an outline of its own; otherwise it is a piece of one."""
        return self.gapMm <= CLOSE_RATIO * max(self.lengthMm, 1e-9)

    def samePlane(self, other: Stroke) -> bool:
        """Whether `other` lies on this stroke's plane: normals within 0.1 degree, points within 0.05 mm."""
        cosine = abs(float(self.plane[:3, 2] @ other.plane[:3, 2]))
        if cosine < np.cos(np.radians(SAME_ANGLE_DEG)):
            return False
        return bool(np.abs(self.distances(other.points)).max(initial=0.0) <= SAME_OFFSET_MM)

    def sameSketch(self, other: Stroke) -> bool:
        """Whether both belong to one sketch."""
        return self.structure == other.structure and self.meaning == other.meaning and self.samePlane(other)

    def distances(self, points: ArrayLike) -> NDArray[np.float64]:
        """Signed distance (mm) of each of `points` (N, 3) RAS mm from the plane."""
        return Plane(self.plane).to_plane(points)[..., 2]

    def withPoints(self, points: ArrayLike) -> Stroke:
        """The same stroke through other points (N, 3) RAS mm, laid onto the plane."""
        return replace(self, points=onPlane(self.plane, points))


def rigidPlane(sliceToRas: ArrayLike) -> NDArray[np.float64]:
    """A 4x4 SliceToRAS with exactly orthogonal unit axes, which spans the same plane and keeps its origin and side."""
    given = np.asarray(sliceToRas, dtype=np.float64)
    right = given[:3, 0] / np.linalg.norm(given[:3, 0])
    up = given[:3, 1] - (given[:3, 1] @ right) * right
    up /= np.linalg.norm(up)
    out = np.cross(right, up)
    plane = np.eye(4)
    plane[:3, 0], plane[:3, 1], plane[:3, 3] = right, up, given[:3, 3]
    plane[:3, 2] = out if out @ given[:3, 2] >= 0 else -out  # views of Slicer may be left-handed
    return plane


def onPlane(plane: NDArray[np.float64], points: ArrayLike) -> NDArray[np.float64]:
    """`points` (N, 3) RAS mm moved along the normal onto the plane."""
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    away = (points - plane[:3, 3]) @ plane[:3, 2]
    return points - away[:, None] * plane[:3, 2]


def simplified(points: NDArray[np.float64], toleranceMm: float) -> NDArray[np.float64]:
    """The line (N, 3) with fewest points that stays within `toleranceMm` of it (Douglas-Peucker); at least three are kept."""
    keep = np.zeros(len(points), dtype=bool)
    keep[[0, -1]] = True
    pending = [(0, len(points) - 1)]
    while pending:
        first, last = pending.pop()
        if last - first < 2:
            continue
        away = _distanceToSegment(points[first + 1 : last], points[first], points[last])
        farthest = int(away.argmax())
        if away[farthest] > toleranceMm:
            middle = first + 1 + farthest
            keep[middle] = True
            pending += [(first, middle), (middle, last)]
    if keep.sum() < MIN_POINTS and len(points) >= MIN_POINTS:
        keep[len(points) // 2] = True
    return points[keep]


def _distanceToSegment(points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    line = end - start
    along = np.clip((points - start) @ line / max(float(line @ line), 1e-12), 0, 1)
    return np.linalg.norm(points - start - along[:, None] * line, axis=1)
