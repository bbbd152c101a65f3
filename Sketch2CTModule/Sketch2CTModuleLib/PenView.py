"""The pen over one slice view: which events are the pen's, and the line in hand."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
import vtk

from .LayoutViews import DrawingView
from .LineActor import Color
from .StrokeOverlay import StrokeOverlay

if TYPE_CHECKING:
    from .SketchPen import SketchPen

_PRIORITY = 10.0  # before Slicer's own interactor style, whose observers have priority 0
_OURS_WHILE_HELD = (
    "RightButtonPressEvent",
    "RightButtonReleaseEvent",
    "RightButtonDoubleClickEvent",
    "MiddleButtonPressEvent",
    "MiddleButtonReleaseEvent",
    "MiddleButtonDoubleClickEvent",
    "MouseWheelForwardEvent",
    "MouseWheelBackwardEvent",
    "MouseWheelLeftEvent",
    "MouseWheelRightEvent",
    "KeyReleaseEvent",
    "CharEvent",
)


class PenView:
    """Observes the interactor of `view` until `release` and tells `pen` what the user does there.

    An event that is the pen's is kept from everybody else; all other events pass.
    """

    def __init__(self, view: DrawingView, pen: SketchPen) -> None:
        self.view = view
        self._pen = pen
        self._held = False  # the left button went down for the pen
        self._drawing = False
        self._path = array("d")  # RAS mm, one point after the other; a list of tuples would set off garbage collections
        self._at: tuple[int, int] | None = None
        self._plane = np.eye(4)
        self._overlay = StrokeOverlay(view)
        self._tags: dict[str, int] = {}
        self._observe("LeftButtonPressEvent", self._onPress)
        self._observe("LeftButtonDoubleClickEvent", self._onDoubleClick)
        self._observe("MouseMoveEvent", self._onMove)
        self._observe("LeftButtonReleaseEvent", self._onRelease)
        self._observe("KeyPressEvent", self._onKey)
        for name in _OURS_WHILE_HELD:
            self._observe(name, self._isHeld)
        self._sliceTag = view.sliceNode.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onSlice)

    @property
    def isDrawing(self) -> bool:
        """Whether a line is in hand."""
        return self._drawing

    def release(self) -> None:
        """Drop the line in hand, stop observing and leave nothing in the view."""
        self.drop()
        for tag in self._tags.values():
            self.view.interactor.RemoveObserver(tag)
        self._tags = {}
        self.view.sliceNode.RemoveObserver(self._sliceTag)
        self._overlay.remove()
        self.view.requestRender()

    def drop(self) -> None:
        """Forget the line in hand; the button that is still down stays the pen's until it is let go."""
        self._drawing, self._path = False, array("d")
        self._overlay.drop()
        self.view.requestRender()

    def _observe(self, name: str, handler: Any) -> None:
        def onEvent(interactor: Any, _event: str) -> None:
            command = interactor.GetCommand(self._tags[name])  # before the handler, which may turn the pen off
            if handler():
                command.SetAbortFlag(1)

        self._tags[name] = self.view.interactor.AddObserver(name, onEvent, _PRIORITY)

    # Each handler returns whether the event is the pen's.

    def _onPress(self) -> bool:
        self._held = False  # or the release of the last press was lost
        if self._drawing:
            self.drop()
        if self._isOthers():
            return False
        self._held = True
        self._pen.pressed(self)
        return True

    def _onDoubleClick(self) -> bool:
        return self._held or self._onPress()  # it comes after a second press, or in its place

    def _onMove(self) -> bool:
        if self._drawing:
            self._follow()
        return self._held

    def _onRelease(self) -> bool:
        if not self._held:
            return False
        self._held = False
        if self._drawing:
            self._follow()
            path = np.array(self._path).reshape(-1, 3)
            self.drop()
            self._pen.drawn(path, self._plane)
        return True

    def _onKey(self) -> bool:
        if self.view.interactor.GetKeySym() == "Escape":
            self._pen.escape()
            return True
        return self._held

    def _isHeld(self) -> bool:
        return self._held

    def _isOthers(self) -> bool:
        """A press with a modifier key, or while another tool of the mouse is chosen in Slicer's toolbar."""
        interactor = self.view.interactor
        if interactor.GetControlKey() or interactor.GetShiftKey() or interactor.GetAltKey():
            return True
        mouse = self.view.sliceNode.GetInteractionNode()
        return bool(mouse) and mouse.GetCurrentInteractionMode() in (mouse.Place, mouse.AdjustWindowLevel)

    # The line in hand

    def begin(self, color: Color) -> None:
        """Begin a line at the mouse."""
        self._plane = self.view.plane()
        x, y = self._at = self.view.interactor.GetEventPosition()
        self._drawing, self._path = True, array("d", self.view.toRas(x, y))
        self._overlay.begin(x, y, color)

    def _follow(self) -> None:
        at = self.view.interactor.GetEventPosition()
        if at == self._at:
            return
        self._at = at
        self._path.extend(self.view.toRas(*at))
        self._overlay.append(*at)
        self.view.requestRender()

    def _onSlice(self, *_: Any) -> None:
        if self._drawing:
            self._overlay.redraw(np.array(self._path).reshape(-1, 3))
