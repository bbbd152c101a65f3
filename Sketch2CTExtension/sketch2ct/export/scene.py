"""A result folder as a 3D Slicer scene (`.mrb`), written without Slicer.

The bundle is a zip of one folder: `NAME.mrml` and `Data/` with the CT (the result's own NIfTI, byte for byte), the
labels as a segmentation and each stroke as a markups curve. The same result gives the same bytes.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..anatomy import resolve, vocabulary
from ..describe import contrast
from ..errors import BadRequest
from ..geometry import Points, polyline_length
from ..imaging import LabelVolume, read_ct, read_labels
from ..provenance import attributes, read_json
from ..request import GenerationRequest, Sketch
from . import mrml
from .nrrd import write_segmentation

_VOLUME, _SEGMENTATION = "vtkMRMLScalarVolumeNode1", "vtkMRMLSegmentationNode1"
_CT_FILE, _LABELS_FILE = "Data/SYNTHETIC-CT.nii.gz", "Data/SYNTHETIC-segmentation.seg.nrrd"
_ROOM = 1.8  # a slice view is that many times wider than the structures, and 20 mm
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip can hold
_MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/markups-schema-v1.0.3.json#"
)
_PIECE_GAP = 0.25  # of its length: a wider open stroke is one of several pieces of an outline


@dataclass(frozen=True)
class _Curve:
    """One stroke (N, 3) RAS mm on its way into the scene."""

    node_id: str
    name: str
    file: str
    closed: bool
    points: Points
    sketch: Sketch


def write_scene(result_dir: Path, out: Path) -> Path:
    """Write the result in `result_dir` as the Slicer scene `out` (`.mrb`) and return its path. Raises BadRequest."""
    result_dir, out = Path(result_dir), Path(out)
    request = GenerationRequest.read(result_dir / "request.json")
    names = {int(value): resolve(name) for value, name in read_json(result_dir / "labels.json").items()}
    labels = _contoured(read_labels(result_dir / "labels.nii.gz", names))
    if not read_ct(result_dir / "ct.nii.gz").grid.matches(labels.grid):
        raise BadRequest(f"The CT and the labels in {result_dir} are not on the same grid.", "Generate it again.")
    curves = _curves(request)
    text = mrml.scene(_elements(labels, request, curves, attributes(result_dir, request)))
    with TemporaryDirectory() as scratch:
        segmentation = Path(scratch) / "labels.seg.nrrd"
        write_segmentation(segmentation, labels)
        files = {f"{out.stem}.mrml": text.encode("utf-8"), _CT_FILE: (result_dir / "ct.nii.gz").read_bytes()}
        files[_LABELS_FILE] = segmentation.read_bytes()
    files |= {curve.file: _markups(curve) for curve in curves}
    _zip(out, files)
    return out


def _contoured(labels: LabelVolume) -> LabelVolume:
    """Without body, bone and air, which would cover everything in a scene that is just opened; `labels.nii.gz` has them."""
    names = {value: name for value, name in labels.names.items() if not vocabulary()[name].derived}
    kept = np.where(np.isin(labels.array, list(names)), labels.array, 0).astype(labels.array.dtype)
    return LabelVolume(kept, labels.grid, names)


def _elements(labels: LabelVolume, request: GenerationRequest, curves: list[_Curve], provenance: dict[str, str]) -> list[str]:
    """Every node of the scene; the CT in the display window that the description asks for, else that of soft tissue."""
    segments = {name: vocabulary()[name].display for name in labels.names.values()}
    owners = [(_VOLUME, "Volumes"), (_SEGMENTATION, "Segmentations"), *((curve.node_id, "Markups") for curve in curves)]
    shown = contrast.window(request.description) or contrast.SOFT_TISSUE
    elements = mrml.volume(_VOLUME, "SYNTHETIC CT", _CT_FILE, provenance, shown)
    elements += mrml.segmentation(_SEGMENTATION, "SYNTHETIC segmentation", _LABELS_FILE, _VOLUME, provenance)
    for curve in curves:
        marks = {"Sketch2CT.structure": curve.sketch.structure, "Sketch2CT.meaning": curve.sketch.meaning}
        elements += mrml.curve(curve.node_id, curve.name, curve.file, curve.closed, marks)
    low, high = _box(labels)
    whole = float(np.ptp(labels.grid.corners(), axis=0).max())
    width = min(1.05 * whole, _ROOM * float((high - low).max()) + 20)
    for view in mrml.SLICE_VIEWS:
        drawn = [sketch for sketch in request.sketches if sketch.plane.axis == view.axis]
        points = (drawn or request.sketches)[0].points() if request.sketches else np.stack([low, high])
        normal = drawn[0].plane.normal if drawn else np.eye(3)[view.axis]
        elements += mrml.slice_view(view, _VOLUME, (points.min(axis=0) + points.max(axis=0)) / 2, normal, width)
    elements.append(mrml.camera((low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 10.0)))
    elements.append(mrml.hierarchy("SYNTHETIC Sketch2CT result", owners, {_SEGMENTATION: segments}))
    return elements


def _box(labels: LabelVolume) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest RAS mm of the labelled voxels' centres; of the whole grid when nothing is labelled."""
    found = np.argwhere(labels.array > 0)
    points = labels.grid.to_ras(found) if len(found) else labels.grid.corners()
    return points.min(axis=0), points.max(axis=0)


def _curves(request: GenerationRequest) -> list[_Curve]:
    """One curve per stroke, named after its structure and numbered when there are several of it."""
    strokes = [(sketch, stroke) for sketch in request.sketches for stroke in sketch.strokes]
    total = {name: sum(sketch.structure == name for sketch, _ in strokes) for name in request.structures()}
    seen = dict.fromkeys(total, 0)
    curves = []
    for number, (sketch, stroke) in enumerate(strokes, start=1):
        seen[sketch.structure] += 1
        count = f" {seen[sketch.structure]}" if total[sketch.structure] > 1 else ""
        closed = sketch.closed and (len(sketch.strokes) == 1 or _returns(stroke))
        node_id = f"vtkMRMLMarkups{'Closed' if closed else ''}CurveNode{number}"
        name = f"{vocabulary()[sketch.structure].display} sketch{count}"
        file = f"Data/sketch-{number}-{sketch.structure}.mrk.json"
        curves.append(_Curve(node_id, name, file, closed, stroke, sketch))
    return curves


def _returns(stroke: Points) -> bool:
    """Whether a stroke ends near its start, and so is an outline of its own rather than a piece of one."""
    return float(np.linalg.norm(stroke[0] - stroke[-1])) <= _PIECE_GAP * polyline_length(stroke)


def _markups(curve: _Curve) -> bytes:
    """A markups file: the stroke's points, RAS mm."""
    # A stroke that ends on its first point would give a closed curve two control points in one place.
    last = len(curve.points) - (curve.closed and np.allclose(curve.points[0], curve.points[-1], atol=1e-6))
    points = [
        {"id": str(n), "label": "", "position": point.tolist(), "locked": True, "positionStatus": "defined"}
        for n, point in enumerate(curve.points[:last], start=1)
    ]
    markups: dict[str, Any] = {"type": "ClosedCurve" if curve.closed else "Curve", "locked": True}
    markups |= {"coordinateSystem": "RAS", "coordinateUnits": "mm", "controlPoints": points}
    return json.dumps({"@schema": _MARKUPS_SCHEMA, "markups": [markups]}, indent=1).encode("utf-8")


def _zip(out: Path, files: dict[str, bytes]) -> None:
    """`files` under one folder named like the zip. Written aside, then renamed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w") as bundle:
            for name, content in files.items():
                entry = zipfile.ZipInfo(f"{out.stem}/{name}", _EPOCH)
                entry.external_attr = 0o644 << 16
                packed = name.endswith((".gz", ".nrrd"))
                entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
                bundle.writestr(entry, content)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
