"""A result -> a small picture for a table: three orthogonal views of the CT side by side, with the outlines of the mask. No torch.

Radiological convention, as in `preview`: the patient's right is on the left of axial and coronal views.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..anatomy import vocabulary
from ..geometry import ORIENTATIONS, Plane
from ..imaging import CTVolume, LabelVolume
from ..modality import CT, Modality

SIZE = 128  # pixels, each view
_MIN_FIELD_MM = 60.0
_AROUND = 1.8  # the field of view, in extents of the structure
_OTHER = (200, 200, 200)  # a structure without a colour of its own


def thumb(labels: LabelVolume, ct: CTVolume | None, structure: str, modality: Modality = CT) -> NDArray[np.uint8]:
    """Axial, coronal and sagittal view through the middle of `structure`, RGB, (128, 384, 3), rows from the top down.

    Without a CT the outlines lie on black; of an empty structure the middle of the grid is shown.
    """
    centre, field = _place(labels, structure)
    half = np.linspace(-field / 2, field / 2, SIZE)
    flat = np.stack(np.meshgrid(half, half, indexing="ij"), axis=-1)  # (u, v), mm
    views = []
    for name in ORIENTATIONS:
        index = np.moveaxis(labels.grid.to_index(Plane.named(name, centre).to_ras(flat)), -1, 0)
        shown = np.zeros((SIZE, SIZE, 3), np.uint8)
        if ct is not None:
            low, high = modality.soft
            hu = ndimage.map_coordinates(ct.array, index, np.float32, order=1, cval=modality.outside)
            shown[:] = (np.clip((hu - low) / (high - low), 0, 1) * 255).astype(np.uint8)[..., None]
        values = ndimage.map_coordinates(labels.array, index, order=0, cval=0)
        for value, label in labels.names.items():
            entry = vocabulary().get(label)
            if entry and entry.derived:  # the image itself shows body, bone and air
                continue
            shown[_edge(values == value)] = entry.color if entry else _OTHER
        views.append(shown.transpose(1, 0, 2)[::-1])  # v becomes the rows, up is up
    return np.concatenate(views, axis=1)


def write_thumb(path: Path, picture: NDArray[np.uint8]) -> None:
    """As a PNG, on the disk when this returns."""
    from PIL import Image

    with path.open("wb") as stream:
        Image.fromarray(picture).save(stream, format="PNG", compress_level=1)
        stream.flush()
        os.fsync(stream.fileno())


def _place(labels: LabelVolume, structure: str) -> tuple[NDArray[np.float64], float]:
    """What is shown: the middle (RAS mm) and the width of the views (mm)."""
    grid = labels.grid
    value = next((value for value, name in labels.names.items() if name == structure), 0)
    found = ndimage.find_objects((labels.array == value).astype(np.uint8)) if value else []
    if not found or found[0] is None:
        return grid.centre, float((np.asarray(grid.shape) * grid.spacing).max())
    low, high = (np.array([getattr(part, end) for part in found[0]]) for end in ("start", "stop"))
    extent = float(((high - low) * grid.spacing).max())
    return grid.to_ras((low + high - 1) / 2), max(_AROUND * extent, _MIN_FIELD_MM)


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask's outermost pixels."""
    inner = mask.copy()
    for axis in (0, 1):
        for step in (1, -1):
            inner &= np.roll(mask, step, axis)
    return mask & ~inner
