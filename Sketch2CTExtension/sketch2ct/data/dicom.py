"""A folder of single DICOM slices -> a volume on its grid. Needs pydicom, which is imported when it is used. No torch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadRequest
from ..geometry import Grid

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GAP = 0.5  # of the usual distance between slices; a larger deviation is a missing or doubled slice
PYDICOM_HINT = "Install it with 'pip install pydicom', or 'pip install sketch2ct[dicom]'."


def by_number(path: Path) -> tuple[list[int], str]:
    """The order of slice files: by the numbers in their names."""
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.name


def read_slices(files: list[Path]) -> tuple[NDArray[np.float32], Grid, list[int]]:
    """The slices as one volume (i, j, k) in rescaled units (CT: HU), with i along rows, j along columns and k along the slices'
    normal; its grid; and `order`: slice k is `files[order[k]]`.

    Identifiers are not read: anonymised slices may each have their own. Raises BadRequest for a missing package, an unreadable
    file, slices that do not fit together, or a gap.
    """
    slices = [_read(path) for path in files]
    first, where = slices[0], files[0].parent
    axes = _numbers(first, "ImageOrientationPatient", 6, files[0]).reshape(2, 3)
    pixel = _numbers(first, "PixelSpacing", 2, files[0])  # between rows, between columns
    normal = np.cross(axes[0], axes[1])
    places = np.array([_numbers(one, "ImagePositionPatient", 3, path) for one, path in zip(slices, files, strict=True)])
    for one, path in zip(slices, files, strict=True):
        same = np.allclose(_numbers(one, "ImageOrientationPatient", 6, path).reshape(2, 3), axes, atol=1e-3)
        if not same or not np.allclose(_numbers(one, "PixelSpacing", 2, path), pixel, rtol=1e-3):
            raise BadRequest(f"{path} is not of the same series as {files[0].name}.", f"Leave one series in {where}.")
    heights = places @ normal
    order = np.argsort(heights, kind="stable")
    _check_gaps(heights[order], where)
    pixels = [_pixels(slices[n], files[n]) for n in order]
    if len({part.shape for part in pixels}) > 1:
        raise BadRequest(f"The slices in {where} differ in size.", "Leave one series in the folder.")
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = axes[0] * pixel[1], axes[1] * pixel[0]
    affine[:3, 2] = (places[order[-1]] - places[order[0]]) / (len(files) - 1)
    affine[:3, 3] = places[order[0]]
    volume = np.stack(pixels, axis=-1).transpose(1, 0, 2)  # rows, columns, slices -> i (along a row), j, k
    return volume, Grid((volume.shape[0], volume.shape[1], volume.shape[2]), _LPS @ affine), [int(n) for n in order]


def _read(path: Path) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise BadRequest("Reading DICOM needs the package pydicom.", PYDICOM_HINT) from error
    try:
        return pydicom.dcmread(path)
    except Exception as error:  # the reader raises anything for a damaged file
        raise BadRequest(f"Cannot read {path}: {type(error).__name__}: {error}.", "The file is damaged, or no DICOM.") from error


def _numbers(one: Any, name: str, count: int, path: Path) -> NDArray[np.float64]:
    values = np.asarray([float(v) for v in getattr(one, name, None) or []])
    if values.shape != (count,):
        raise BadRequest(f"{path} lacks {name}.", "Only CT and MR slices with their position and orientation can be stacked.")
    return values


def _pixels(one: Any, path: Path) -> NDArray[np.float32]:
    """The slice (rows, columns) in rescaled units."""
    try:
        stored = np.asarray(one.pixel_array)
    except Exception as error:  # compressed pixels need a decoder that may not be installed
        hint = "Install pylibjpeg, or decompress the files."
        raise BadRequest(f"Cannot decode {path}: {type(error).__name__}: {error}.", hint) from error
    slope, intercept = (float(getattr(one, name, default)) for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    return np.asarray(stored, np.float32) * np.float32(slope) + np.float32(intercept)


def _check_gaps(heights: NDArray[np.float64], where: Path) -> None:
    gaps = np.diff(heights)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    if usual <= 0 or np.abs(gaps - usual).max() > _GAP * usual:
        text = f"of {gaps.min():.2f} to {gaps.max():.2f} mm" if len(gaps) else "missing: there is one slice"
        raise BadRequest(f"The distances between the slices in {where} are uneven ({text}).", "A slice is missing or doubled.")
