"""Straight lines over a slice view, in pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray

Color = tuple[int, int, int]  # 0-255
DASH_PIXELS, BREAK_PIXELS = 7.0, 5.0
_MAX_DASHES = 400
_RIM_PIXELS = 2.0
_RIM_OPACITY = 0.55


class LineActor:
    """Segments of any colour and opacity, `width` pixels wide; a dark rim keeps pale ones readable on bone."""

    def __init__(self, width: float, rim: bool = True) -> None:
        self._points, self._cells, self._data = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkPolyData()
        self._data.SetPoints(self._points)
        self._data.SetLines(self._cells)
        self._fills, self._rims = _rgba("fill"), _rgba("rim")
        for colors in (self._fills, self._rims):
            self._data.GetCellData().AddArray(colors)
        self._actors = [self._actor(width + _RIM_PIXELS, "rim")] if rim else []
        self._actors.append(self._actor(width, "fill"))

    def addTo(self, renderer: Any) -> None:
        """Show the lines in a view."""
        for actor in self._actors:
            renderer.AddViewProp(actor)

    def removeFrom(self, renderer: Any) -> None:
        """Show them there no more."""
        for actor in self._actors:
            renderer.RemoveViewProp(actor)

    def clear(self) -> None:
        """Remove all segments."""
        for part in (self._points, self._cells, self._fills, self._rims):
            part.Reset()
        self._touch()

    def begin(self, x: float, y: float) -> None:
        """Remove all segments and set where the first one begins."""
        self.clear()
        self._points.InsertNextPoint(x, y, 0.0)

    def goOn(self, x: float, y: float, color: Color, opacity: float = 1.0) -> None:
        """Add a segment from the last point to this one."""
        end = self._points.InsertNextPoint(x, y, 0.0)
        self._join(end - 1, end, color, opacity)
        self._touch()

    def addLines(self, lines: NDArray[np.float64], color: Color, opacity: float = 1.0) -> None:
        """Add separate segments, (N, 2 ends, 2)."""
        for start, end in lines.tolist():
            first = self._points.InsertNextPoint(*start, 0.0)
            self._join(first, self._points.InsertNextPoint(*end, 0.0), color, opacity)
        self._touch()

    def addDashes(self, lines: NDArray[np.float64], color: Color, opacity: float = 1.0) -> None:
        """Add separate dashed lines, (N, 2 ends, 2)."""
        for start, end in lines:
            self.addLines(dashes(start, end), color, opacity)

    def _join(self, start: int, end: int, color: Color, opacity: float) -> None:
        self._cells.InsertNextCell(2)
        self._cells.InsertCellPoint(start)
        self._cells.InsertCellPoint(end)
        self._fills.InsertNextTuple4(*color, 255 * opacity)
        self._rims.InsertNextTuple4(0, 0, 0, 255 * opacity * _RIM_OPACITY)

    def _actor(self, width: float, colors: str) -> Any:
        mapper = vtk.vtkPolyDataMapper2D()
        mapper.SetInputData(self._data)
        mapper.SetScalarModeToUseCellFieldData()
        mapper.ColorByArrayComponent(colors, 0)
        mapper.SetColorModeToDefault()
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        actor.PickableOff()
        actor.GetProperty().SetLineWidth(width)
        return actor

    def _touch(self) -> None:
        for part in (self._points, self._cells, self._fills, self._rims, self._data):
            part.Modified()


def dashes(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    """A straight line from pixel (2,) to pixel (2,) as dashes (N, 2 ends, 2)."""
    length = float(np.linalg.norm(end - start))
    period = max(DASH_PIXELS + BREAK_PIXELS, length / _MAX_DASHES)
    begins = np.arange(0.0, length, period)
    ends = np.minimum(begins + DASH_PIXELS, length)
    direction = (end - start) / max(length, 1e-9)
    return start + np.stack([begins, ends], axis=1)[:, :, None] * direction


def _rgba(name: str) -> Any:
    colors = vtk.vtkUnsignedCharArray()
    colors.SetNumberOfComponents(4)
    colors.SetName(name)
    return colors
