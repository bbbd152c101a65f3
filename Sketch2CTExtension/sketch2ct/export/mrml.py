"""The elements of a Slicer scene (MRML), as XML text. Positions are RAS mm; nodes refer to each other by id.

Only what differs from Slicer's defaults is stated, except for slice views: those exist before a scene is read and take
over everything from it, defaults included.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from ..describe.contrast import Window

Vector = NDArray[np.float64]  # (3,) RAS mm, or (3, 3) axes in columns

# The application and version must parse, and must not be newer than the reader's, or Slicer warns about the scene.
_VERSION = "Slicer 5.0.3 30893"
_ORIENTATIONS = {"Axial": "-1 0 0 0 1 0 0 0 1", "Sagittal": "0 0 -1 -1 0 0 0 1 0", "Coronal": "-1 0 0 0 0 1 0 1 0"}
SKETCH_COLOR = (0.1, 0.9, 1.0)  # no structure's, so that what was drawn stands out from what was made of it


@dataclass(frozen=True)
class SliceView:
    """One of Slicer's three slice views; `axis` is the one of R, A, S that it looks along."""

    name: str
    orientation: str
    axis: int
    color: str


SLICE_VIEWS = (
    SliceView("Red", "Axial", 2, "0.952941 0.290196 0.2"),
    SliceView("Green", "Coronal", 1, "0.431373 0.690196 0.294118"),
    SliceView("Yellow", "Sagittal", 0, "0.929412 0.835294 0.298039"),
)


def scene(elements: Iterable[str]) -> str:
    """A complete MRML document."""
    body = "\n".join(elements)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<MRML version="{_VERSION}" userTags="">\n{body}\n</MRML>\n'


def volume(node_id: str, name: str, file: str, attributes: Mapping[str, str], window: Window) -> list[str]:
    """A CT shown in grey with a fixed window."""
    display: dict[str, Any] = {"window": window.width, "level": window.level, "autoWindowLevel": 0, "interpolate": 1}
    display["colorNodeID"] = "vtkMRMLColorTableNodeGrey"
    read = _file(file) | {"fileListMember0": file, "UseOrientationFromFile": 1}
    return [
        _element("Volume", node_id, name, _links(node_id, attributes)),
        _part("VolumeDisplay", f"{node_id}Display", display),
        _part("VolumeArchetypeStorage", f"{node_id}Storage", read),
    ]


def segmentation(node_id: str, name: str, file: str, volume_id: str, attributes: Mapping[str, str]) -> list[str]:
    """A segmentation on the grid of a volume, half transparent in slice views."""
    links = _links(node_id, attributes)
    links["references"] += f"referenceImageGeometryRef:{volume_id};"
    display = {"visibility2D": True, "Visibility2DFill": True, "Visibility2DOutline": True, "Opacity2DFill": 0.35}
    return [
        _element("Segmentation", node_id, name, links),
        _part("SegmentationDisplay", f"{node_id}Display", display),
        _part("SegmentationStorage", f"{node_id}Storage", _file(file)),
    ]


def curve(node_id: str, name: str, file: str, closed: bool, attributes: Mapping[str, str]) -> list[str]:
    """A locked, straight-segment curve, its control points no wider than its line (mm)."""
    width = 1.2
    display = {
        "color": SKETCH_COLOR,
        "selectedColor": SKETCH_COLOR,
        "visibility2D": True,
        "pointLabelsVisibility": False,
    }
    display |= {"propertiesLabelVisibility": False, "useGlyphScale": False, "glyphSize": width, "textScale": 0}
    display |= {"curveLineSizeMode": "UseLineDiameter", "lineDiameter": width}
    kind = "MarkupsClosedCurve" if closed else "MarkupsCurve"
    return [
        _element(kind, node_id, name, _links(node_id, attributes) | {"locked": True, "curveType": "linear"}),
        _part("MarkupsDisplay", f"{node_id}Display", display),
        _part("MarkupsJsonStorage", f"{node_id}Storage", _file(file) | {"coordinateSystem": "RAS"}),
    ]


def slice_view(view: SliceView, volume_id: str, centre: Vector, normal: Vector, width: float) -> list[str]:
    """A slice view that shows the volume, `width` mm wide, centred at `centre`, across `normal` (of either sign)."""
    standard = np.array([float(x) for x in _ORIENTATIONS[view.orientation].split()]).reshape(3, 3)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = _turned(standard, normal), centre
    shared = {"singletonTag": view.name, "layoutName": view.name}
    presets = {f"orientationMatrix{key}": text for key, text in _ORIENTATIONS.items()}
    placed = {"sliceToRAS": matrix.ravel(), "fieldOfView": [width, width, 1], "dimensions": "256 256 1"}
    if np.allclose(matrix[:3, :3], standard):
        placed["orientation"] = view.orientation  # an oblique one has no name, and Slicer complains about any other
    look = {"layoutLabel": view.name[0], "layoutColor": view.color, "visibility": True, "sliceResolutionMode": 1}
    shows = {"references": f"backgroundVolume:{volume_id};", "fiducialVisibility": 1, "labelOpacity": 1}
    return [
        _element("Slice", f"vtkMRMLSliceNode{view.name}", view.name, shared | presets | placed | look),
        _part("SliceComposite", f"vtkMRMLSliceCompositeNode{view.name}", shared | shows),
    ]


def camera(centre: Vector, radius: float) -> str:
    """The 3D view's camera in front of the patient, with a ball of `radius` mm around `centre` in sight."""
    angle = 30.0  # degrees, VTK's default
    front = centre + np.array([0, radius / np.sin(np.radians(angle / 2)), 0])
    place = {"position": front, "focalPoint": centre, "viewUp": "0 0 1", "viewAngle": angle}
    return _element("Camera", "vtkMRMLCameraNode1", "Camera", {"singletonTag": "1"} | place)


def hierarchy(folder: str, nodes: Iterable[tuple[str, str]], segments: Mapping[str, Mapping[str, str]]) -> str:
    """A subject hierarchy with one folder of `nodes` (id, owner plugin); `segments` are node id -> segment ID -> name.

    Slicer makes the items of segments only below segmentations that it adds itself, so those must be stated here.
    """
    numbers = itertools.count(4)
    rows = []
    for node_id, owner in nodes:
        number = next(numbers)
        children = [
            _item(next(numbers), number, {"type": "Segments", "name": name, "attributes": f"segmentID^{key}|"})
            for key, name in segments.get(node_id, {}).items()
        ]
        virtual = {"attributes": "VirtualBranch^1|"} if children else {}
        rows.append(_item(number, 3, {"type": owner, "dataNode": node_id} | virtual, "".join(children)))
    tree = _item(3, 2, {"type": "Folder", "name": folder, "attributes": "Level^Folder|"}, "".join(rows))
    root = _item(2, 0, {"type": "", "name": "Scene", "attributes": "Level^Scene|"}, tree)
    name = "SubjectHierarchy"
    return _element(name, "vtkMRMLSubjectHierarchyNode1", name, {"attributes": "SubjectHierarchyVersion:2"}, root)


def _turned(standard: Vector, normal: Vector) -> Vector:
    """A view's axes (columns right, up, normal) turned no more than needed to look along `normal`, sides kept."""
    out = normal * (np.sign(normal @ standard[:, 2]) or 1.0)
    right = standard[:, 0] - (standard[:, 0] @ out) * out
    right /= np.linalg.norm(right)
    up = standard[:, 1] - (standard[:, 1] @ out) * out
    up -= (up @ right) * right
    return np.stack([right, up / np.linalg.norm(up), out], axis=1)


def _element(tag: str, node_id: str, name: str, values: Mapping[str, Any], body: str = "") -> str:
    pairs = "".join(f" {key}={quoteattr(_text(value))}" for key, value in values.items())
    return f"<{tag} id={quoteattr(node_id)} name={quoteattr(name)}{pairs}>{body}</{tag}>"


def _part(tag: str, node_id: str, values: Mapping[str, Any]) -> str:
    """A node that belongs to another one and is not listed for the user."""
    return _element(tag, node_id, tag, {"hideFromEditors": True} | dict(values))


def _item(number: int, parent: int, values: Mapping[str, str], body: str = "") -> str:
    pairs = "".join(f" {key}={quoteattr(value)}" for key, value in values.items())
    return f'<SubjectHierarchyItem id="{number}" parent="{parent}" expanded="true"{pairs}>{body}</SubjectHierarchyItem>'


def _file(file: str) -> dict[str, Any]:
    return {"fileName": file, "useCompression": 1}


def _links(node_id: str, attributes: Mapping[str, str]) -> dict[str, str]:
    """A data node's attributes, as `name:value;` pairs, and its display and storage nodes."""
    pairs = [f"{key}:{_escaped(value)}" for key, value in attributes.items()]
    return {"attributes": ";".join(pairs), "references": f"display:{node_id}Display;storage:{node_id}Storage;"}


def _escaped(text: str) -> str:
    """Text that Slicer reads back from an attribute list: one line, `%` and `;` encoded, nothing that XML forbids."""
    line = " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())
    return line.replace("%", "%25").replace(";", "%3B")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple, np.ndarray)):
        return " ".join(f"{number:.12g}" for number in value)
    return str(value)
