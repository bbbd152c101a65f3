"""A slice of a mask as closed contours between its voxels, holes cut open by keyholes. No torch, no DICOM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from ..geometry import Points, inside


def closed_contours(mask: NDArray[np.bool_]) -> list[Points]:
    """Outlines (N, 2) of a slice, in fractional (row, column) of voxel centres; the last point is not the first one again.

    They run half-way between voxels inside and outside. A hole is joined to its outline by a cut of no width, which is what
    DICOM has for holes of closed planar contours ("keyhole", PS3.3, C.8.8.6.3): voxels in it lie outside by every rule of filling.
    """
    padded = np.pad(mask, 1).astype(np.float32)  # so that outlines close at the border
    found = [_straightened(line[:-1] - 1) for line in measure.find_contours(padded, 0.5, fully_connected="low")]
    outer = [line for line in found if _area(line) < 0]  # find_contours goes around what is low the other way
    holes = [line for line in found if _area(line) > 0]
    within: list[list[Points]] = [[] for _ in outer]
    for hole in holes:
        around = [n for n, line in enumerate(outer) if inside([line], hole[:1])[0]]
        within[min(around, key=lambda n: abs(_area(outer[n])))].append(hole)
    return [_keyholed(line, own) for line, own in zip(outer, within, strict=True)]


def _area(line: Points) -> float:
    """Signed area of a closed outline."""
    row, column = line.T
    return float(np.dot(row, np.roll(column, -1)) - np.dot(column, np.roll(row, -1))) / 2


def _straightened(line: Points) -> Points:
    """Without the points in the middle of straight runs."""
    before, after = line - np.roll(line, 1, axis=0), np.roll(line, -1, axis=0) - line
    bends = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    return line[bends]


def _keyholed(outline: Points, holes: list[Points]) -> Points:
    """One outline around all holes. The nearest hole is joined first, so that no cut can cross another hole."""
    rest = list(holes)
    while rest:
        links = [_nearest(outline, hole) for hole in rest]
        number = min(range(len(rest)), key=lambda n: links[n][0])
        _, at, start = links[number]
        hole = np.roll(rest.pop(number), -start, axis=0)
        outline = np.concatenate([outline[: at + 1], hole, hole[:1], outline[at:]])
    return outline


def _nearest(outline: Points, hole: Points) -> tuple[float, int, int]:
    """Squared distance and places of the two nearest points."""
    squares = ((outline[:, None] - hole[None]) ** 2).sum(-1)
    at, start = np.unravel_index(int(squares.argmin()), squares.shape)
    return float(squares[at, start]), int(at), int(start)
