"""The images of a result folder, read without Slicer's readers.

Those rebuild the geometry from several float32 fields and turn left-handed grids around; here every voxel lies exactly
where the file's header says.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sketch2ct.errors import BadRequest
from sketch2ct.geometry import Grid

_HEADER = 348  # bytes; everything below is an offset into them, as NIfTI-1 defines it
_DIM, _DATATYPE, _VOX_OFFSET, _SLOPE, _SFORM_CODE, _SFORM, _MAGIC = 40, 70, 108, 112, 254, 280, 344
_PIXDIM, _UNITS, _MM = 76, 123, 2
_TYPES = {2: "u1", 4: "i2", 512: "u2"}
_HINT = "Generate the result again."


@dataclass(frozen=True)
class NiftiImage:
    """Voxels (i, j, k), uint8, int16 or uint16, and their grid (RAS mm)."""

    array: NDArray
    grid: Grid

    @classmethod
    def read(cls, path: Path) -> NiftiImage:
        """A `.nii.gz` with an sform and unscaled integers. Raises BadRequest, which names the file."""
        content = _unpacked(path)
        if len(content) < _HEADER or content[_MAGIC : _MAGIC + 4] != b"n+1\0":
            raise BadRequest(f"{path} is no NIfTI image.", _HINT)
        order = "<" if struct.unpack_from("<i", content)[0] == _HEADER else ">"
        return cls(_voxels(content, order, path), _grid(content, order, path))

    def write(self, path: Path) -> None:
        """As a `.nii.gz` that `read` gives back to the bit, but for the float32 of the grid. Raises OSError."""
        header = bytearray(_HEADER + 4)
        struct.pack_into("<i", header, 0, _HEADER)
        struct.pack_into("<8h", header, _DIM, 3, *self.grid.shape, 1, 1, 1, 1)
        kind = next(code for code, name in _TYPES.items() if np.dtype(name) == self.array.dtype)
        struct.pack_into("<2h", header, _DATATYPE, kind, 8 * self.array.dtype.itemsize)
        struct.pack_into("<8f", header, _PIXDIM, 1, *self.grid.spacing, 0, 0, 0, 0)
        struct.pack_into("<3f", header, _VOX_OFFSET, len(header), 1, 0)
        header[_UNITS] = _MM
        struct.pack_into("<2h", header, _SFORM_CODE - 2, 0, 1)  # no qform: it could not hold every grid
        struct.pack_into("<12f", header, _SFORM, *self.grid.affine[:3].ravel())
        header[_MAGIC : _MAGIC + 4] = b"n+1\0"
        voxels = np.asarray(self.array, self.array.dtype.newbyteorder("<")).tobytes(order="F")
        with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as packed:
            packed.write(bytes(header) + voxels)

    def rightHanded(self) -> NiftiImage:
        """The same values at the same places, the last axis reversed if needed: surfaces of left-handed images are inside out."""
        if np.linalg.det(self.grid.affine[:3, :3]) > 0:
            return self
        affine = self.grid.affine.copy()
        affine[:3, 3] = self.grid.to_ras([0, 0, self.grid.shape[2] - 1])
        affine[:3, 2] *= -1
        return NiftiImage(self.array[:, :, ::-1], Grid(self.grid.shape, affine))


def _unpacked(path: Path) -> bytes:
    if not path.is_file():
        raise BadRequest(f"There is no file {path}.", f"The result is incomplete. {_HINT}")
    try:
        with gzip.open(path) as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise BadRequest(f"Cannot read {path}: {error}.", f"The file is damaged or truncated. {_HINT}") from error


def _shape(content: bytes, order: str, path: Path) -> tuple[int, int, int]:
    dimensions, i, j, k, *more = struct.unpack_from(f"{order}8h", content, _DIM)
    if not 3 <= dimensions <= 7 or min(i, j, k) < 1 or any(n > 1 for n in more[: dimensions - 3]):
        raise BadRequest(f"{path} is not a 3D image.", _HINT)
    return i, j, k


def _voxels(content: bytes, order: str, path: Path) -> NDArray:
    shape = _shape(content, order, path)
    kind = _TYPES.get(struct.unpack_from(f"{order}h", content, _DATATYPE)[0])
    start = struct.unpack_from(f"{order}f", content, _VOX_OFFSET)[0]
    slope, intercept = struct.unpack_from(f"{order}2f", content, _SLOPE)
    scaled = np.isfinite(slope) and slope != 0 and (slope, intercept) != (1, 0)
    if kind is None or scaled or not _HEADER <= start < 2**20:
        raise BadRequest(f"{path} is not an image of plain whole numbers.", _HINT)
    count, dtype = int(np.prod(shape, dtype=np.int64)), np.dtype(order + kind)
    if len(content) < int(start) + count * dtype.itemsize:
        raise BadRequest(f"{path} holds fewer voxels than its header says.", f"The file is truncated. {_HINT}")
    flat = np.frombuffer(content, dtype, count, int(start))
    return flat.astype(dtype.newbyteorder("="), copy=False).reshape(shape, order="F")


def _grid(content: bytes, order: str, path: Path) -> Grid:
    affine = np.eye(4)
    affine[:3] = np.reshape(struct.unpack_from(f"{order}12f", content, _SFORM), (3, 4))
    try:
        if struct.unpack_from(f"{order}h", content, _SFORM_CODE)[0] < 1:
            raise ValueError("it has no sform.")
        return Grid(_shape(content, order, path), affine)
    except ValueError as error:
        raise BadRequest(f"{path} does not say where it lies in the patient: {error}", _HINT) from error
