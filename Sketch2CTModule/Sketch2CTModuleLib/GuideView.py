"""The sketches' guides in one slice view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray

from sketch2ct.anatomy import vocabulary

from .LayoutViews import DrawingView
from .LineActor import LineActor
from .SketchEntry import SketchEntry
from .Stroke import Stroke

NEAR_MM = 5.0  # a stroke that far from the slice has faded away; a slice further where slices are thicker
ON_SLICE = 0.5  # of the slices' distance: what is nearer, Slicer shows as if it lay on the slice
_PARALLEL = np.cos(np.radians(10))
_BRIDGE_PIXELS, _GHOST_PIXELS = 1.5, 2.0
_GHOST_OPACITY = 0.9


class GuideView:
    """Draws over `view`, until `release`, what the curves themselves do not show there.

    That is, dashed: how the open strokes on the shown slice will be closed; and faded: strokes on slices nearby.
    """

    def __init__(self, view: DrawingView) -> None:
        self.view = view
        self._sketches: Sequence[SketchEntry] = ()
        self._bridges, self._ghosts = LineActor(_BRIDGE_PIXELS), LineActor(_GHOST_PIXELS, rim=False)
        for lines in (self._ghosts, self._bridges):
            lines.addTo(view.renderer)
        self._tag = view.sliceNode.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._draw())

    def show(self, sketches: Sequence[SketchEntry]) -> None:
        """Draw the guides of these sketches; hidden ones have none."""
        self._sketches = [sketch for sketch in sketches if sketch.visible]
        self._draw()

    def release(self) -> None:
        """Stop observing and leave nothing in the view."""
        self.view.sliceNode.RemoveObserver(self._tag)
        for lines in (self._ghosts, self._bridges):
            lines.removeFrom(self.view.renderer)
        self.view.requestRender()

    def _draw(self) -> None:
        plane, thickness = self.view.plane(), self.view.thicknessMm()
        self._bridges.clear()
        self._ghosts.clear()
        for sketch in self._sketches:
            color = vocabulary()[sketch.structure].color
            if _farthest(sketch.points, plane) <= ON_SLICE * thickness:
                self._bridges.addDashes(self._pixels(sketch.bridges), color)
            for stroke in sketch.strokes:
                opacity = self._fading(stroke, plane, thickness)
                if opacity > 0:
                    pixels = self.view.toPixels(_line(stroke))
                    self._ghosts.addLines(np.stack([pixels[:-1], pixels[1:]], axis=1), color, opacity)
        self.view.requestRender()

    def _pixels(self, bridges: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.view.toPixels(bridges.reshape(-1, 3)).reshape(-1, 2, 2)

    @staticmethod
    def _fading(stroke: Stroke, plane: NDArray[np.float64], thickness: float) -> float:
        """Opacity of a stroke off the shown slice."""
        if abs(float(stroke.plane[:3, 2] @ plane[:3, 2])) < _PARALLEL:
            return 0.0
        away = float(np.abs(_distances(stroke.points, plane)).min())
        reach = max(NEAR_MM, 1.5 * thickness)
        return _GHOST_OPACITY * max(0.0, 1.0 - away / reach) if away > ON_SLICE * thickness else 0.0


def _distances(points: NDArray[np.float64], plane: NDArray[np.float64]) -> Any:
    return (points - plane[:3, 3]) @ plane[:3, 2]


def _farthest(points: NDArray[np.float64], plane: NDArray[np.float64]) -> float:
    return float(np.abs(_distances(points, plane)).max())


def _line(stroke: Stroke) -> NDArray[np.float64]:
    return np.concatenate([stroke.points, stroke.points[:1]]) if stroke.closesItself else stroke.points
