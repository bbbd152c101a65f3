"""Label maps and CT volumes on a grid: reading, writing, resampling NIfTI and NRRD. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .errors import BadRequest
from .geometry import Grid
from .modality import CT, Modality

HU_MIN, HU_MAX = CT.low, CT.high
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass
class LabelVolume:
    """A label map: `array` (i, j, k) uint8 or uint16, 0 is background; `names` value -> structure."""

    array: NDArray
    grid: Grid
    names: dict[int, str] = field(default_factory=dict)

    def mask(self, structure: str) -> NDArray[np.bool_]:
        """The voxels of one structure. Raises BadRequest when the map does not hold it."""
        for value, name in self.names.items():
            if name == structure:
                return np.asarray(self.array == value)
        raise BadRequest(f"The label map has no '{structure}'.", f"It holds: {', '.join(self.names.values()) or 'nothing'}.")

    def has(self, structure: str) -> bool:
        """Whether the structure is named and has at least one voxel."""
        return any(name == structure and bool((self.array == value).any()) for value, name in self.names.items())


@dataclass
class CTVolume:
    """A CT: `array` (i, j, k) int16 HU; or an image of another `modality` in the numbers that `sketch2ct.modality` gives it."""

    array: NDArray[np.int16]
    grid: Grid
    modality: Modality = CT


def read_image(path: str | Path) -> tuple[NDArray, Grid]:
    """A 3D image and its grid (RAS). Raises BadRequest for a missing, truncated or non-3D file."""
    path = Path(path)
    if not path.is_file():
        raise BadRequest(f"There is no file {path}.")
    try:
        if path.name.endswith(".nrrd"):
            array, affine = _read_nrrd(path)
        else:
            image = nib.load(path)
            array, affine = np.asanyarray(image.dataobj), np.asarray(image.affine)
    except BadRequest:
        raise
    except Exception as error:  # the readers raise anything, zlib errors and EOFError included
        raise BadRequest(
            f"Cannot read {path.name}: {type(error).__name__}: {error}.", "The file is damaged, truncated, or no image."
        ) from error
    if array.ndim == 4 and array.shape[3] == 1:
        array = array[..., 0]
    if array.ndim != 3:
        raise BadRequest(f"{path.name} has {array.ndim} dimensions; a 3D image is needed.")
    try:
        return array, Grid(array.shape, affine)
    except ValueError as error:
        raise BadRequest(f"{path.name}: {error}") from error


def _read_nrrd(path: Path) -> tuple[NDArray, NDArray]:
    try:
        import nrrd
    except ImportError as error:
        raise BadRequest("Reading NRRD needs the package pynrrd.", "Install it, or save the image as .nii.gz.") from error
    array, header = nrrd.read(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["space directions"], dtype=float)[-3:].T
    affine[:3, 3] = header.get("space origin", np.zeros(3))
    space = str(header.get("space", "left-posterior-superior")).lower()
    return array, (_LPS @ affine if space in ("left-posterior-superior", "lps") else affine)


def read_labels(path: str | Path, names: dict[int, str]) -> LabelVolume:
    """A label map with known names. Raises BadRequest for NaN, fractions or negative values."""
    array, grid = read_image(path)
    if not np.isfinite(array).all() or (array < 0).any() or (array != np.round(array)).any():
        raise BadRequest(f"{Path(path).name} is no label map: it holds NaN, fractions or negative values.")
    present = {int(v) for v in np.unique(array)} - {0}
    array = array.astype(np.uint8 if max(present, default=0) < 256 else np.uint16)
    return LabelVolume(array, grid, {value: names[value] for value in sorted(names) if value})


def read_ct(path: str | Path, modality: Modality = CT) -> CTVolume:
    """A CT in HU, or an image that holds the numbers of another modality. Raises BadRequest when it holds NaN."""
    array, grid = read_image(path)
    if not np.isfinite(array).all():
        raise BadRequest(f"{Path(path).name} holds values that are not numbers.")
    return CTVolume(np.clip(np.round(array), -32768, 32767).astype(np.int16), grid, modality)


def write_nifti(path: str | Path, array: NDArray, grid: Grid) -> None:
    """A NIfTI file with the grid in both its sform and qform, in mm."""
    image = nib.Nifti1Image(array, grid.affine)
    image.set_sform(grid.affine, code=1)
    image.set_qform(grid.affine, code=1)
    image.header.set_xyzt_units("mm")
    nib.save(image, str(path))


def resample(array: NDArray, source: Grid, target: Grid, *, order: int = 1, outside: float = 0.0) -> NDArray:
    """`array` on `source` -> values at the voxel centres of `target`; order 0 for labels, 1 for HU."""
    matrix = np.linalg.inv(source.affine) @ target.affine
    return ndimage.affine_transform(
        array, matrix[:3, :3], matrix[:3, 3], output_shape=target.shape, order=order, mode="constant", cval=outside
    )


def resample_part(array: NDArray, source: Grid, target: Grid, *, order: int = 1, outside: float = 0.0) -> NDArray:
    """`resample` of a small source into a large target: only the part of the target that the source covers is computed."""
    index = target.to_index(source.corners())
    low = np.clip(np.floor(index.min(0)).astype(int), 0, target.shape)
    high = np.clip(np.ceil(index.max(0)).astype(int) + 1, low, target.shape)
    result = np.full(target.shape, outside, dtype=array.dtype)
    if (high > low).all():
        affine = target.affine.copy()
        affine[:3, 3] = target.to_ras(low)
        part = Grid((high[0] - low[0], high[1] - low[1], high[2] - low[2]), affine)
        result[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = resample(array, source, part, order=order, outside=outside)
    return result
