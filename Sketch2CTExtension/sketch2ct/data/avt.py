"""AVT, the aortic vessel tree of 56 CT angiographies from three centres -> nnU-Net raw layout. No torch.

Source: the archives of the collection (Radl et al., Data in Brief 40:107801, 2022), unpacked beside each other:

    Dongyang/D1/D1.nrrd, D1.seg.nrrd           18 cases
    KiTS/K1/K1.nrrd, K1.seg.nrrd               20 cases
    Rider/R1 (AD)/R1.nrrd, R1.seg.nrrd         18 cases; a folder's name may tell dissection (AD) or aneurysm (AAA)

A segmentation is a 3D Slicer file: its grid may be a part of the image's, so it is brought onto it. Every segment counts as aorta.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import BadRequest
from ..geometry import Grid
from ..imaging import read_image, resample
from ..modality import CT
from .converting import SPACING_MM, About, Progress, Scan, write_set

ABOUT = About(
    name="AVT",
    modality=CT,
    structure="aorta",
    licence="CC BY 4.0; the scans under KiTS come from a set that is CC BY-NC-SA 4.0 (no commercial use)",
    source="AVT, figshare 14806362; Radl et al., Data in Brief 40:107801 (2022)",
)
NO_AIR_HU = -200  # a CT angiography without a voxel below this was not stored in HU
OFFSET_HU = 1024  # the usual DICOM intercept
HINT = "Unpack the collection's archives and name the folder that holds Dongyang, KiTS and Rider."


def convert(source: Path, dest: Path, *, seed: int = 0, spacing: float = SPACING_MM, progress: Progress | None = None) -> Path:
    """Convert the collection at `source` to a data set at `dest`. Raises BadRequest or WriteFailed; see `write_set`.

    An image without any air in it is taken as stored with an offset of 1024, and `shift_hu` of its case says so.
    """
    masks = sorted(p for p in Path(source).rglob("*.seg.nrrd") if not p.name.startswith("."))
    if not masks:
        raise BadRequest(f"{source} holds no AVT cases (Dongyang/D1/D1.seg.nrrd and so on).", HINT)
    cases = {f"avt_{path.name.removesuffix('.seg.nrrd')}": partial(_read, path, Path(source)) for path in masks}
    if len(cases) < len(masks):
        raise BadRequest(f"{source} holds several cases of one name.", "Leave one copy of the collection in it.")
    return write_set(dest, ABOUT, cases, seed=seed, spacing=spacing, progress=progress)


def _read(path: Path, source: Path) -> Scan:
    image = path.with_name(path.name.removesuffix(".seg.nrrd") + ".nrrd")
    values, grid = read_image(image)
    if not np.isfinite(values).all():
        raise BadRequest(f"{image} holds values that are not numbers.", HINT)
    facts: dict[str, object] = {"source": path.parent.relative_to(source).as_posix()}
    if values.min() > NO_AIR_HU:
        values, facts["shift_hu"] = values.astype(np.float32) - OFFSET_HU, -OFFSET_HU
    drawn, own = read_image(path)
    return Scan(values, _on(drawn > 0, own, grid), grid, facts)


def _on(mask: NDArray[np.bool_], own: Grid, grid: Grid) -> NDArray[np.bool_]:
    """The mask on the image's grid."""
    if own.matches(grid):
        return mask
    return resample(mask.astype(np.uint8), own, grid, order=0).astype(bool)
