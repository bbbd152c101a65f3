"""A stroke as a markups curve of the scene, and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from sketch2ct.anatomy import vocabulary
from sketch2ct.request import MEANINGS

from .SketchEntry import planeLabel
from .Stroke import Stroke

FOLDER = "Sketch2CT sketches"
_INPUT = "input"
_ATTRIBUTES = ("sketch", "structure", "meaning", "plane", "id", "order")

# How much of a curve is seen on a slice that crosses it: what is nearer than the first distance (mm), fading until the
# second. The two are close because Slicer tints in red and blue what lies between the first and its double.
SOLID_MM = 1.5
GONE_MM = 2.0
# Glyph size is relative to the screen; the line's width is relative to the glyph's: points show when the mouse is near.
GLYPH_SCALE = 0.6
LINE_THICKNESS = 1.0


class StrokeNode:
    """Makes, changes and reads the curve nodes that hold strokes in `scene`. Everything of a stroke is in its node."""

    def __init__(self, scene: Any) -> None:
        self._scene = scene

    def add(self, stroke: Stroke, order: int) -> Any:
        """A new node for the stroke, in the folder of the sketches. Returns the node."""
        kind = "vtkMRMLMarkupsClosedCurveNode" if stroke.closesItself else "vtkMRMLMarkupsCurveNode"
        node = self._scene.AddNewNodeByClass(kind, _name(stroke))
        node.SetCurveTypeToLinear()
        node.CreateDefaultDisplayNodes()
        _dress(node.GetDisplayNode(), _colour(stroke.structure))
        self.write(node, stroke, order)
        self._file(node)
        return node

    def write(self, node: Any, stroke: Stroke, order: int) -> None:
        """Put the stroke into its node."""
        modifying = node.StartModify()
        try:
            node.SetName(_name(stroke))
            plane = json.dumps(stroke.plane.tolist())
            values = (_INPUT, stroke.structure, stroke.meaning, plane, stroke.id, str(order))
            for name, value in zip(_ATTRIBUTES, values, strict=True):
                node.SetAttribute(f"Sketch2CT.{name}", value)
            if not np.array_equal(self.points(node), stroke.points):
                positions = vtk.vtkPoints()
                positions.SetDataTypeToDouble()
                for point in stroke.points:
                    positions.InsertNextPoint(point)
                node.SetControlPointPositionsWorld(positions)
        finally:
            node.EndModify(modifying)

    def read(self, node: Any) -> Stroke | None:
        """The stroke that a node holds; None if it is no sketch's node or a damaged one."""
        if not self.isStroke(node):
            return None
        try:
            plane = np.array(json.loads(node.GetAttribute("Sketch2CT.plane")), dtype=np.float64)
            meaning = node.GetAttribute("Sketch2CT.meaning")
            structure = node.GetAttribute("Sketch2CT.structure")
            if structure not in vocabulary() or meaning not in MEANINGS:
                return None
            empty = Stroke(structure, plane, np.zeros((0, 3)), meaning, node.GetAttribute("Sketch2CT.id") or "")
        except (TypeError, ValueError):
            return None
        return empty.withPoints(self.points(node))

    def strokes(self) -> list[tuple[Stroke, Any]]:
        """Every stroke of the scene with its node, in the order of drawing."""
        nodes = [node for node in slicer.util.getNodesByClass("vtkMRMLMarkupsCurveNode", self._scene) if self.isStroke(node)]
        found = [(stroke, node) for node in sorted(nodes, key=_order) if (stroke := self.read(node)) is not None]
        return [(stroke, node) for stroke, node in found if len(stroke.points) > 1]

    @staticmethod
    def isStroke(node: Any) -> bool:
        """Whether a node holds a stroke that the user drew."""
        return bool(node) and node.IsA("vtkMRMLMarkupsCurveNode") and node.GetAttribute("Sketch2CT.sketch") == _INPUT

    @staticmethod
    def points(node: Any) -> NDArray[np.float64]:
        """Control points (N, 3) RAS mm."""
        positions = vtk.vtkPoints()
        node.GetControlPointPositionsWorld(positions)
        return np.array([positions.GetPoint(n) for n in range(positions.GetNumberOfPoints())]).reshape(-1, 3)

    def removeEmptyFolder(self) -> None:
        """Take the folder of the sketches away when nothing is left in it."""
        hierarchy = self._hierarchy()
        folder = hierarchy.GetItemChildWithName(hierarchy.GetSceneItemID(), FOLDER)
        if folder and hierarchy.GetNumberOfItemChildren(folder) == 0:
            hierarchy.RemoveItem(folder)

    def _file(self, node: Any) -> None:
        hierarchy = self._hierarchy()
        top = hierarchy.GetSceneItemID()
        folder = hierarchy.GetItemChildWithName(top, FOLDER) or hierarchy.CreateFolderItem(top, FOLDER)
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(folder, node)
        hierarchy.SetItemParent(item, folder)

    def _hierarchy(self) -> Any:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self._scene)


def _name(stroke: Stroke) -> str:
    return f"{vocabulary()[stroke.structure].display} sketch, {planeLabel(stroke.plane).replace(', ', ' ')}"


def _colour(structure: str) -> tuple[float, ...]:
    return tuple(part / 255 for part in vocabulary()[structure].color)


def _order(node: Any) -> int:
    text = node.GetAttribute("Sketch2CT.order") or ""
    return int(text) if text.isdigit() else 0


def drawnLook(display: Any) -> None:
    """Points and line of a drawn curve: no labels, fading away from its plane."""
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.SetGlyphTypeFromString("Circle2D")
    display.SetUseGlyphScale(True)
    display.SetGlyphScale(GLYPH_SCALE)
    display.SetCurveLineSizeMode(display.UseLineThickness)
    display.SetLineThickness(LINE_THICKNESS)
    display.SetLineColorFadingStart(SOLID_MM)
    display.SetLineColorFadingEnd(GONE_MM)


def _dress(display: Any, colour: tuple[float, ...]) -> None:
    display.SetColor(*colour)
    display.SetSelectedColor(*colour)  # control points are "selected" from the start
    display.SetActiveColor(1.0, 1.0, 1.0)
    drawnLook(display)
    display.SetSliceProjection(False)
    display.SetHandlesInteractive(False)
