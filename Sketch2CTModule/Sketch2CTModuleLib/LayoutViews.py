"""The slice views of the application's layout."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from .Signal import Signal
from .Stroke import rigidPlane


class DrawingView(NamedTuple):
    """A slice view to draw on: VTK interactor, slice node, renderer, and how to ask for a new picture."""

    interactor: Any
    sliceNode: Any
    renderer: Any
    requestRender: Callable[[], None]

    def plane(self) -> NDArray[np.float64]:
        """The plane shown, 4x4 SliceToRAS with orthogonal unit axes, mm."""
        return rigidPlane(slicer.util.arrayFromVTKMatrix(self.sliceNode.GetSliceToRAS()))

    def thicknessMm(self) -> float:
        """How far apart the slices of this view are."""
        matrix = self.sliceNode.GetXYToRAS()
        return float(np.linalg.norm([matrix.GetElement(row, 2) for row in range(3)]))

    def toRas(self, x: float, y: float) -> tuple[float, float, float]:
        """The RAS position (mm) of a pixel."""
        return self.sliceNode.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))[:3]

    def toPixels(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 3) RAS mm -> (N, 2) pixels of their projections."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.sliceNode.GetXYToRAS(), inverse)
        matrix = np.array([[inverse.GetElement(row, column) for column in range(4)] for row in range(2)])
        return points @ matrix[:, :3].T + matrix[:, 3]


class LayoutViews:
    """Called, gives a `DrawingView` for every slice view that exists now; none in an application without a main window."""

    def __init__(self, layoutManager: Any = None) -> None:
        self.changed = Signal()  # another layout was chosen, there may be other views
        self._manager = layoutManager or slicer.app.layoutManager()
        self._slot: Callable[..., None] | None = None
        if self._manager is not None:
            self._slot = self._onLayout  # the same object to connect and to disconnect
            self._manager.connect("layoutChanged(int)", self._slot)

    def __call__(self) -> list[DrawingView]:
        """Every slice view, shown or not."""
        return [self._view(name) for name in self._manager.sliceViewNames()] if self._manager is not None else []

    def release(self) -> None:
        """Stop following the layout."""
        if self._slot is not None:
            self._manager.disconnect("layoutChanged(int)", self._slot)
        self._slot = None

    def _view(self, name: str) -> DrawingView:
        widget = self._manager.sliceWidget(name)
        view = widget.sliceView()
        interactor = view.interactor()
        renderer = interactor.GetRenderWindow().GetRenderers().GetFirstRenderer()

        def requestRender() -> None:
            with suppress(ValueError):  # PythonQt's word for a view that the application has deleted meanwhile
                view.scheduleRender()

        return DrawingView(interactor, widget.mrmlSliceNode(), renderer, requestRender)

    def _onLayout(self, *_: Any) -> None:
        self.changed.emit()
