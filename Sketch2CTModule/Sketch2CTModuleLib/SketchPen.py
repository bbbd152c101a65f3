"""The pen and the eraser on Slicer's slice views."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from sketch2ct.anatomy import vocabulary
from sketch2ct.geometry import distance_to, polyline_length
from sketch2ct.request import MIN_STROKE_MM

from .LayoutViews import DrawingView, LayoutViews
from .PenView import PenView
from .Signal import Signal
from .SketchBook import SketchBook
from .Stroke import MIN_POINTS, Stroke, onPlane, simplified

MODES = ("off", "draw", "erase")
TOLERANCE_MM = 0.05  # a stored stroke stays that close to the drawn line
MAX_POINTS = 1500  # of a stored stroke: Slicer draws and picks every control point
ERASER_PIXELS = 8.0
ON_PLANE_MM = 0.25  # a stroke that close to the plane of a view lies on it


class SketchPen:
    """Draws strokes into `book` with the left mouse button on the views that `sliceViews()` gives.

    Set `structure` (a name of the vocabulary) and `meaning` before drawing. While the pen is on, everything but a left
    press without modifier keys works as ever: window and level, zoom, pan, scroll, placing markups. Turned off, it
    observes nothing and has nothing in the views.
    """

    def __init__(self, book: SketchBook, sliceViews: Callable[[], Iterable[DrawingView]] | None = None) -> None:
        self.structure = ""
        self.meaning = "cross_section"
        self.modeChanged = Signal()  # mode
        self.strokeDrawn = Signal()  # Stroke
        self.refused = Signal()  # message for the user; told while the button is down, so show no modal dialog
        self._book = book
        self._sliceViews = sliceViews or LayoutViews()
        self._ownsViews = sliceViews is None
        self._mode = "off"
        self._views: list[PenView] = []
        changed = getattr(self._sliceViews, "changed", None)
        if changed is not None:
            changed.connect(self.refreshViews)

    @property
    def mode(self) -> str:
        """`off`, `draw` or `erase`."""
        return self._mode

    def setMode(self, mode: str) -> None:
        """Turn the pen on or off, or take the eraser. Raises ValueError."""
        if mode not in MODES:
            raise ValueError(f"The pen has no mode {mode!r}; it has {', '.join(MODES)}.")
        if mode == self._mode:
            return
        self._mode = mode
        self.refreshViews()
        self.modeChanged.emit(mode)

    def escape(self) -> None:
        """Drop the line in hand; without one, turn the pen off."""
        drawing = [view for view in self._views if view.isDrawing]
        for view in drawing:
            view.drop()
        if not drawing:
            self.setMode("off")

    def refreshViews(self) -> None:
        """Follow the views that exist now; wanted after the layout changed, if `sliceViews` does not tell of it itself."""
        wanted = {} if self._mode == "off" else {view.interactor: view for view in self._sliceViews()}
        for penView in self._views:
            if wanted.get(penView.view.interactor) is None or self._mode == "off":
                penView.release()
        self._views = [penView for penView in self._views if penView.view.interactor in wanted]
        known = {penView.view.interactor for penView in self._views}
        self._views += [PenView(view, self) for interactor, view in wanted.items() if interactor not in known]

    def cleanup(self) -> None:
        """Turn the pen off for good."""
        self.setMode("off")
        changed = getattr(self._sliceViews, "changed", None)
        if changed is not None:
            changed.disconnect(self.refreshViews)
        if self._ownsViews and isinstance(self._sliceViews, LayoutViews):
            self._sliceViews.release()

    # What a view tells

    def pressed(self, penView: PenView) -> None:
        """The left button went down over a view."""
        if self._mode == "erase":
            self._erase(penView)
        elif self.structure not in vocabulary():
            self.refused.emit("Choose the structure to draw first.")
        elif penView.view.sliceNode.GetDimensions()[2] > 1:
            self.refused.emit("This view shows several slices at once. Set its light box to 1x1 to draw on it.")
        else:
            penView.begin(vocabulary()[self.structure].color)

    def drawn(self, path: NDArray[np.float64], plane: NDArray[np.float64]) -> None:
        """The left button went up after a line (N, 3) RAS mm on a plane."""
        if len(path) < 2:
            return
        path = onPlane(plane, path)
        if polyline_length(path) < MIN_STROKE_MM:
            self.refused.emit(f"The line is too short: draw at least {MIN_STROKE_MM:.0f} mm.")
            return
        stroke = Stroke(self.structure, plane, _reduced(path), self.meaning)
        self._book.add(stroke)
        self.strokeDrawn.emit(stroke)

    def _erase(self, penView: PenView) -> None:
        view = penView.view
        plane, mouse = view.plane(), np.array([view.interactor.GetEventPosition()], dtype=np.float64)
        distances = {
            stroke.id: float(distance_to([view.toPixels(_closed(stroke))], mouse)[0])
            for entry in self._book.sketches()
            if entry.visible
            for stroke in entry.strokes
            if _isOn(stroke.points, plane)
        }
        nearest = min(distances, key=distances.__getitem__, default=None)
        if nearest is not None and distances[nearest] <= ERASER_PIXELS:
            self._book.removeStroke(nearest)


def _isOn(points: NDArray[np.float64], plane: NDArray[np.float64]) -> bool:
    return bool(np.abs((points - plane[:3, 3]) @ plane[:3, 2]).max() <= ON_PLANE_MM)


def _closed(stroke: Stroke) -> NDArray[np.float64]:
    return np.concatenate([stroke.points, stroke.points[:1]]) if stroke.closesItself else stroke.points


def _reduced(path: NDArray[np.float64]) -> NDArray[np.float64]:
    """The drawn line with as few points as the tolerance allows; a coarser one if it is still too long for Slicer."""
    tolerance = TOLERANCE_MM
    points = simplified(path, tolerance)
    while len(points) > MAX_POINTS:
        tolerance *= 1.5
        points = simplified(path, tolerance)
    if len(points) < MIN_POINTS:  # straight from one event to the next
        points = np.stack([points[0], points.mean(axis=0), points[-1]])
    return points
