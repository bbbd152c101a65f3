"""The mask as an RT Structure Set (DICOM PS3.3, A.19), a region a structure. Needs pydicom, imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..anatomy import Structure, vocabulary
from .contours import closed_contours
from .dicom_common import Identity, code, describe, file_meta, series, side_code
from .dicom_ct import Stack

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

RT_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
# Its lengths have four bytes: the points of one contour may take more than the 64 KiB that the explicit syntax has for them.
IMPLICIT_LE = "1.2.840.10008.1.2"
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management: retired, and still what the reference names


def structure_set(slices: Sequence[FileDataset], stack: Stack, mask: NDArray, names: dict[int, str], identity: Identity) -> FileDataset:
    """The regions of `mask` (slices, rows, columns), numbered from 1 in the order of the vocabulary; `names` value -> structure."""
    from pydicom.dataset import FileDataset

    dataset = FileDataset("", {}, preamble=b"\0" * 128)
    describe(dataset, identity)
    series(dataset, identity, "RTSTRUCT", 3, "SYNTHETIC structures", of_mask=True)
    dataset.SOPClassUID, dataset.SOPInstanceUID = RT_STORAGE, identity.uid("rtstruct", of_mask=True)
    dataset.OperatorsName = ""
    dataset.InstanceNumber = 1
    dataset.StructureSetLabel, dataset.StructureSetName = "SYNTHETIC", "SYNTHETIC structures"
    dataset.StructureSetDescription = identity.derivation
    dataset.StructureSetDate, dataset.StructureSetTime = identity.date, identity.time
    dataset.ReferencedFrameOfReferenceSequence = [_frame(slices, identity)]
    order = list(vocabulary())
    values = sorted(names, key=lambda value: order.index(names[value]))
    regions = [(n, vocabulary()[names[value]], value) for n, value in enumerate(values, start=1)]
    dataset.StructureSetROISequence = [_roi(n, structure, identity) for n, structure, _ in regions]
    dataset.ROIContourSequence = [_contours(n, structure, slices, stack, mask == value) for n, structure, value in regions]
    dataset.RTROIObservationsSequence = [_observation(n, structure) for n, structure, _ in regions]
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.file_meta = file_meta(dataset, IMPLICIT_LE)
    return dataset


def _item(**values: Any) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _image(one: Dataset) -> Dataset:
    return _item(ReferencedSOPClassUID=one.SOPClassUID, ReferencedSOPInstanceUID=one.SOPInstanceUID)


def _frame(slices: Sequence[FileDataset], identity: Identity) -> Dataset:
    images = [_image(one) for one in slices]
    of_series = _item(SeriesInstanceUID=slices[0].SeriesInstanceUID, ContourImageSequence=images)
    study = _item(ReferencedSOPClassUID=_STUDY_CLASS, ReferencedSOPInstanceUID=identity.uid("study"))
    study.RTReferencedSeriesSequence = [of_series]
    return _item(FrameOfReferenceUID=identity.uid("frame"), RTReferencedStudySequence=[study])


def _roi(number: int, structure: Structure, identity: Identity) -> Dataset:
    frame = identity.uid("frame")
    return _item(
        ROINumber=number, ReferencedFrameOfReferenceUID=frame, ROIName=structure.display, ROIGenerationAlgorithm=identity.algorithm
    )


def _observation(number: int, structure: Structure) -> Dataset:
    kind = code(structure.snomed, structure.snomed_meaning)
    if structure.laterality:
        kind.SegmentedPropertyTypeModifierCodeSequence = side_code(structure)
    return _item(
        ObservationNumber=number,
        ReferencedROINumber=number,
        ROIObservationLabel=structure.name[:16],
        SegmentedPropertyCategoryCodeSequence=[code(structure.category_code, structure.category_meaning)],
        RTROIIdentificationCodeSequence=[kind],
        RTROIInterpretedType="ORGAN",
        ROIInterpreter="",
    )


def _contours(number: int, structure: Structure, slices: Sequence[FileDataset], stack: Stack, mask: NDArray[np.bool_]) -> Dataset:
    items = [
        _item(
            ContourImageSequence=[_image(slices[at])],
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=len(points),
            ContourNumber=n,
            ContourData=[f"{value:.4f}" for value in points.ravel() + 0.0],  # 0.1 micrometre
        )
        for n, (at, points) in enumerate(_planar(stack, mask), start=1)
    ]
    return _item(ReferencedROINumber=number, ROIDisplayColor=list(structure.color), ContourSequence=items)


def _planar(stack: Stack, mask: NDArray[np.bool_]) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Slice number and points (N, 3) LPS mm of every contour."""
    for at in np.flatnonzero(mask.any(axis=(1, 2))):
        for line in closed_contours(mask[at]):
            yield int(at), stack.to_lps(line[:, 1], line[:, 0], int(at))
