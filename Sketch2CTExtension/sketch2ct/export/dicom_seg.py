"""The mask as one DICOM Segmentation (binary), a segment a structure. Needs highdicom, imported when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..anatomy import Structure, vocabulary
from .dicom_common import MANUFACTURER, Identity, describe, series, side_code

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset


def segmentation(slices: Sequence[FileDataset], mask: NDArray, names: dict[int, str], identity: Identity) -> Dataset:
    """The segments of `mask` (slices, rows, columns), numbered from 1 in the order of the vocabulary; `names` value -> structure."""
    from highdicom.seg import Segmentation

    order = list(vocabulary())
    values = sorted(names, key=lambda value: order.index(names[value]))
    pixels = np.zeros(mask.shape, np.uint8)
    for number, value in enumerate(values, start=1):
        pixels[mask == value] = number
    made = Segmentation(
        source_images=slices,
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=[_segment(n, vocabulary()[names[value]], identity) for n, value in enumerate(values, start=1)],
        series_instance_uid=identity.uid("series SEG", of_mask=True),
        series_number=2,
        sop_instance_uid=identity.uid("seg", of_mask=True),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=f"bundle {identity.bundle}",
        software_versions=identity.version,
        device_serial_number=identity.bundle_hash,
        content_creator_name=f"{MANUFACTURER}^",
        content_label="SYNTHETIC",
        content_description="SYNTHETIC segmentation",
    )
    describe(made, identity)
    series(made, identity, "SEG", 2, "SYNTHETIC segmentation", of_mask=True)
    _make_repeatable(made, identity)
    return made


def _segment(number: int, structure: Structure, identity: Identity) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.sr.coding import Code

    family = Code("123110", "DCM", "Artificial Intelligence")
    algorithm = AlgorithmIdentificationSequence(
        name=f"{MANUFACTURER} {identity.bundle}", family=family, version=identity.bundle_hash[:16], source=MANUFACTURER
    )
    made = SegmentDescription(
        segment_number=number,
        segment_label=structure.display,
        segmented_property_category=Code(structure.category_code, "SCT", structure.category_meaning),
        segmented_property_type=Code(structure.snomed, "SCT", structure.snomed_meaning),
        algorithm_type=identity.algorithm,
        algorithm_identification=algorithm,
        tracking_uid=identity.uid(f"segment {structure.name}", of_mask=True),
        tracking_id=f"{identity.key} {structure.name}"[:64],
        display_color=CIELabColor.from_rgb(*structure.color),
    )
    if structure.laterality:
        made.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = side_code(structure)
    return made


def _make_repeatable(made: Dataset, identity: Identity) -> None:
    """highdicom draws an identifier of the dimensions at random, and takes the time of now."""
    made.ContentDate, made.ContentTime = identity.date, identity.time
    organization = identity.uid("dimensions", of_mask=True)
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization
