"""One case on its way out: its mask in the version that was asked for, and its CT, on one grid that every reader takes. No torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..anatomy import resolve, vocabulary
from ..cohort.case import CohortCase
from ..errors import BadRequest
from ..geometry import Grid
from ..imaging import CTVolume, LabelVolume, read_ct, read_labels, resample
from ..modality import CT
from ..request import NONE

SQUARE = 1e-4  # cosine between two axes of a grid; beyond it, ITK calls a grid not orthonormal and refuses the file


@dataclass(frozen=True)
class ExportCase:
    """A case and how its reviews stand (`selection`).

    `key` is its name as a file name, unique in an export. `volumes_ml` are the structures that have voxels, in the vocabulary's
    order; others are not labelled, which is not the same as absent. `grid` is the exported one; `sheared`: the stored one's axes are not
    at right angles.
    """

    case: CohortCase
    key: str
    mask_version: int
    standing: str = "unreviewed"
    judged_version: int | None = None  # the mask that was accepted
    volumes_ml: dict[str, float] = field(default_factory=dict)
    grid: Grid | None = None
    sheared: bool = False

    @property
    def structures(self) -> tuple[str, ...]:
        """The structures that have voxels."""
        return tuple(self.volumes_ml)

    @property
    def voxels(self) -> int:
        """How many there are."""
        return int(np.prod(self.grid.shape)) if self.grid else 0

    @property
    def source(self) -> str:
        """What it was made from, in words; never a path, which would tell of the machine."""
        return self.case.name if self.case.source == str(self.case.folder) else self.case.source

    def given(self) -> bool:
        """Whether its mask, or a part of it, was not generated but given with the request. Raises BadRequest."""
        request = self.case.request()
        return request.mask_generator == NONE or request.context is not None

    @property
    def other_mask_accepted(self) -> bool:
        """Whether the exported mask is another one than the reviewers accepted."""
        return self.judged_version is not None and self.judged_version != self.mask_version

    def labels(self) -> LabelVolume:
        """The mask. Raises BadRequest when it is damaged, or names what is not in the vocabulary."""
        names = self.case.names(self.mask_version)
        labels = read_labels(self.case.labels_path(self.mask_version), names)
        for value in (int(value) for value in np.unique(labels.array) if value):
            if value not in names:
                raise BadRequest(f"The mask of {self.case.name} holds the value {value}, which has no name.", "Save it again.")
            names[value] = resolve(names[value])
        return LabelVolume(labels.array, labels.grid, names)

    def images(self) -> tuple[LabelVolume, CTVolume]:
        """The mask and the CT, checked to lie on one grid; as they were stored. Raises BadRequest."""
        labels, ct = self.labels(), read_ct(self.case.ct_path)
        if not labels.grid.matches(ct.grid):
            raise BadRequest(f"The mask of {self.case.name} is not on the grid of its CT.", "Save the edited mask on the CT's grid.")
        return LabelVolume(labels.array, ct.grid, labels.names), ct

    def square_images(self) -> tuple[LabelVolume, CTVolume]:
        """`images`; those on a sheared grid are resampled onto the nearest one with right angles. Raises BadRequest."""
        labels, ct = self.images()
        return squared(labels, ct) if is_sheared(ct.grid) else (labels, ct)

    def manifest(self) -> dict[str, Any]:
        """Its manifest. Raises BadRequest when it is damaged, or does not say that the case is synthetic: it might be a patient."""
        manifest = self.case.manifest()
        if manifest.get("synthetic") is not True:
            raise BadRequest(f"The manifest of {self.case.name} does not say that it is synthetic.", "Only generated cases are exported.")
        if not isinstance(manifest.get("versions", {}), dict):
            raise BadRequest(f"The manifest of {self.case.name} is damaged.", "Make the case again.")
        return manifest

    def seed(self) -> int:
        """The seed that it was made with. Raises BadRequest."""
        found = self.manifest().get("seed")
        return found if isinstance(found, int) else self.case.request().seed


def relabelled(labels: LabelVolume, structures: Sequence[str]) -> NDArray[np.uint8]:
    """The mask with the values 1, 2, ... for the structures in this order, 0 elsewhere; (i, j, k)."""
    values = {name: value for value, name in labels.names.items()}
    result = np.zeros(labels.array.shape, np.uint8)
    for number, name in enumerate(structures, start=1):
        if name in values:
            result[labels.array == values[name]] = number
    return result


def volumes_ml(labels: LabelVolume) -> dict[str, float]:
    """Volume of every structure that has voxels, in the vocabulary's order."""
    order = list(vocabulary())
    counts = {name: int((labels.array == value).sum()) for value, name in labels.names.items()}
    present = sorted((name for name, count in counts.items() if count), key=order.index)
    return {name: counts[name] * labels.grid.voxel_ml for name in present}


def is_sheared(grid: Grid) -> bool:
    """Whether the axes are not at right angles."""
    axes = grid.affine[:3, :3] / grid.spacing
    return bool(np.abs(axes.T @ axes - np.eye(3)).max() > SQUARE)


def squared(labels: LabelVolume, ct: CTVolume) -> tuple[LabelVolume, CTVolume]:
    """Both on the grid `square_grid` gives: labels of the nearest voxel, HU interpolated linearly, air beyond the border."""
    target = square_grid(ct.grid)
    array = resample(labels.array, labels.grid, target, order=0)
    hu = resample(ct.array.astype(np.float32), ct.grid, target, outside=CT.outside)
    return LabelVolume(array, target, labels.names), CTVolume(np.round(hu).astype(np.int16), target)


def square_grid(grid: Grid) -> Grid:
    """The grid with right angles whose axes are nearest to those of `grid`; same spacing, and it covers all of it."""
    left, _, right = np.linalg.svd(grid.affine[:3, :3] / grid.spacing)
    axes = left @ right  # the orthogonal matrix nearest in the Frobenius norm (Schönemann, Psychometrika 31:1, 1966)
    corners = grid.corners() @ axes
    shape = np.ceil(np.ptp(corners, axis=0) / grid.spacing - 1e-6).astype(int) + 1
    affine = np.eye(4)
    affine[:3, :3] = axes * grid.spacing
    affine[:3, 3] = axes @ corners.min(axis=0)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Case name -> the same as a file name of letters, digits, `-` and `_`; no two alike."""
    found: dict[str, str] = {}
    taken: set[str] = set()  # in small letters: some file systems know no others
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "case"
        number, key = 1, plain
        while key.lower() in taken:
            number += 1
            key = f"{plain}-{number}"
        taken.add(key.lower())
        found[name] = key
    return found
