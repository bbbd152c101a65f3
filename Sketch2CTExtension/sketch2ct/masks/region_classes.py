"""The classes of a whole-region label map: nothing (outside air), what a CT tells itself (body, bone, air), then the structures. No torch.

A voxel has one class. Structures win over bone, bone over inner air, air over body, so that "body" means soft tissue of no structure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..anatomy import vocabulary
from ..geometry import Grid
from ..imaging import LabelVolume, resample

UNKNOWN = 255  # a voxel of which a training case says nothing, or one that is not given
PRIORITY = ("body", "air", "bone")  # the later wins

Labels = NDArray[np.uint8]  # (i, j, k): class numbers, UNKNOWN where not said


@dataclass(frozen=True)
class RegionClasses:
    """`derived` and `structures` in the order of their numbers; 0 is what lies outside of the body."""

    derived: tuple[str, ...]
    structures: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every class; that of class 0 is empty."""
        return ("", *self.derived, *self.structures)

    @property
    def count(self) -> int:
        """How many classes there are, outside included."""
        return 1 + len(self.derived) + len(self.structures)

    @property
    def first(self) -> int:
        """The number of the first structure."""
        return 1 + len(self.derived)

    def index(self, name: str) -> int:
        """The number of a derived class or a structure. Raises ValueError for another name."""
        return self.names.index(name)

    def mirrored(self) -> NDArray[np.uint8]:
        """For every value 0..255 the class that a left-right mirror makes of it."""
        table = np.arange(256, dtype=np.uint8)
        for n, name in enumerate(self.structures, start=self.first):
            table[n] = self.names.index(vocabulary()[name].mirror or name)
        return table

    def labels(self, shares: dict[str, NDArray[np.bool_]]) -> Labels:
        """The class map of masks (i, j, k) by name; of two structures in a voxel the later one wins."""
        result = np.zeros(next(iter(shares.values())).shape, np.uint8)
        for name in (*(n for n in PRIORITY if n in self.derived), *self.structures):
            if name in shares:
                result[shares[name]] = self.index(name)
        return result

    def given(self, context: LabelVolume, grid: Grid) -> Labels:
        """The classes that a label map holds, at the voxels of `grid`: each voxel that is mostly of one of them; UNKNOWN elsewhere."""
        best, result = np.full(grid.shape, 0.5, np.float32), np.full(grid.shape, UNKNOWN, np.uint8)
        for name in self.names[1:]:
            if context.has(name):
                share = share_on(context.mask(name), context.grid, grid)
                won = (share >= 0.5) & (share >= best)
                result[won], best[won] = self.index(name), share[won]
        return result


def share_on(mask: NDArray[np.bool_], source: Grid, target: Grid) -> NDArray[np.float32]:
    """The share (0..1) of each voxel of `target` that a mask fills. A finer mask is averaged over the target's voxel first, or thin parts
    would fall between its points."""
    finer = np.abs(np.linalg.inv(source.affine[:3, :3]) @ np.diag(target.spacing)).max(axis=1)
    share = mask.astype(np.float32)
    if (finer > 1.5).any():
        share = ndimage.uniform_filter(share, np.maximum(1, np.round(finer)).astype(int))
    return resample(share, source, target)
