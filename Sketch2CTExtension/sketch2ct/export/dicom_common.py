"""What the DICOM objects of a case share: identifiers, patient, study, equipment, codes. Needs pydicom, imported when it is used.

Identifiers are 2.25 and a UUID (DICOM PS3.5, B.2), derived from the case, what was asked, the bundle, the pixels and the export's seed:
the same export twice gives the same objects, and another image never has the identifier of an earlier one.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..anatomy import Structure
from .case import ExportCase
from .model import Model

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MANUFACTURER = "Sketch2CT"
_LO, _ST, _PN = 64, 1024, 64  # longest texts, DICOM PS3.5, 6.2
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "sketch2ct.export.dicom")
_NO_PATIENT = "No patient exists: the image was made by a generative model"
_GIVEN_MASK = "Image made by a generative model, for a mask that was given"
_SIDES = {"right": ("24028007", "Right"), "left": ("7771000", "Left")}


@dataclass(frozen=True)
class Identity:
    """Who and what the objects of one case are. `image` and `mask` are hashes of the pixels."""

    key: str
    bundle: str
    bundle_hash: str
    version: str
    seed: int
    request_seed: int
    request_sha256: str
    edited: bool
    given: bool
    date: str  # YYYYMMDD
    time: str  # HHMMSS
    image: str
    mask: str

    @classmethod
    def of(cls, one: ExportCase, model: Model, seed: int, pixels: NDArray, mask: NDArray) -> Identity:
        """Of a case with these pixels (slices, rows, columns). Its date is when it was generated."""
        manifest = one.manifest()
        digits = "".join(c for c in str(manifest.get("created", "")) if c.isdecimal())[:14]
        date, time = (digits[:8], digits[8:14]) if len(digits) == 14 else ("19700101", "000000")
        made_by = str(manifest.get("versions", {}).get("sketch2ct", __version__))
        bundle_hash = str(manifest.get("bundle_hash", "")) or "unknown"
        asked = one.seed(), str(manifest.get("request_sha256", ""))
        hashes = _digest(pixels), _digest(mask)
        bundle = str(manifest.get("bundle", model.bundle)) or "unknown"
        return cls(one.key, bundle, bundle_hash, made_by, seed, *asked, one.mask_version > 0, one.given(), date, time, *hashes)

    def uid(self, role: str, *, of_mask: bool = False) -> str:
        """The identifier of what plays this role in the case; one of the mask's changes with the mask, others do not."""
        parts = [self.key, self.bundle_hash, self.request_sha256, str(self.request_seed), self.image, str(self.seed), role]
        return f"2.25.{uuid.uuid5(_NAMESPACE, '|'.join([*parts, self.mask] if of_mask else parts)).int}"

    @property
    def algorithm(self) -> str:
        """How the mask came to be, in DICOM's words: a mask that somebody gave or edited is not wholly the model's."""
        return "SEMIAUTOMATIC" if self.edited or self.given else "AUTOMATIC"

    @property
    def derivation(self) -> str:
        """What made it, in a sentence or two."""
        text = f"SYNTHETIC. Made by {MANUFACTURER} {self.version} with the bundle {self.bundle}, SHA-256 {self.bundle_hash}, "
        return (text + f"seed {self.request_seed}, request SHA-256 {self.request_sha256 or 'unknown'}. Not for diagnosis.")[:_ST]


def _digest(array: NDArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes() + str(array.shape).encode()).hexdigest()


def describe(dataset: Dataset, identity: Identity) -> None:
    """Patient, study, equipment and the notices that it is synthetic: the same in every object of a case."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SyntheticData = "YES"
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = identity.date, identity.time
    dataset.PatientName = f"SYNTHETIC^{identity.key}"[:_PN]
    dataset.PatientID = f"SYNTHETIC-{identity.uid('patient')[-16:]}"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", _GIVEN_MASK if identity.given else _NO_PATIENT
    dataset.PatientComments = "SYNTHETIC. Not for diagnosis."
    dataset.StudyInstanceUID = identity.uid("study")
    dataset.StudyDate, dataset.StudyTime = identity.date, identity.time
    dataset.StudyID = identity.uid("study")[-16:]
    dataset.StudyDescription = f"SYNTHETIC CT, bundle {identity.bundle}, seed {identity.request_seed}"[:_LO]
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = identity.uid("frame"), ""
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, f"bundle {identity.bundle}"[:_LO]
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = identity.version, identity.bundle_hash[:_LO]
    dataset.ContributingEquipmentSequence = [_equipment(identity)]


def series(dataset: Dataset, identity: Identity, modality: str, number: int, description: str, *, of_mask: bool) -> None:
    """The series an object is the only kind of."""
    dataset.Modality, dataset.SeriesNumber = modality, number
    dataset.SeriesInstanceUID = identity.uid(f"series {modality}", of_mask=of_mask)
    dataset.SeriesDescription = description[:_LO]
    dataset.SeriesDate, dataset.SeriesTime = identity.date, identity.time


def file_meta(dataset: Dataset, syntax: str) -> Any:
    """The head of the file."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    return meta


def code(value: str, meaning: str, scheme: str = "SCT") -> Dataset:
    """An item of a code sequence."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning[:_LO]
    return item


def side_code(structure: Structure) -> list[Dataset]:
    """The laterality modifier of a structure that has a side."""
    return [code(*_SIDES[structure.laterality])] if structure.laterality else []


def _equipment(identity: Identity) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [code("109102", "Processing Equipment", "DCM")]
    item.Manufacturer, item.ManufacturerModelName = MANUFACTURER, f"bundle {identity.bundle}"[:_LO]
    item.SoftwareVersions, item.DeviceSerialNumber = identity.version, identity.bundle_hash[:_LO]
    item.ContributionDescription = identity.derivation
    return item
