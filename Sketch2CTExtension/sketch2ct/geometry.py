"""Grids, planes and strokes in patient space (RAS, mm). No torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]  # (N, 3) RAS mm, or (N, 2) plane mm
ORIENTATIONS = ("axial", "coronal", "sagittal")

# SliceToRAS axes (columns: right on screen, up on screen, out of the plane), as Slicer's slice views have them.
_AXES = {
    "axial": np.array([[-1.0, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "coronal": np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]),
    "sagittal": np.array([[0, 0, -1.0], [-1, 0, 0], [0, 1, 0]]),
}


@dataclass(frozen=True)
class Grid:
    """A regular voxel grid: `shape (i, j, k)` and `affine` 4x4, voxel index -> RAS mm (voxel centres)."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        shape = tuple(int(n) for n in self.shape)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError("A grid's affine must be a finite 4x4 matrix.")
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"A grid's shape must be three positive numbers, not {self.shape}.")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9 or not np.allclose(affine[3], [0, 0, 0, 1]):
            raise ValueError("A grid's affine must be invertible with last row 0 0 0 1.")
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", shape)

    @classmethod
    def centred(cls, centre: ArrayLike, spacing: ArrayLike, shape: tuple[int, int, int]) -> Grid:
        """A grid with axes along R, A, S whose middle lies at `centre` (RAS mm)."""
        spacing = np.asarray(spacing, dtype=np.float64)
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = np.asarray(centre, dtype=np.float64) - spacing * (np.asarray(shape) - 1) / 2
        return cls(shape, affine)

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel size along i, j, k in mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(abs(np.linalg.det(self.affine[:3, :3])) / 1000)

    @property
    def centre(self) -> NDArray[np.float64]:
        """RAS position (mm) of the middle of the grid."""
        return self.to_ras((np.asarray(self.shape) - 1) / 2)

    def to_ras(self, index: ArrayLike) -> NDArray[np.float64]:
        """Voxel indices (..., 3) -> RAS mm (..., 3)."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, ras: ArrayLike) -> NDArray[np.float64]:
        """RAS mm (..., 3) -> fractional voxel indices (..., 3)."""
        return (np.asarray(ras, dtype=np.float64) - self.affine[:3, 3]) @ np.linalg.inv(self.affine[:3, :3]).T

    def voxel_centres(self) -> NDArray[np.float64]:
        """RAS mm of every voxel centre, (i, j, k, 3)."""
        return self.to_ras(np.stack(np.meshgrid(*(np.arange(n) for n in self.shape), indexing="ij"), axis=-1))

    def contains(self, ras: ArrayLike, margin: float = 0.5) -> NDArray[np.bool_]:
        """Which points (..., 3) lie inside the grid, half a voxel of border included."""
        index = self.to_index(ras)
        return np.asarray(((index >= -margin) & (index <= np.asarray(self.shape) - 1 + margin)).all(axis=-1))

    def matches(self, other: Grid, tolerance_mm: float = 1e-2) -> bool:
        """Same shape, and every corner within `tolerance_mm`."""
        return self.shape == other.shape and float(np.abs(self.corners() - other.corners()).max()) <= tolerance_mm

    def corners(self) -> NDArray[np.float64]:
        """RAS mm of the eight corner voxels' centres, (8, 3)."""
        last = np.asarray(self.shape) - 1
        return self.to_ras(np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)]) * last)

    def to_dict(self) -> dict:
        """As JSON: shape and affine."""
        return {"shape": list(self.shape), "affine": self.affine.tolist()}


@dataclass(frozen=True)
class Plane:
    """A drawing plane: `matrix` 4x4 SliceToRAS, orthonormal axes (u right, v up, w out), origin in mm."""

    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise ValueError("A plane must be a finite 4x4 SliceToRAS matrix.")
        axes = matrix[:3, :3]
        if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
            raise ValueError("A plane's first three columns must be orthogonal unit vectors.")
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def named(cls, orientation: str, origin: ArrayLike) -> Plane:
        """An axial, coronal or sagittal plane through `origin` (RAS mm)."""
        matrix = np.eye(4)
        matrix[:3, :3] = _AXES[orientation]
        matrix[:3, 3] = np.asarray(origin, dtype=np.float64)
        return cls(matrix)

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit normal in RAS."""
        return self.matrix[:3, 2]

    @property
    def axis(self) -> int:
        """The body axis (0 left-right, 1 antero-posterior, 2 cranio-caudal) nearest to the normal."""
        return int(np.abs(self.normal).argmax())

    @property
    def orientation(self) -> str:
        """`axial`, `coronal`, `sagittal`, or `oblique` when more than 1 degree from all three."""
        names = ("sagittal", "coronal", "axial")
        return names[self.axis] if abs(self.normal[self.axis]) > np.cos(np.radians(1)) else "oblique"

    def to_plane(self, ras: ArrayLike) -> NDArray[np.float64]:
        """RAS mm (..., 3) -> (u, v, w) mm (..., 3); w is the distance from the plane."""
        return (np.asarray(ras, dtype=np.float64) - self.matrix[:3, 3]) @ self.matrix[:3, :3]

    def to_ras(self, uvw: ArrayLike) -> NDArray[np.float64]:
        """(u, v, w) or (u, v) mm -> RAS mm."""
        uvw = np.asarray(uvw, dtype=np.float64)
        if uvw.shape[-1] == 2:
            uvw = np.concatenate([uvw, np.zeros((*uvw.shape[:-1], 1))], axis=-1)
        return uvw @ self.matrix[:3, :3].T + self.matrix[:3, 3]


def polyline_length(points: Points) -> float:
    """Length of an open polyline, mm."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def outlines(strokes: list[Points], close_ratio: float = 0.25) -> list[Points]:
    """Hand strokes (N x 2, plane mm) -> closed outlines (M x 2, plane mm).

    A stroke whose gap is under `close_ratio` of its length closes on itself (so one slice can hold several parts);
    the others are pieces of one outline and are chained end to nearest end.
    """
    alone: list[Points] = []
    pieces: list[Points] = []
    for stroke in strokes:
        gap = float(np.linalg.norm(stroke[0] - stroke[-1]))
        (alone if gap <= close_ratio * max(polyline_length(stroke), 1e-9) else pieces).append(stroke)
    if not pieces:
        return alone
    chain, rest = pieces[0], pieces[1:]
    while rest:
        ends = [(np.linalg.norm(chain[-1] - p[e]), n, e) for n, p in enumerate(rest) for e in (0, -1)]
        _, n, end = min(ends, key=lambda x: (x[0], x[1], -x[2]))
        piece = rest.pop(n)
        chain = np.concatenate([chain, piece if end == 0 else piece[::-1]])
    return [*alone, chain]


def inside(polygons: list[Points], at: Points) -> NDArray[np.bool_]:
    """Which points `at` (N, 2) the closed outlines enclose.

    Within one outline by non-zero winding, so that loops of a self-crossing stroke stay filled; between outlines by parity,
    so that an outline drawn inside another is a hole.
    """
    result = np.zeros(len(at), dtype=bool)
    origin = at.mean(axis=0)
    px, py = (at - origin).astype(np.float32).T[:, :, None]
    for polygon in polygons:
        ax, ay = (polygon - origin).astype(np.float32).T
        bx, by = np.roll(ax, -1), np.roll(ay, -1)
        left = (bx - ax) * (py - ay) > (px - ax) * (by - ay)  # (N, segments)
        above, next_above = ay <= py, by <= py
        up, down = above & ~next_above & left, ~above & next_above & ~left
        result ^= up.sum(1) != down.sum(1)
    return result


def distance_to(polylines: list[Points], at: Points) -> NDArray[np.float64]:
    """Distance in mm from points `at` (N, 2) to the nearest of the open polylines (M, 2); exact to about 1e-4 mm."""
    best = np.full(len(at), np.inf, dtype=np.float32)
    origin = at.mean(axis=0)
    px, py = (at - origin).astype(np.float32).T[:, :, None]
    for line in polylines:
        ax, ay = (line[:-1] - origin).astype(np.float32).T
        dx, dy = np.diff(line, axis=0).astype(np.float32).T
        x, y = px - ax, py - ay  # (N, segments)
        along = np.clip((x * dx + y * dy) / np.maximum(dx * dx + dy * dy, np.float32(1e-12)), 0, 1)
        x -= along * dx
        y -= along * dy
        best = np.minimum(best, (x * x + y * y).min(axis=1))
    return np.sqrt(best).astype(np.float64)


def signed_distance(polygons: list[Points], at: Points) -> NDArray[np.float64]:
    """Signed distance in mm (positive inside) from `at` (N, 2) to the closed outlines."""
    closed = [np.concatenate([p, p[:1]]) for p in polygons]
    return np.where(inside(polygons, at), 1.0, -1.0) * distance_to(closed, at)


def resample_polyline(points: Points, step: float) -> Points:
    """Points along an open polyline at equal arc length, about `step` mm apart (at least two)."""
    s = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0, s[-1], max(2, round(s[-1] / step) + 1))
    return np.stack([np.interp(at, s, points[:, d]) for d in range(points.shape[1])], axis=1)
