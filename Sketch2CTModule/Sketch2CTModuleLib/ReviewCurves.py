"""The sketches that a case was made from, as curves to look at: not the user's own, and never part of a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import vtk

from sketch2ct.anatomy import vocabulary
from sketch2ct.request import Sketch

from .Canvas import ROLE
from .StrokeNode import drawnLook

_CURVE = "vtkMRMLMarkupsClosedCurveNode"


class ReviewCurves:
    """Uses its curve nodes again for every case; those too many are hidden. `role` marks them."""

    def __init__(self, scene: Any, role: str) -> None:
        self._scene, self._role = scene, role

    def show(self, sketches: Sequence[Sketch]) -> None:
        """Show the strokes of these sketches and no others."""
        strokes = [(sketch, points) for sketch in sketches for points in sketch.strokes]
        nodes = self.nodes()
        nodes += [self._add() for _ in range(len(strokes) - len(nodes))]
        for node, (sketch, points) in zip(nodes, strokes, strict=False):
            positions = vtk.vtkPoints()
            positions.SetDataTypeToDouble()
            for point in points:
                positions.InsertNextPoint(point)
            change = node.StartModify()
            node.SetName(f"SYNTHETIC review sketch, {vocabulary()[sketch.structure].spoken}")
            node.SetControlPointPositionsWorld(positions)
            node.EndModify(change)
            color = [part / 255 for part in vocabulary()[sketch.structure].color]
            node.GetDisplayNode().SetSelectedColor(*color)
            node.SetDisplayVisibility(True)
        for node in nodes[len(strokes) :]:
            node.SetDisplayVisibility(False)
            node.SetName("Review sketch")
            node.RemoveAllControlPoints()

    def nodes(self) -> list[Any]:
        """The curve nodes, shown or not."""
        count = self._scene.GetNumberOfNodesByClass(_CURVE)
        found = [self._scene.GetNthNodeByClass(number, _CURVE) for number in range(count)]
        return [node for node in found if node.GetAttribute(ROLE) == self._role]

    def remove(self) -> None:
        """Take the nodes away."""
        for node in self.nodes():
            self._scene.RemoveNode(node)

    def _add(self) -> Any:
        node = self._scene.CreateNodeByClass(_CURVE)
        node.UnRegister(None)  # made by a factory: the scene is its owner
        node.SetAttribute(ROLE, self._role)
        node.SetSaveWithScene(False)
        node.SetUndoEnabled(False)
        node.SetLocked(True)
        node.SetCurveTypeToLinear()
        node = self._scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        drawnLook(display)
        return node
