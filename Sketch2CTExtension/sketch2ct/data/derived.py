"""What a CT itself tells: body, bone and air by thresholds, and where voxels were really stored; an MR tells its body. No torch.

These masks are derived, not contoured: teeth and metal count as bone, and a mask is only as fine as the scan's voxels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..geometry import Grid
from ..imaging import CTVolume

Mask = NDArray[np.bool_]

BONE_HU = 200
AIR_HU = -400
CRUMB_VOXELS = 20  # smaller bone components are noise, calcified vessels or contrast
TABLE_MM = 20.0  # table tops and their carriers are thinner than this, and what joins them to the skin is
STORED_CM2 = 40.0  # at the ends of a stored band only fragments around organs are present
_FACES = ndimage.generate_binary_structure(3, 1)


def cranial_axis(grid: Grid) -> int:
    """The array axis nearest to the patient's cranio-caudal direction."""
    return int(np.abs(grid.affine[2, :3] / grid.spacing).argmax())


def largest_component(mask: Mask) -> Mask:
    """The largest face-connected component; an empty mask stays empty."""
    parts, count = ndimage.label(mask, _FACES)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def without_crumbs(mask: Mask, voxels: int = CRUMB_VOXELS) -> Mask:
    """The mask without face-connected components of fewer than `voxels` voxels."""
    parts, _ = ndimage.label(mask, _FACES)
    sizes = np.bincount(parts.ravel())
    keep = sizes >= voxels
    keep[0] = False
    return np.asarray(keep[parts])


def filled(mask: Mask, axis: int) -> Mask:
    """The mask with the holes of every slice across `axis` filled."""
    slices = [ndimage.binary_fill_holes(part) for part in np.moveaxis(mask, axis, 0)]
    return np.moveaxis(np.stack(slices), 0, axis)


def body_of(ct: CTVolume) -> Mask:
    """The body (i, j, k): the largest component above the modality's threshold after closing by one voxel, filled on every axial slice.

    Airways, mouth and sinuses are inside it. Opening by TABLE_MM within the slices cuts the table and the fixation
    off; what the opening took from ears and nose is given back by growing within the filled mask.
    """
    axis = cranial_axis(ct.grid)
    dense = np.pad(ct.array > ct.modality.body, 1)  # the border would otherwise be eroded by the closing
    closed = ndimage.binary_closing(dense, _FACES)[1:-1, 1:-1, 1:-1]
    whole = filled(closed, axis)
    pixel = float(np.delete(ct.grid.spacing, axis).mean())
    steps = max(1, round(TABLE_MM / 2 / pixel))
    disk = np.moveaxis(ndimage.generate_binary_structure(2, 1)[..., None], 2, axis)
    core = ndimage.binary_erosion(whole, disk, iterations=steps, border_value=1)
    core = ndimage.binary_dilation(largest_component(core), disk, iterations=steps + 1)
    return core & whole


def derive(ct: CTVolume) -> dict[str, Mask]:
    """The derived structures of an image, (i, j, k) bool: `body` and, of a CT, `bone` and `air`, which lie in the body."""
    body = body_of(ct)
    if ct.modality.derived == ("body",):
        return {"body": body}
    return {"body": body, "bone": without_crumbs((ct.array > BONE_HU) & body), "air": (ct.array < AIR_HU) & body}


def stored(ct: CTVolume, body: Mask | None = None) -> Mask:
    """The voxels (i, j, k) that were really stored: all of every axial slice with more than STORED_CM2 of body.

    Some sets keep the CT only in a band of slices and around the treated region; the rest is -1000 HU by default.
    """
    body = body_of(ct) if body is None else body
    axis = cranial_axis(ct.grid)
    across = [n for n in range(3) if n != axis]
    pixel_cm2 = float(np.linalg.norm(np.cross(*ct.grid.affine[:3, across].T))) / 100
    area = body.sum(axis=tuple(across)) * pixel_cm2
    shape = [1, 1, 1]
    shape[axis] = -1
    return np.broadcast_to((area > STORED_CM2).reshape(shape), ct.array.shape).copy()
