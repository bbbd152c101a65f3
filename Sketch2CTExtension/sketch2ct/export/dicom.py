"""DICOM: for each case a CT series, one SEG and one RT structure set, in one study and one frame of reference.

<case>/ct/0001.dcm ...   CT Image Storage, one slice a file, HU exact
       seg.dcm           Segmentation Storage, binary, one segment a structure
       rtstruct.dcm      RT Structure Set Storage, closed planar contours

Needs pydicom and highdicom. The same case, mask and seed give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import BadRequest
from ..modality import CT
from .case import ExportCase
from .dicom_common import Identity
from .dicom_ct import axial, ct_slices
from .dicom_rtstruct import structure_set
from .dicom_seg import segmentation
from .model import Model
from .options import Options
from .selection import Step
from .writing import Written

_USAGE = "In 3D Slicer: module DICOM, Import DICOM files, choose OUT (extensions: SlicerRT, QuantitativeReporting)."


def write(folder: Path, cases: Sequence[ExportCase], options: Options, model: Model, step: Step) -> Written:
    """One folder a case. Raises BadRequest for MR, whose intensities have no unit that DICOM knows."""
    if model.modality is not CT:
        raise BadRequest(f"These images are {model.modality.name}, and CT alone is written as DICOM.", "Export to nnunet or monai.")
    for one in cases:
        write_case(folder / one.key, one, options.seed, model)
        step(one.case.name)
    return Written([{"folder": ".", "cases": len(cases)}], [_USAGE])


def write_case(folder: Path, one: ExportCase, seed: int, model: Model) -> None:
    """The CT series, the SEG and the RT structure set of one case."""
    labels, ct = one.square_images()
    stack = axial(ct.array, ct.grid)
    mask = stack.reordered(labels.array)
    identity = Identity.of(one, model, seed, stack.pixels, mask)
    slices = ct_slices(stack, identity)
    (folder / "ct").mkdir(parents=True)
    for number, dataset in enumerate(slices, start=1):
        dataset.save_as(folder / "ct" / f"{number:04d}.dcm", enforce_file_format=True)
    names = {value: name for value, name in labels.names.items() if name in one.structures}
    segmentation(slices, mask, names, identity).save_as(folder / "seg.dcm")
    structure_set(slices, stack, mask, names, identity).save_as(folder / "rtstruct.dcm", enforce_file_format=True)
