"""What the DICOM standard demands of the exported objects, as far as it can be read off a file: attributes, identifiers, references.

Tables after PS3.3: A.3 (CT), A.51 (Segmentation), A.19 (RT Structure Set) and the modules they name. Type 1 must be there with a
value, type 2 may be empty.
"""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

PATIENT_STUDY_SERIES = {
    1: "SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality",
    2: "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber SeriesNumber",
}
FRAME = {1: "FrameOfReferenceUID", 2: "PositionReferenceIndicator"}
EQUIPMENT = {2: "Manufacturer"}
PIXELS = {1: "SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation PixelData"}
OBJECTS = {
    "CT": [
        *(PATIENT_STUDY_SERIES, FRAME, EQUIPMENT, PIXELS),
        {1: "ImageType RescaleIntercept RescaleSlope PixelSpacing ImageOrientationPatient ImagePositionPatient"},
        {2: "InstanceNumber KVP AcquisitionNumber SliceThickness PatientPosition"},
    ],
    "SEG": [
        *(PATIENT_STUDY_SERIES, FRAME, PIXELS),
        {1: "Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions InstanceNumber ContentDate ContentTime NumberOfFrames"},
        {1: "ImageType SegmentationType SegmentSequence ContentLabel LossyImageCompression SharedFunctionalGroupsSequence"},
        {
            1: "PerFrameFunctionalGroupsSequence DimensionOrganizationSequence DimensionIndexSequence",
            2: "ContentDescription ContentCreatorName",
        },
    ],
    "RTSTRUCT": [
        *(PATIENT_STUDY_SERIES, EQUIPMENT),
        {1: "StructureSetLabel StructureSetROISequence ROIContourSequence RTROIObservationsSequence ApprovalStatus"},
        {2: "StructureSetDate StructureSetTime OperatorsName"},
    ],
}
ITEMS = {  # sequence -> what each of its items needs
    "SegmentSequence": {
        1: "SegmentNumber SegmentLabel SegmentAlgorithmType SegmentedPropertyCategoryCodeSequence SegmentedPropertyTypeCodeSequence"
    },
    "SegmentationAlgorithmIdentificationSequence": {1: "AlgorithmFamilyCodeSequence AlgorithmVersion AlgorithmName"},
    "StructureSetROISequence": {1: "ROINumber ReferencedFrameOfReferenceUID", 2: "ROIName ROIGenerationAlgorithm"},
    "ROIContourSequence": {1: "ReferencedROINumber"},
    "ContourSequence": {1: "ContourGeometricType NumberOfContourPoints ContourData"},
    "ContourImageSequence": {1: "ReferencedSOPClassUID ReferencedSOPInstanceUID"},
    "RTROIObservationsSequence": {1: "ObservationNumber ReferencedROINumber", 2: "RTROIInterpretedType ROIInterpreter"},
    "ReferencedFrameOfReferenceSequence": {1: "FrameOfReferenceUID"},
    "RTReferencedStudySequence": {1: "ReferencedSOPClassUID ReferencedSOPInstanceUID RTReferencedSeriesSequence"},
    "RTReferencedSeriesSequence": {1: "SeriesInstanceUID ContourImageSequence"},
    "ContributingEquipmentSequence": {1: "PurposeOfReferenceCodeSequence Manufacturer"},
}
LONGEST = {"SH": 16, "LO": 64, "PN": 64, "CS": 16, "DS": 16, "IS": 12, "UI": 64, "ST": 1024}
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")


def problems(dataset: Dataset) -> list[str]:
    """What is wrong with an object, in words; nothing when it is well."""
    found: list[str] = []
    for module in OBJECTS[dataset.Modality]:
        found += _lacking(dataset, module, dataset.Modality)
    if (
        dataset.file_meta.MediaStorageSOPInstanceUID != dataset.SOPInstanceUID
        or dataset.file_meta.MediaStorageSOPClassUID != dataset.SOPClassUID
    ):
        found.append("the head names another object")
    return found + _walk(dataset, "")


def _lacking(dataset: Dataset, module: dict[int, str], where: str) -> list[str]:
    found = []
    for kind, names in module.items():
        for name in names.split():
            if name not in dataset:
                found.append(f"{where} lacks {name}")
            elif kind == 1 and dataset[name].is_empty:
                found.append(f"{where}: {name} is empty")
    return found


def _walk(dataset: Dataset, where: str) -> list[str]:
    found = []
    for element in dataset:
        path = f"{where}/{element.keyword}"
        if isinstance(element.value, Sequence):
            for item in element.value:
                found += _lacking(item, ITEMS.get(element.keyword, {}), path) + _code(item, element.keyword, path) + _walk(item, path)
        elif element.VR in LONGEST and not element.is_empty:
            values = element.value if element.VM > 1 else [element.value]
            texts = [str(getattr(value, "original_string", value)) for value in values]
            found += [f"{path}: '{text}' is too long" for text in texts if len(text) > LONGEST[element.VR]]
            found += [f"{path}: '{text}' is no UID" for text in texts if element.VR == "UI" and not _UID.fullmatch(text)]
    return found


def _code(item: Dataset, keyword: str, where: str) -> list[str]:
    """Every code sequence needs value, scheme and meaning (PS3.3, 8.8)."""
    return _lacking(item, {1: "CodeValue CodingSchemeDesignator CodeMeaning"}, where) if keyword.endswith("CodeSequence") else []


def references(dataset: Dataset) -> set[str]:
    """Every object that is referred to, anywhere inside."""
    return {str(element.value) for element in dataset.iterall() if element.keyword == "ReferencedSOPInstanceUID"}
