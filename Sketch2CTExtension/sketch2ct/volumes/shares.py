"""What a label map says about a structure, as the volume networks learnt it. No torch.

In training the derived classes overlap the structures: the body is all of it, bone holds the jaw, and a CT's thresholds know no contours.
A map has one value a voxel, so its "body" is only what is nothing else. Here the one becomes the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..anatomy import vocabulary
from ..geometry import Grid
from ..imaging import LabelVolume, resample

BODY, BONE = "body", "bone"


def whole(labels: LabelVolume) -> bool:
    """Whether a map tells the body, so that what it does not label is known to be outside air."""
    return labels.has(BODY)


def mask_of(labels: LabelVolume, name: str) -> NDArray[np.bool_] | None:
    """The voxels (i, j, k) of a class, those of the structures that are part of it included; None where the map does not tell.

    Body is everything that has a name, bone is bone and every bony structure. Air is air alone: what a structure holds is not known.
    """
    if not labels.has(name):
        return None
    if name not in (BODY, BONE):
        return labels.mask(name)
    known = vocabulary()
    parts = [v for v, n in labels.names.items() if name in (BODY, n) or (n in known and known[n].bony)]
    return np.isin(labels.array, parts)


def share_on(mask: NDArray[np.bool_], source: Grid, target: Grid) -> NDArray[np.float32]:
    """The share (0..1) of each voxel of `target` that a mask on `source` fills."""
    # finer labels are blurred to the model's voxel first, or thin parts would fall between its points
    finer = np.abs(np.linalg.inv(source.affine[:3, :3]) @ np.diag(target.spacing)).max(axis=1)
    blur = 0.5 * np.sqrt(np.maximum(finer**2 - 1, 0))
    share = ndimage.gaussian_filter(mask.astype(np.float32), np.where(finer > 1.5, blur, 0))
    return resample(share, source, target)
