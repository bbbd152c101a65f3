"""The images of a case under review, as arrays: read in a thread of their own, so without MRML and Qt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sketch2ct.anatomy import resolve
from sketch2ct.cohort.folder import CohortCase
from sketch2ct.errors import BadRequest
from sketch2ct.request import Sketch

from .NiftiImage import NiftiImage

_HINT = "Remove the case's folder and run the cohort again: it makes the same case once more."


@dataclass(frozen=True)
class ReviewImages:
    """`labels` as they lie on disk, of mask `version` (0: the generated one), with `names` value -> structure; `sketches` as asked.

    `ct` is right-handed, or None where the mask alone was made; `voxels` are its values (k, j, i).
    """

    name: str
    version: int
    labels: NiftiImage
    names: dict[int, str]
    sketches: list[Sketch]
    ct: NiftiImage | None
    voxels: NDArray[np.int16] | None

    @classmethod
    def read(cls, case: CohortCase) -> ReviewImages:
        """The newest mask of a case, and its CT. Raises BadRequest, which names the file that is wrong."""
        version = max(case.versions(), default=0)
        labels = NiftiImage.read(case.labels_path(version))
        names = {value: resolve(name) for value, name in case.names(version).items()}
        nameless = sorted({int(value) for value in np.unique(labels.array)} - {0, *names})
        if nameless:
            raise BadRequest(f"The mask of {case.name} holds the label {nameless[0]}, which has no name.", _HINT)
        ct = NiftiImage.read(case.ct_path) if case.ct_path.is_file() else None
        if ct is not None and not ct.grid.matches(labels.grid):
            raise BadRequest(f"CT and mask of {case.name} are not on the same grid.", _HINT)
        ct = ct.rightHanded() if ct is not None else None
        voxels = np.ascontiguousarray(ct.array.transpose(2, 1, 0)) if ct is not None else None
        return cls(case.name, version, labels, names, list(case.request().sketches), ct, voxels)
