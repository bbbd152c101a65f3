"""A mask that the user corrects during a review, until it is kept as a new version or dropped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .LabelExport import LabelExport, segmentMask
from .NiftiImage import NiftiImage
from .ReviewImages import ReviewImages
from .ReviewSession import ReviewSession
from .SegmentationBuilder import orientedImage


class ReviewEdit:
    """Knows whether the shown mask was `touched`; `keep` writes what is other than the file."""

    def __init__(self) -> None:
        self.touched = False

    def begin(self) -> None:
        """A case is shown as it lies on disk."""
        self.touched = False

    def touch(self) -> None:
        """The segmentation was changed, perhaps in its colour only."""
        self.touched = True

    def keep(self, session: ReviewSession, images: ReviewImages, segmentation: Any) -> int | None:
        """Write the mask as the next version if any voxel is another; its number, or None when there was nothing to keep.

        Raises BadRequest (a segment that is no known structure) or WriteFailed; the edit is then still there.
        """
        if not self.touched or segmentation is None:
            return None
        structures = LabelExport().structures(segmentation) if segmentation.GetSegmentation().GetNumberOfSegments() else {}
        labels, names = editedLabels(segmentation, images, structures)
        version = None
        if not np.array_equal(labels, images.labels.array) or names != images.names:
            edited = NiftiImage(labels, images.labels.grid)
            version = session.addEdit(images.name, lambda path: edited.write(Path(path)), names, images.version)
        self.touched = False
        return version


def editedLabels(segmentation: Any, images: ReviewImages, structures: dict[str, str]) -> tuple[NDArray, dict[int, str]]:
    """The mask as it is now, on the grid that it was read from: (i, j, k) uint8 or uint16, and its names (value -> structure).

    `structures` is segment ID -> structure. Values stay what they were; structures that came with the edit get the next ones.
    """
    right = images.labels.rightHanded()
    names, values = dict(images.names), {name: value for value, name in images.names.items()}
    merged, geometry = np.zeros(right.grid.shape, dtype=images.labels.array.dtype), orientedImage(right.grid)
    for segment, structure in structures.items():
        mask = segmentMask(segmentation, segment, None, geometry).transpose(2, 1, 0)
        if structure not in values and mask.any():
            values[structure] = max(names, default=0) + 1
            names[values[structure]] = structure
        merged[mask] = values.get(structure, 0)
    return (merged if right is images.labels else merged[:, :, ::-1]), names
