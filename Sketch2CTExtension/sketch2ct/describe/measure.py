"""The geometry of one mask as a handful of numbers, in millimetres along the patient's axes.

Every measure is taken in RAS, so storage order, flips and anisotropic voxels do not change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Array = NDArray[np.float64]

FACTS = (
    "volume_ml",
    "extent_lr_mm",
    "extent_ap_mm",
    "extent_cc_mm",
    "length_mm",
    "centreline_mm",
    "thickness_mm",
    "tilt_deg",
    "elongation",
    "flatness",
    "sphericity",
    "smoothness",
    "symmetry",
)
LIGHT_SIGMA = 0.8  # voxels: the area of a voxelised sphere comes out within 2% of the true one
STRONG_SIGMA = 0.15  # times the cube root of the volume: erases bumps, keeps the overall shape
MIDLINE_MM = 5.0  # a centroid this near to the midline plane is on neither side
SLABS = 24  # at most, along a centreline
SYMMETRY_SAMPLES = 20_000  # mirrored voxels looked up at most


@dataclass(frozen=True)
class Facts:
    """What is measured on a mask. mm, mL and degrees; shape measures lie in 0..1.

    `extent_*` run along the body's left-right, antero-posterior and cranio-caudal axes. `length_mm` and `tilt_deg` (0
    upright, 90 lying) belong to the main axis. `thickness_mm` is the diameter of the mean cross-section along the
    centreline. `side` is empty where no midline was given.
    """

    volume_ml: float
    extent_lr_mm: float
    extent_ap_mm: float
    extent_cc_mm: float
    length_mm: float
    centreline_mm: float
    thickness_mm: float
    tilt_deg: float
    elongation: float
    flatness: float
    sphericity: float
    smoothness: float
    symmetry: float
    components: int
    centroid_ras: tuple[float, float, float]
    side: str = ""

    def to_dict(self) -> dict:
        """As JSON."""
        return {**asdict(self), "centroid_ras": list(self.centroid_ras)}

    @classmethod
    def from_dict(cls, data: Mapping) -> Facts:
        """The inverse of `to_dict`."""
        return cls(**{**data, "centroid_ras": tuple(data["centroid_ras"])})


def measure(mask: NDArray, affine: ArrayLike, *, midline_x: float | None = None) -> Facts:
    """Measure a mask (i, j, k), non-zero inside. `affine` is 4x4, voxel -> RAS mm; `midline_x` is in RAS mm.

    Raises ValueError for an empty mask, a mask that is not three-dimensional, or an affine that cannot be inverted.
    """
    affine = np.asarray(affine, dtype=np.float64)
    inside, affine = _crop(np.asarray(mask), affine)
    axes = affine[:3, :3]
    points = np.argwhere(inside) @ axes.T + affine[:3, 3]  # (N, 3) RAS mm
    centroid = points.mean(axis=0)
    volume = len(points) * abs(float(np.linalg.det(axes)))  # mm³

    variances, directions = _principal(points - centroid, axes)
    main = directions[:, 0]
    along = (points - centroid) @ main
    extents = [_extent(points[:, axis], np.eye(3)[axis], axes) for axis in range(3)]
    length = _extent(along, main, axes)
    centreline = _centreline(points, along, length, float(np.linalg.norm(axes.T @ main)))
    light, strong = _surface_areas(inside, axes, volume)
    return Facts(
        volume_ml=volume / 1000,
        extent_lr_mm=extents[0],
        extent_ap_mm=extents[1],
        extent_cc_mm=extents[2],
        length_mm=length,
        centreline_mm=centreline,
        thickness_mm=float(2 * np.sqrt(volume / (np.pi * centreline))),
        tilt_deg=float(np.degrees(np.arccos(min(1.0, abs(main[2]))))),
        elongation=float(1 - np.sqrt(variances[1] / variances[0])),
        flatness=float(1 - np.sqrt(variances[2] / variances[1])),
        sphericity=float(min(1.0, np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / light)),
        smoothness=float(min(1.0, strong / light)),
        symmetry=_symmetry(inside, affine, points, centroid),
        components=int(ndimage.label(inside, structure=np.ones((3, 3, 3)))[1]),
        centroid_ras=(float(centroid[0]), float(centroid[1]), float(centroid[2])),
        side="" if midline_x is None else _side(float(centroid[0]) - midline_x, extents[0]),
    )


def _crop(mask: NDArray, affine: Array) -> tuple[NDArray[np.bool_], Array]:
    """The mask's bounding box and its own affine, so that the cost follows the organ and not the scan."""
    if mask.ndim != 3:
        raise ValueError(f"A mask must have three axes (i, j, k), not the shape {mask.shape}.")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise ValueError("The affine must be an invertible, finite 4x4 matrix from voxels to RAS mm.")
    inside = mask != 0
    occupied = [np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    if not all(len(line) for line in occupied):
        raise ValueError("The mask is empty: there is nothing to measure. Pass a mask with at least one voxel inside.")
    first = np.array([line[0] for line in occupied])
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ first
    return inside[tuple(slice(line[0], line[-1] + 1) for line in occupied)], moved


def _principal(offsets: Array, axes: Array) -> tuple[Array, Array]:
    """Variances (3,) in mm², largest first, and their directions as columns (3, 3).

    The variance within a voxel is added, so that a single voxel or a flat sheet still has three positive ones.
    """
    covariance = offsets.T @ offsets / len(offsets) + axes @ axes.T / 12
    values, vectors = np.linalg.eigh(covariance)
    return values[::-1], vectors[:, ::-1]


def _extent(positions: Array, direction: Array, axes: Array) -> float:
    """Span of the voxel centres' `positions` (N,) along a unit `direction`, plus one voxel, in mm."""
    return float(np.ptp(positions) + np.linalg.norm(axes.T @ direction))


def _centreline(points: Array, along: Array, length: float, step: float) -> float:
    """Length in mm of the smoothed curve through the centroids of slabs along the main axis."""
    count = int(np.clip(length / (1.5 * step), 1, SLABS))
    slab = np.minimum(((along - along.min() + step / 2) / length * count).astype(int), count - 1)
    sizes = np.bincount(slab, minlength=count)
    used = sizes > 0
    if used.sum() < 3:
        return length
    centres = np.stack([np.bincount(slab, points[:, axis], count)[used] / sizes[used] for axis in range(3)], axis=1)
    positions = np.bincount(slab, along, count)[used] / sizes[used]
    curve = centres.copy()
    curve[1:-1] = (centres[:-2] + 2 * centres[1:-1] + centres[2:]) / 4
    # Beyond the outermost centroids the curve goes straight on to the mask's two ends.
    ends = length - float(np.ptp(positions))
    return float(np.linalg.norm(np.diff(curve, axis=0), axis=1).sum() + ends)


def _surface_areas(inside: NDArray[np.bool_], axes: Array, volume: float) -> tuple[float, float]:
    """Areas in mm² of the lightly and of the strongly smoothed surface, both enclosing the mask's own volume."""
    strong = np.maximum(STRONG_SIGMA * np.cbrt(volume) / np.linalg.norm(axes, axis=0), 1.5 * LIGHT_SIGMA)
    return _smoothed_area(inside, axes, np.full(3, LIGHT_SIGMA)), _smoothed_area(inside, axes, strong)


def _smoothed_area(inside: NDArray[np.bool_], axes: Array, sigma: Array) -> float:
    """Area in mm² of the mask's surface after a Gaussian of `sigma` voxels, at the level that keeps its volume."""
    from skimage.measure import marching_cubes, mesh_surface_area  # not in Slicer, which reads descriptions but measures no mask

    block = np.maximum(1, sigma // 2).astype(int)  # a wide Gaussian leaves nothing that needs every voxel
    before = np.ceil(2.5 * sigma).astype(int) + block
    blocks = -(-(np.array(inside.shape) + 2 * before) // block)
    after = blocks * block - inside.shape - before
    field = np.pad(inside, np.stack([before, after], axis=1)).astype(np.float32)
    field = field.reshape(np.stack([blocks, block], axis=1).ravel()).mean(axis=(1, 3, 5))
    field = ndimage.gaussian_filter(field, sigma / block, truncate=2.5)
    count = max(1, round(inside.sum() / block.prod()))
    ordered = np.partition(field.ravel(), [-count - 1, -count])
    level = float(ordered[-count - 1] + ordered[-count]) / 2
    vertices, faces, _, _ = marching_cubes(field, level)
    return float(mesh_surface_area(vertices @ (axes * block).T.astype(np.float32), faces))


def _symmetry(inside: NDArray[np.bool_], affine: Array, points: Array, centroid: Array) -> float:
    """Dice of the mask and its image in the sagittal plane through its own centroid."""
    some = points[:: max(1, len(points) // SYMMETRY_SAMPLES)]
    mirrored = some * [-1, 1, 1] + [2 * centroid[0], 0, 0]
    index = (mirrored - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    # Both masks hold the same number of voxels, so the Dice is the part of the mirrored one that falls inside.
    return float(ndimage.map_coordinates(inside.astype(np.float32), index.T, order=1, mode="constant").mean())


def _side(offset: float, width: float) -> str:
    """Which side a centroid lies on; x grows to the patient's right."""
    if abs(offset) <= max(MIDLINE_MM, 0.15 * width):
        return "midline"
    return "right" if offset > 0 else "left"
