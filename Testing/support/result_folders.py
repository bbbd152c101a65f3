"""Result folders as the backend leaves them, made without a model."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from sketch2ct import results
from sketch2ct.geometry import Grid, Plane
from sketch2ct.imaging import CTVolume, LabelVolume
from sketch2ct.request import NONE, GenerationRequest, Sketch

NAMES = {7: "mandible", 4: "parotid_gland_left", 6: "larynx"}  # not in the vocabulary's order; the larynx has no voxel
QUALITY: dict[str, Any] = {"sketches": [], "structures": {}, "warnings": ["The mandible came out empty."]}


def turned_grid(left_handed: bool = False, shape: tuple[int, int, int] = (40, 36, 24)) -> Grid:
    """Anisotropic, turned about all axes, far from the origin."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians([7, -4, 11])):
        a, b = (n for n in range(3) if n != axis)
        step = np.eye(3)
        step[[a, b, a, b], [a, b, b, a]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
        turn = turn @ step
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-2.1, -1.7, -3.0 if left_handed else 3.0])
    affine[:3, 3] = [-290.013, -230.507, 201.251]
    return Grid(shape, affine)


def ring(plane: Plane, radius: float = 9.0) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 40)
    return plane.to_ras(np.stack([radius * np.cos(angle), 0.6 * radius * np.sin(angle)], axis=1))


def sketch(grid: Grid, structure: str = "mandible", turn: float = 0.0) -> Sketch:
    """A closed outline around voxel (14, 9, 8), on an axial plane turned by `turn` radians about the left-right axis."""
    matrix = Plane.named("axial", grid.to_ras([14, 9, 8])).matrix.copy()
    c, s = np.cos(turn), np.sin(turn)
    matrix[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ matrix[:3, :3]
    return Sketch(structure, Plane(matrix), [ring(Plane(matrix))])


def two_blocks(grid: Grid) -> np.ndarray:
    """A mandible and a parotid gland that are boxes."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[8:20, 5:14, 6:11] = 7
    labels[22:30, 20:31, 12:20] = 4
    return labels


def write_result(
    folder: Path,
    grid: Grid,
    labels: np.ndarray,
    names: dict[int, str] = NAMES,
    ct: bool = True,
    asked: Grid | None = None,
    **request: Any,
) -> Path:
    """A complete result folder of one sample; `asked` and `request` are the grid and other fields of its GenerationRequest."""
    fields: dict[str, Any] = {"grid": asked}
    fields |= {"sketches": [sketch(grid)], "description": "a broad; thin: 90% of\n'one' <&> é", "seed": 41} | request
    made = GenerationRequest(**fields, **({} if ct else {"volume_generator": NONE}))
    hu = np.random.default_rng(3).integers(-160, 200, grid.shape).astype(np.int16)
    hu[labels > 0] = 700
    folder.mkdir(parents=True, exist_ok=True)
    text = results.write_images(folder, results.Result(LabelVolume(labels, grid, names), CTVolume(hu, grid) if ct else None, made))
    facts = {"versions": {"sketch2ct": "0.1.0"}, "bundle": "headneck", "bundle_hash": "ab" * 32, "seed": made.seed, "quality": QUALITY}
    results.write_manifest(folder, facts | {"request_sha256": hashlib.sha256(text).hexdigest()})
    return folder
