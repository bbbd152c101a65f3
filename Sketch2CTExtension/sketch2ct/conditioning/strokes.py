"""Sketches -> arrays: each sketch as a small drawing, and all of them at their true place in a 3D grid. No torch.

The published encoder sees the drawing only, so where and how large it is gets lost. Here the strokes also enter the 3D grid.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..geometry import Grid, distance_to, outlines, resample_polyline, signed_distance
from ..request import Sketch

DRAWING_SIZE = 40  # pixels
POSE_SIZE = 12  # normal (3), right axis (3), scale, closed, silhouette, height, width, log2 of the number of strokes
REACH_MM = 12.0  # distances saturate here
CHANNELS = 5  # ink, section, nearness of a drawn plane, shadow, any silhouette

Array = NDArray[np.float32]


def _flat(sketch: Sketch) -> list[NDArray[np.float64]]:
    return [resample_polyline(sketch.plane.to_plane(s)[:, :2], 3.0) for s in sketch.strokes]


def drawing(sketch: Sketch) -> tuple[Array, Array]:
    """One sketch as a centred drawing (2, DRAWING_SIZE, DRAWING_SIZE) of ink and filled area, and its pose (POSE_SIZE,).

    The drawing is scaled to fill the paper; the scale is in the pose (log of the size over 50 mm).
    """
    lines = _flat(sketch)
    points = np.concatenate(lines)
    low, high = points.min(0), points.max(0)
    size = max(float((high - low).max()) * 1.15, 5.0)
    ticks = (np.arange(DRAWING_SIZE) + 0.5) / DRAWING_SIZE - 0.5
    u, v = np.meshgrid(*(ticks * size + c for c in (low + high) / 2), indexing="ij")
    at = np.stack([u.ravel(), v.ravel()], axis=1)
    pixel = size / DRAWING_SIZE
    ink = np.exp(-0.5 * (distance_to(lines, at) / pixel) ** 2)
    area = 0.5 + 0.5 * np.tanh(signed_distance(outlines(lines), at) / pixel) if sketch.closed else np.zeros(len(at))
    image = np.stack([ink, area]).reshape(2, DRAWING_SIZE, DRAWING_SIZE).astype(np.float32)
    extent = (high - low) / 50
    pose = [*sketch.plane.normal, *sketch.plane.matrix[:3, 0], np.log(size / 50), float(sketch.closed)]
    pose += [float(sketch.meaning == "silhouette"), *extent, np.log2(len(lines))]
    return image, np.asarray(pose, dtype=np.float32)


def in_grid(sketches: list[Sketch], grid: Grid) -> Array:
    """All sketches of one structure at their true place, (CHANNELS, i, j, k), each channel in -1..1.

    ink: 1 on a stroke, falling to 0 with a width of one voxel; section: signed distance to the outline, in its plane, carried along
    the normal and blended by nearness where there are several planes; nearness: 1 on a drawn plane, 0 beyond `REACH_MM`;
    shadow: the intersection of all silhouettes; silhouette: 1 everywhere when there is one. Without sketches all is zero.
    """
    result = np.zeros((CHANNELS, *grid.shape), dtype=np.float32)
    if not sketches:
        return result
    ras = grid.voxel_centres().reshape(-1, 3)
    ink, near = np.zeros(len(ras)), np.zeros(len(ras))
    total, weight = np.zeros(len(ras)), np.full(len(ras), 1e-6)
    shadow: NDArray[np.float64] | None = None
    for sketch in sketches:
        uvw = sketch.plane.to_plane(ras)
        stroke, area = _carried(sketch, uvw[:, :2], float(grid.spacing.min()))
        away = np.abs(uvw[:, 2])
        if sketch.meaning == "silhouette":
            shadow = area if shadow is None else np.minimum(shadow, area)
            continue
        voxel = float(np.abs(sketch.plane.normal @ grid.affine[:3, :3]).max())
        ink = np.maximum(ink, np.exp(-0.5 * ((stroke**2 + away**2) / voxel**2)))
        near = np.maximum(near, np.clip(1 - away / REACH_MM, 0, 1))
        share = 1 / (away + 2.0) ** 2
        total += share * area
        weight += share
    result[0] = ink.reshape(grid.shape)
    result[1] = np.tanh(total / weight / REACH_MM).reshape(grid.shape)
    result[2] = near.reshape(grid.shape)
    if shadow is not None:
        result[3] = np.tanh(shadow / REACH_MM).reshape(grid.shape)
        result[4] = 1.0
    return result


def _carried(sketch: Sketch, uv: NDArray[np.float64], voxel: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance to the strokes and signed distance to the outline (mm) at plane positions (N, 2), from a lookup table."""
    step = max(2.0, min(voxel, 3.0))
    lines = _flat(sketch)
    points = np.concatenate(lines)
    low = points.min(0) - 2 * REACH_MM
    count = np.ceil((points.max(0) + 2 * REACH_MM - low) / step).astype(int) + 1
    u, v = np.meshgrid(*(low[d] + step * np.arange(count[d]) for d in (0, 1)), indexing="ij")
    at = np.stack([u.ravel(), v.ravel()], axis=1)
    stroke = distance_to(lines, at).reshape(count)
    area = signed_distance(outlines(lines), at).reshape(count) if sketch.closed else -stroke
    index = ((uv - low) / step).T
    sample = [ndimage.map_coordinates(table, index, order=1, mode="nearest") for table in (stroke, area)]
    return sample[0], sample[1]
