"""A segmentation of the scene -> the label map that the backend reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy

from sketch2ct.anatomy import resolve, vocabulary
from sketch2ct.errors import BadRequest, WriteFailed

from .Terminology import Terminology

LABELS, NAMES = "labels.nii.gz", "labels.json"


class LabelExport:
    """Writes `labels.nii.gz` (uint8) and `labels.json` (value -> structure); the scene is not changed.

    A segment's structure is the one of its SNOMED CT code and side, else the one of its name or a synonym. Segments of
    the same structure are joined. Where segments overlap, the later one in the segmentation's order wins.
    """

    def __init__(self, terminology: Terminology | None = None) -> None:
        self._terminology = terminology or Terminology()

    def write(self, segmentation: Any, folder: Path, volume: Any = None, segments: Sequence[str] | None = None) -> Path:
        """Write both files into `folder`, which exists; the label map's path. `segments` are the IDs to write, by default all.

        The grid is that of `volume` if given, else of the segmentation's reference volume or geometry; parent
        transforms are applied. Raises BadRequest for unknown segments, an empty mask or no grid, else WriteFailed.
        """
        structures = self.structures(segmentation, segments)
        geometry = _volumeGeometry(volume) if volume is not None else _referenceGeometry(segmentation)
        labels, names = _merged(segmentation, structures, geometry)
        if not names:
            raise BadRequest("The segmentation is empty where the label map is to be.", "Choose a segmentation that holds a structure.")
        _write(Path(folder) / LABELS, geometry, labels)
        try:
            (Path(folder) / NAMES).write_text(json.dumps({str(v): n for v, n in sorted(names.items())}, indent=1), encoding="utf-8")
        except OSError as error:
            raise WriteFailed(f"Cannot write {Path(folder) / NAMES}: {error.strerror}.", "Free some space.") from error
        return Path(folder) / LABELS

    def structures(self, segmentation: Any, only: Sequence[str] | None = None) -> dict[str, str]:
        """Segment ID -> structure, in the segmentation's order; of the IDs `only`, by default of all.

        Raises BadRequest for segments that are none of the vocabulary.
        """
        segments = segmentation.GetSegmentation()
        found = {name: structure for name, structure in self.recognised(segmentation).items() if only is None or name in only}
        if not found:
            raise BadRequest(f"'{segmentation.GetName()}' has no segments.", "Choose a segmentation that holds a structure.")
        unknown = [segments.GetSegment(name).GetName() for name, structure in found.items() if structure is None]
        if unknown:
            known = ", ".join(structure.display for structure in vocabulary().values() if not structure.derived)
            raise BadRequest(
                f"Unknown segments: {', '.join(repr(name) for name in unknown)}.",
                f"Rename them, give them a terminology, or remove them. Known: {known}.",
            )
        return {name: structure for name, structure in found.items() if structure is not None}

    def recognised(self, segmentation: Any) -> dict[str, str | None]:
        """Segment ID -> structure, None for one that is none of the vocabulary, in the segmentation's order."""
        segments = segmentation.GetSegmentation()
        return {name: self._structure(segments.GetSegment(name)) for name in segments.GetSegmentIDs()}

    def _structure(self, segment: Any) -> str | None:
        coded = self._terminology.structureOf(segment)
        if coded is not None:
            return coded
        try:
            return resolve(segment.GetName() or "")
        except BadRequest:
            return None


def _merged(segmentation: Any, structures: dict[str, str], geometry: Any) -> tuple[NDArray[np.uint8], dict[int, str]]:
    """The label map (k, j, i) on a geometry, and the names of the values in it."""
    order = list(vocabulary())
    i, j, k = geometry.GetDimensions()
    labels = np.zeros((k, j, i), dtype=np.uint8)
    source, toWorld = _withImages(segmentation), None
    if segmentation.GetParentTransformNode() is not None:
        toWorld = vtk.vtkGeneralTransform()
        segmentation.GetParentTransformNode().GetTransformToWorld(toWorld)
    for segment, structure in structures.items():
        labels[segmentMask(source, segment, toWorld, geometry)] = order.index(structure) + 1
    return labels, {int(value): order[int(value) - 1] for value in np.unique(labels) if value}


def _withImages(segmentation: Any) -> Any:
    """The node, or when it holds surfaces only a copy whose segments have images as well (parent transform left out)."""
    name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
    if segmentation.GetSegmentation().ContainsRepresentation(name):
        return segmentation
    copy = slicer.vtkMRMLSegmentationNode()
    copy.GetSegmentation().DeepCopy(segmentation.GetSegmentation())
    if not copy.GetSegmentation().CreateRepresentation(name):
        raise BadRequest(f"'{segmentation.GetName()}' cannot be turned into a label map.", "Convert it in the Segmentations module.")
    return copy


def segmentMask(segmentation: Any, segment: str, toWorld: Any, geometry: Any) -> NDArray[np.bool_]:
    """A segment's voxels (k, j, i) on a geometry; `toWorld` is the segmentation's parent transform or None."""
    image, resampled = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    i, j, k = geometry.GetDimensions()
    if not segmentation.GetBinaryLabelmapRepresentation(segment, image) or min(image.GetDimensions()) < 1:
        return np.zeros((k, j, i), dtype=bool)
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not resample(image, geometry, resampled, False, False, toWorld):
        raise BadRequest(f"The segment '{segment}' cannot be brought to the grid of the label map.", "Harden its transform.")
    return vtk_to_numpy(resampled.GetPointData().GetScalars()).reshape(k, j, i) > 0


def _volumeGeometry(volume: Any) -> Any:
    """A volume's grid in the world, as an image without voxels. Raises BadRequest."""
    if volume.GetImageData() is None:
        raise BadRequest(f"The volume '{volume.GetName()}' is empty.", "Choose another volume.")
    matrix, toWorld = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    parent = volume.GetParentTransformNode()
    if parent is not None and not parent.IsTransformToWorldLinear():
        raise BadRequest(f"The volume '{volume.GetName()}' is under a transform that bends it.", "Harden the transform.")
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(parent, None, toWorld)
    vtk.vtkMatrix4x4.Multiply4x4(toWorld, matrix, matrix)
    geometry = slicer.vtkOrientedImageData()
    geometry.SetExtent(volume.GetImageData().GetExtent())
    geometry.SetGeometryFromImageToWorldMatrix(matrix)
    return geometry


def _referenceGeometry(segmentation: Any) -> Any:
    """The grid that a segmentation says it was made on. Raises BadRequest when it does not say."""
    reference = segmentation.GetNodeReference(segmentation.GetReferenceImageGeometryReferenceRole())
    if reference is not None and reference.GetImageData() is not None:
        return _volumeGeometry(reference)
    parameter = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    stated = segmentation.GetSegmentation().GetConversionParameter(parameter)
    geometry = slicer.vtkOrientedImageData()
    if not stated or not slicer.vtkSegmentationConverter.DeserializeImageGeometry(stated, geometry, False):
        raise BadRequest(
            f"'{segmentation.GetName()}' does not say on which voxels it was drawn.",
            "Choose its source volume in Segment Editor, or name a volume whose grid to use.",
        )
    return geometry


def _write(path: Path, geometry: Any, labels: NDArray[np.uint8]) -> None:
    matrix = vtk.vtkMatrix4x4()
    geometry.GetImageToWorldMatrix(matrix)
    node = slicer.vtkMRMLLabelMapVolumeNode()
    slicer.util.updateVolumeFromArray(node, labels)
    node.SetIJKToRASMatrix(matrix)
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(True)
    path.unlink(missing_ok=True)  # or Slicer remarks that it replaces a file
    if not path.parent.is_dir() or not storage.WriteData(node) or not path.is_file():
        raise WriteFailed(f"Cannot write {path}.", "Check that the folder exists, may be written to, and has free space.")
