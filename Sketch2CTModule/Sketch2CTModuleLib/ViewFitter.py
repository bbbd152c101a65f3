"""Slice views and the 3D view, brought to where something is to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from numpy.typing import ArrayLike, NDArray

from sketch2ct.request import Sketch

_ROOM = 1.8  # a slice view is that many times wider than the structures, and 20 mm
_MARGIN_MM = 20.0
_WHOLE = 1.05  # and never more than this many times the volume


class ViewFitter:
    """Moves the views of the layout. Positions are RAS mm."""

    def __init__(self, scene: Any = None, appLogic: Any = None) -> None:
        self._scene = scene or slicer.mrmlScene
        self._appLogic = appLogic or slicer.app.applicationLogic()

    def fit(self, sketches: Sequence[Sketch], segmentation: Any = None, volume: Any = None) -> None:
        """All slice views at the sketches, or without any at the structures, these in sight with room around; 3D centred.

        The first sketch along each view's direction decides on its slice, and an oblique one on its plane.
        """
        box = _segmentsBox(segmentation)
        whole = _volumeBox(volume)
        drawn = [sketch.points() for sketch in sketches]
        box = box if box is not None else (_box(np.concatenate(drawn)) if drawn else whole)
        if box is None:
            return
        width = _ROOM * float(np.ptp(box, axis=0).max()) + _MARGIN_MM
        if whole is not None:
            width = min(width, _WHOLE * float(np.ptp(whole, axis=0).max()))
        centre = _box(drawn[0]).mean(axis=0) if drawn else box.mean(axis=0)
        nodes = self._sliceNodes()
        taken: dict[str, Sketch] = {}
        for sketch in sketches:
            best = _facing(nodes, sketch.plane.normal)
            if best is not None:
                taken.setdefault(best.GetID(), sketch)
        for node in nodes:
            own = taken.get(node.GetID())
            axes = _axes(node) if own is None else _alike(_axes(node), own.plane.matrix[:3, :3])
            _place(node, axes, centre if own is None else _box(own.points()).mean(axis=0), width)
        self._centre3D(box)

    def fitWhole(self, node: Any) -> None:
        """All slice views at the middle of a segmentation or volume, all of it in sight; their directions stay."""
        box = _segmentsBox(node) if node.IsA("vtkMRMLSegmentationNode") else _volumeBox(node)
        if box is None:
            return
        for view in self._sliceNodes():
            across = np.abs(_axes(view)[:, :2].T) @ np.ptp(box, axis=0)
            _place(view, _axes(view), box.mean(axis=0), across * _WHOLE)
        self._centre3D(box)

    def sliceThrough(self, point: ArrayLike) -> None:
        """Move the slice of every view through a point; what is in the middle of the view stays there."""
        for view in self._sliceNodes():
            view.JumpSliceByOffsetting(*np.asarray(point, dtype=np.float64))

    def jumpTo(self, plane: ArrayLike, centre: ArrayLike) -> Any:
        """Show exactly `plane` (4x4 SliceToRAS), `centre` in the middle, in the view that faces it most; that view's node.

        The view keeps its magnification, and the patient's sides where they are in it. None when there is no slice view.
        """
        plane, centre = np.asarray(plane, dtype=np.float64), np.asarray(centre, dtype=np.float64)
        node = _facing(self._sliceNodes(), plane[:3, 2])
        if node is None:
            return None
        onPlane = centre - ((centre - plane[:3, 3]) @ plane[:3, 2]) * plane[:3, 2]
        _place(node, _alike(_axes(node), plane[:3, :3]), onPlane, None)
        return node

    def _sliceNodes(self) -> list[Any]:
        """The slice views that the layout shows; all that exist when it shows none."""
        logics = self._appLogic.GetSliceLogics()
        nodes = [logics.GetItemAsObject(n).GetSliceNode() for n in range(logics.GetNumberOfItems())]
        return [node for node in nodes if node.IsMappedInLayout()] or nodes

    def _centre3D(self, box: NDArray[np.float64]) -> None:
        """Cameras look at the middle of a box from where they are, so far away that all of it is in sight."""
        centre, radius = box.mean(axis=0), max(float(np.linalg.norm(np.ptp(box, axis=0))) / 2, 10.0)
        for number in range(self._scene.GetNumberOfNodesByClass("vtkMRMLCameraNode")):
            camera = self._scene.GetNthNodeByClass(number, "vtkMRMLCameraNode")
            back = np.subtract(camera.GetPosition(), camera.GetFocalPoint())
            back = back / (np.linalg.norm(back) or 1.0)
            change = camera.StartModify()
            camera.SetFocalPoint(centre)
            camera.SetPosition(centre + back * radius / np.sin(np.radians(camera.GetViewAngle() / 2)))
            if camera.GetParallelProjection():
                camera.SetParallelScale(radius)
            camera.EndModify(change)
            camera.ResetClippingRange()


def _axes(node: Any) -> NDArray[np.float64]:
    """A view's axes in columns: right, up and out of the screen."""
    return slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())[:3, :3]


def _facing(nodes: Sequence[Any], normal: NDArray[np.float64]) -> Any:
    return max(nodes, key=lambda node: abs(float(_axes(node)[:, 2] @ normal)), default=None)


def _alike(axes: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """`wanted` if the patient's sides are where the view has them; else the view's axes turned onto that plane."""
    if (np.sum(axes * wanted, axis=0) > 0.5).all():
        return wanted
    out = wanted[:, 2] * (np.sign(wanted[:, 2] @ axes[:, 2]) or 1.0)
    right = axes[:, 0] - (axes[:, 0] @ out) * out
    right /= np.linalg.norm(right)
    up = axes[:, 1] - (axes[:, 1] @ out) * out
    up -= (up @ right) * right
    return np.stack([right, up / np.linalg.norm(up), out], axis=1)


def _place(node: Any, axes: NDArray[np.float64], centre: NDArray[np.float64], width: ArrayLike | None) -> None:
    """Put a view on a plane; `width` mm, one number or (right, up), fit into it. None keeps the magnification."""
    change = node.StartModify()
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes, centre
    node.GetSliceToRAS().DeepCopy(matrix.ravel())
    node.SetXYZOrigin(0, 0, 0)
    if width is not None:
        pixels = np.maximum(node.GetDimensions()[:2], 1)
        across, up = pixels * float((np.asarray(width) / pixels).max())
        node.SetFieldOfView(across, up, node.GetFieldOfView()[2])
    node.UpdateMatrices()
    node.EndModify(change)


def _box(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lowest and highest corner, (2, 3)."""
    return np.stack([points.min(axis=0), points.max(axis=0)])


def _segmentsBox(segmentation: Any) -> NDArray[np.float64] | None:
    """The box around a segmentation's surfaces, or around its images where there are none; None when it is empty."""
    if segmentation is None:
        return None
    segments, boxes = segmentation.GetSegmentation(), []
    for name in segments.GetSegmentIDs():
        bounds = np.zeros(6)
        segments.GetSegment(name).GetBounds(bounds)
        surface = segmentation.GetClosedSurfaceInternalRepresentation(name)
        if surface is not None and surface.GetNumberOfPoints():
            bounds = np.array(surface.GetBounds())
        if (bounds[1::2] > bounds[::2]).all():
            boxes.append(bounds.reshape(3, 2).T)
    return _box(np.concatenate(boxes)) if boxes else None


def _volumeBox(volume: Any) -> NDArray[np.float64] | None:
    if volume is None or volume.GetImageData() is None:
        return None
    bounds = np.zeros(6)
    volume.GetRASBounds(bounds)
    return bounds.reshape(3, 2).T
