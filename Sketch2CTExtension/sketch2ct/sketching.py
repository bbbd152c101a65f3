"""A mask -> the sketch that a person would draw of it: a cross-section or a silhouette, with a human hand. No torch.

The published system takes Canny edges of a rendered silhouette; a radiologist draws the outline on a slice, so the cross-section
is the default here and the silhouette is a choice.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from .geometry import ORIENTATIONS, Grid, Plane, Points, polyline_length, resample_polyline
from .request import Sketch

MIN_OUTLINE_MM = 12.0  # shorter closed outlines are voxel crumbs that nobody would draw


def crop(mask: NDArray[np.bool_], grid: Grid, margin: int = 3) -> tuple[NDArray[np.bool_], Grid]:
    """Mask and grid cut to the mask's bounding box plus `margin` voxels (zero-padded at the border)."""
    where = ndimage.find_objects(mask.astype(np.uint8))
    if not where or where[0] is None:
        raise ValueError("The mask is empty: nothing can be sketched.")
    box = where[0]
    small = np.pad(mask[box], margin)
    start = np.array([s.start for s in box]) - margin
    affine = grid.affine.copy()
    affine[:3, 3] = grid.to_ras(start)
    return small, Grid(small.shape, affine)


def section(mask: NDArray[np.bool_], grid: Grid, plane: Plane, *, silhouette: bool = False, step: float = 1.0) -> list[Points]:
    """Closed outlines (M x 3, RAS mm) of the mask on a plane, or of its shadow along the plane's normal; empty if it misses."""
    small, grid = crop(mask, grid)
    corners = plane.to_plane(grid.corners())
    low, high = corners.min(0) - step, corners.max(0) + step
    u, v = np.arange(low[0], high[0], step), np.arange(low[1], high[1], step)
    w = np.arange(low[2], high[2], 2 * step) if silhouette else np.zeros(1)
    uvw = np.stack(np.meshgrid(u, v, w, indexing="ij"), axis=-1)
    index = grid.to_index(plane.to_ras(uvw))
    image = ndimage.map_coordinates(small.astype(np.float32), np.moveaxis(index, -1, 0), order=1).max(axis=2)
    # Half a voxel of blur takes the stairs off, as a hand would, without moving the outline.
    image = ndimage.gaussian_filter(image, 0.35 * float(grid.spacing.mean()) / step)
    found = [c for c in measure.find_contours(image, 0.5, fully_connected="high") if len(c) > 3]
    lines = [plane.to_ras(np.array([low[0], low[1]]) + c * step) for c in found]
    return [line for line in lines if polyline_length(line) >= MIN_OUTLINE_MM]


def largest_section(mask: NDArray[np.bool_], grid: Grid, orientations: tuple[str, ...] = ORIENTATIONS) -> Plane:
    """The plane, over the given orientations, on which the mask's cross-section has the largest area."""
    small, small_grid = crop(mask, grid)
    index = np.argwhere(small)
    ras = small_grid.to_ras(index)
    best: tuple[float, Plane] | None = None
    for orientation in orientations:
        axis = Plane.named(orientation, np.zeros(3)).axis
        # thickness of one voxel along this body axis: exact for the usual, axis-aligned grids
        voxel = np.abs(small_grid.affine[axis, :3]).max()
        level = np.round(ras[:, axis] / voxel).astype(int)
        counts = np.bincount(level - level.min())
        mid = float(np.median(ras[level == level.min() + int(counts.argmax()), axis]))
        area = counts.max() * small_grid.voxel_ml * 1000 / voxel
        if best is None or area > best[0]:
            origin = ras.mean(0)
            origin[axis] = mid
            best = (area, Plane.named(orientation, origin))
    assert best is not None, "orientations is empty"
    return best[1]


def random_plane(mask: NDArray[np.bool_], grid: Grid, rng: np.random.Generator, *, oblique: bool = False) -> Plane:
    """A plane through the mask: a random body orientation, tilted by up to 35 degrees when `oblique`."""
    ras = grid.to_ras(np.argwhere(mask))
    axis_name = str(rng.choice(ORIENTATIONS))
    plane = Plane.named(axis_name, ras.mean(0))
    matrix = plane.matrix.copy()
    if oblique:
        angles = np.radians(rng.uniform(-35, 35, 2))
        matrix[:3, :3] = matrix[:3, :3] @ _rotation(0, angles[0]) @ _rotation(1, angles[1])
    depth = (ras - ras.mean(0)) @ matrix[:3, 2]
    matrix[:3, 3] = ras.mean(0) + matrix[:3, 2] * rng.uniform(*np.percentile(depth, [10, 90]))
    return Plane(matrix)


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    r = np.eye(3)
    a, b = [n for n in range(3) if n != axis]
    r[a, a], r[a, b], r[b, a], r[b, b] = c, -s, s, c
    return r


def hand(outline: Points, plane: Plane, rng: np.random.Generator, strength: float = 1.0) -> Points:
    """One outline as a hand draws it: smoothed, wavering, not quite closed or overshot, in the plane.

    `outline` M x 3 RAS mm; `strength` 0 returns it resampled only, 1 is a careful hand (about 1 mm), 3 a hasty one.
    """
    uv = plane.to_plane(outline)[:, :2]
    closed = bool(np.allclose(uv[0], uv[-1]))
    points = resample_polyline(uv, 2.0)
    if strength <= 0:
        return plane.to_ras(points)
    if closed:
        points = np.roll(points[:-1], int(rng.integers(len(points) - 1)), axis=0)
    n = len(points)
    mode = "wrap" if closed else "nearest"
    points = ndimage.gaussian_filter1d(points, rng.uniform(0.3, 1.2), axis=0, mode=mode)
    for amplitude, wavelength in ((0.7, 24.0), (0.3, 6.0)):  # slow drift and tremor, mm
        waver = ndimage.gaussian_filter1d(rng.standard_normal((n, 2)), max(wavelength / 4, 0.5), axis=0, mode=mode)
        points += strength * amplitude * waver / max(float(waver.std()), 1e-6)
    if closed:
        # Overshoot repeats the first points, undershoot leaves a gap.
        extra = round(float(np.clip(rng.normal(0, 1.5 * strength), -0.06 * n, 0.06 * n)))
        points = np.concatenate([points, points[: extra + 1]]) if extra >= 0 else points[:extra]
    step = float(rng.uniform(1.5, 2.0 + 1.5 * strength))
    return plane.to_ras(resample_polyline(points, step))


def broken(stroke: Points, rng: np.random.Generator, pieces: int = 2, gap_mm: float = 4.0) -> list[Points]:
    """A stroke drawn in several goes, with gaps of about `gap_mm` between them."""
    cuts = np.sort(rng.uniform(0.15, 0.85, max(0, pieces - 1))) * (len(stroke) - 1)
    bounds = [0, *cuts.astype(int), len(stroke)]
    step = max(polyline_length(stroke) / max(len(stroke) - 1, 1), 1e-6)
    skip = round(gap_mm / step / 2)
    parts = [stroke[a + (skip if a else 0) : b - (skip if b < len(stroke) else 0)] for a, b in pairwise(bounds)]
    kept = [p for p in parts if len(p) >= 2]
    return kept if kept else [stroke]


def sketch_of(
    mask: NDArray[np.bool_],
    grid: Grid,
    structure: str,
    plane: Plane,
    rng: np.random.Generator | None = None,
    *,
    meaning: str = "cross_section",
    strength: float = 1.0,
) -> Sketch:
    """The sketch of `structure` on `plane`. Raises ValueError when the plane misses the mask."""
    lines = section(mask, grid, plane, silhouette=meaning == "silhouette")
    if not lines:
        raise ValueError(f"The plane does not cut the {structure}.")
    if rng is not None:
        lines = [hand(line, plane, rng, strength) for line in lines]
    return Sketch(structure=structure, plane=plane, strokes=lines, closed=True, meaning=meaning)
