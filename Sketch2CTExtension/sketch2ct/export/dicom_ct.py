"""A CT volume as a series of CT Image Storage objects (DICOM PS3.3, A.3). Needs pydicom, imported when it is used.

Positions are LPS there, RAS here: the one place of the export that turns them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..describe.contrast import SOFT_TISSUE
from ..geometry import Grid
from .dicom_common import Identity, describe, file_meta, series

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

CT_STORAGE, EXPLICIT_LE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """A volume as slices, nothing resampled: `pixels` (slices, rows, columns), slice after slice along the normal.

    `axes` columns are the unit vectors (LPS) along columns, along rows and along slices; `spacing` mm in that order; `origin` (LPS, mm)
    is the centre of the first voxel. `order`, `flips`: which array axis (i, j, k) each of slices, rows, columns was, and whether reversed.
    """

    pixels: NDArray
    axes: NDArray[np.float64]
    spacing: NDArray[np.float64]
    origin: NDArray[np.float64]
    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    def reordered(self, array: NDArray) -> NDArray:
        """An array (i, j, k) of the same grid as (slices, rows, columns)."""
        return np.ascontiguousarray(np.flip(array.transpose(self.order), tuple(n for n, flip in enumerate(self.flips) if flip)))

    def to_lps(self, column: ArrayLike, row: ArrayLike, number: int) -> NDArray[np.float64]:
        """Fractional column and row (N,) on a slice -> LPS mm, (N, 3)."""
        steps = np.stack(np.broadcast_arrays(np.asarray(column, float), np.asarray(row, float), float(number)), axis=-1)
        return self.origin + (steps * self.spacing) @ self.axes.T


def axial(array: NDArray, grid: Grid) -> Stack:
    """The slices nearest to axial, columns to the patient's left and rows to the back, as far as the grid's axes allow.

    `grid` must have right angles. A left-handed grid becomes right-handed by the order of its slices: places stay.
    """
    axes = _LPS @ (grid.affine[:3, :3] / grid.spacing)
    columns, rows, slices = max(permutations(range(3)), key=lambda p: sum(abs(axes[n, axis]) for n, axis in enumerate(p)))
    signs = np.ones(3)
    signs[columns], signs[rows] = (1.0 if axes[n, axis] >= 0 else -1.0 for n, axis in ((0, columns), (1, rows)))
    normal = np.cross(signs[columns] * axes[:, columns], signs[rows] * axes[:, rows])
    signs[slices] = 1.0 if normal @ axes[:, slices] >= 0 else -1.0
    first = np.where(signs < 0, np.asarray(grid.shape) - 1, 0)
    order = (slices, rows, columns)
    turned = (axes * signs)[:, [columns, rows, slices]]
    flips = tuple(bool(signs[axis] < 0) for axis in order)
    spacing = grid.spacing[[columns, rows, slices]]
    stack = Stack(array, turned, spacing, _LPS @ grid.to_ras(first), order, (flips[0], flips[1], flips[2]))
    return Stack(stack.reordered(array), turned, spacing, stack.origin, order, stack.flips)


def ct_slices(stack: Stack, identity: Identity) -> list[FileDataset]:
    """One object a slice, in the order of `stack`; its `pixels` are int16 HU, stored as they are."""
    return [_slice(stack, number, identity) for number in range(len(stack.pixels))]


def _slice(stack: Stack, number: int, identity: Identity) -> FileDataset:
    from pydicom.dataset import FileDataset

    dataset = FileDataset("", {}, preamble=b"\0" * 128)
    describe(dataset, identity)
    series(dataset, identity, "CT", 1, "SYNTHETIC CT", of_mask=False)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT_STORAGE, identity.uid(f"slice {number + 1}")
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.DerivationDescription = identity.derivation
    dataset.ContentDate, dataset.ContentTime = identity.date, identity.time
    dataset.InstanceNumber, dataset.AcquisitionNumber = number + 1, None
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"
    dataset.PatientPosition, dataset.Laterality = "HFS", ""
    dataset.KVP = None
    _place(dataset, stack, number)
    _fill(dataset, stack.pixels[number])
    dataset.file_meta = file_meta(dataset, EXPLICIT_LE)
    return dataset


def _place(dataset: FileDataset, stack: Stack, number: int) -> None:
    dataset.ImageOrientationPatient = decimals(stack.axes[:, :2].T.ravel())
    dataset.ImagePositionPatient = decimals(stack.to_lps(0, 0, number))
    dataset.PixelSpacing = decimals([stack.spacing[1], stack.spacing[0]])  # between rows, between columns
    dataset.SliceThickness = dataset.SpacingBetweenSlices = decimals([stack.spacing[2]])[0]
    dataset.SliceLocation = decimals([stack.to_lps(0, 0, number) @ stack.axes[:, 2]])[0]


def _fill(dataset: FileDataset, pixels: NDArray[np.int16]) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "HU"
    dataset.WindowCenter, dataset.WindowWidth = str(SOFT_TISSUE.level), str(SOFT_TISSUE.width)
    dataset.PixelData = np.ascontiguousarray(pixels, "<i2").tobytes()
    dataset["PixelData"].VR = "OW"


def decimals(values: ArrayLike) -> list[str]:
    """Numbers as decimal strings of at most 16 characters (DICOM PS3.5, 6.2), as exact as that allows."""
    from pydicom.valuerep import format_number_as_ds

    return [format_number_as_ds(float(value) + 0.0) for value in np.asarray(values, dtype=float).ravel()]  # + 0.0: no minus zero
