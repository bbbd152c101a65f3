"""Stand-ins for the Qt widgets around Slicer's views: they show the view's picture and pass Qt's events on to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from PySide6 import QtCore, QtGui
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from .view3d import ThreeDView
from .views import SliceView

_BUTTONS = {Qt.LeftButton: "Left", Qt.RightButton: "Right", Qt.MiddleButton: "Middle"}
_KEYS = {Qt.Key_Escape: "Escape", Qt.Key_Delete: "Delete", Qt.Key_Backspace: "BackSpace", Qt.Key_Return: "Return", Qt.Key_Space: "space"}
_BAR = 22


class ViewWidget(QWidget):
    """The picture of one view: what `sliceView()` and `threeDView()` return."""

    def __init__(self, view: SliceView | ThreeDView) -> None:
        super().__init__()
        self.view = view
        self._painting = self._paused = False
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.StrongFocus)
        self.setMinimumSize(60, 60)
        self._tags = [
            (view.group, view.group.AddObserver("UpdateEvent", self._on_request)),
            (view.window, view.window.AddObserver("EndEvent", self._on_request)),
        ]

    def close_view(self) -> None:
        for caller, tag in self._tags:
            caller.RemoveObserver(tag)
        self._tags = []
        self.view.close()

    def interactor(self) -> Any:
        return self.view.interactor

    def interactorStyle(self) -> Any:
        return self.view.style

    interactorObserver = interactorStyle

    def renderWindow(self) -> Any:
        return self.view.window

    def displayableManagerByClassName(self, name: str) -> Any:
        return self.view.group.GetDisplayableManagerByClassName(name)

    def scheduleRender(self) -> None:
        self.update()

    def forceRender(self) -> None:
        self.repaint()

    def setRenderPaused(self, paused: bool) -> None:
        self._paused = paused
        self.update()

    def setViewCursor(self, cursor: QtGui.QCursor) -> None:
        self.setCursor(cursor)

    def unsetViewCursor(self) -> None:
        self.unsetCursor()

    def _on_request(self, *_: Any) -> None:
        if not self._painting:
            self.update()

    def resizeEvent(self, _event: Any) -> None:
        self.view.resize(max(self.width, 2), max(self.height, 2))

    def paintEvent(self, _event: Any) -> None:
        if self._paused:
            return
        self._painting = True
        try:
            pixels = np.ascontiguousarray(self.view.image())
        finally:
            self._painting = False
        height, width, _ = pixels.shape
        painter = QtGui.QPainter(self)
        painter.drawImage(0, 0, QtGui.QImage(pixels.data, width, height, 3 * width, QtGui.QImage.Format_RGB888))
        painter.end()

    def _send(self, event: Any, name: str) -> None:
        position, keys = event.position(), event.modifiers()
        ctrl, shift, alt = (bool(keys & key) for key in (Qt.ControlModifier, Qt.ShiftModifier, Qt.AltModifier))
        self.view.interactor.SetAltKey(alt)
        self.view.event(name, round(position.x()), self.height - 1 - round(position.y()), ctrl=ctrl, shift=shift)
        self.update()

    def mousePressEvent(self, event: Any) -> None:
        self._send(event, f"{_BUTTONS[event.button()]}ButtonPressEvent")

    def mouseReleaseEvent(self, event: Any) -> None:
        self._send(event, f"{_BUTTONS[event.button()]}ButtonReleaseEvent")

    def mouseDoubleClickEvent(self, event: Any) -> None:
        self._send(event, f"{_BUTTONS[event.button()]}ButtonDoubleClickEvent")

    def mouseMoveEvent(self, event: Any) -> None:
        self._send(event, "MouseMoveEvent")

    def wheelEvent(self, event: Any) -> None:
        self._send(event, "MouseWheelForwardEvent" if event.angleDelta().y() > 0 else "MouseWheelBackwardEvent")

    def enterEvent(self, event: Any) -> None:
        self._send(event, "EnterEvent")

    def leaveEvent(self, _event: Any) -> None:
        self.view.event("LeaveEvent")

    def keyPressEvent(self, event: Any) -> None:
        key = _KEYS.get(event.key(), event.text())
        keys = event.modifiers()
        self.view.event("KeyPressEvent", ctrl=bool(keys & Qt.ControlModifier), shift=bool(keys & Qt.ShiftModifier), key=key)
        self.update()

    def keyReleaseEvent(self, event: Any) -> None:
        self.view.event("KeyReleaseEvent", key=_KEYS.get(event.key(), event.text()))


class _SliceView(ViewWidget):
    CPP_SIGNALS = ("resized(QSize)",)
    resized = Signal(QtCore.QSize)

    def mrmlSliceNode(self) -> Any:
        return self.view.node

    def sliceLogic(self) -> Any:
        return self.view.logic

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self.resized.emit(self.size)


class _ThreeDView(ViewWidget):
    def mrmlViewNode(self) -> Any:
        return self.view.node

    def cameraNode(self) -> Any:
        return self.view.camera_node

    def resetFocalPoint(self) -> None:
        self.view.fit()
        self.update()

    resetCamera = resetFocalPoint


class _Framed(QWidget):
    """A coloured bar with the view's letter, above the view."""

    def __init__(self, view: ViewWidget, letter: str, colour: str) -> None:
        super().__init__()
        self._bar = QWidget()
        self._bar.setFixedHeight(_BAR)
        self._bar.setStyleSheet(f"background: {colour}; color: black")
        row = QHBoxLayout(self._bar)
        row.setContentsMargins(4, 0, 4, 0)
        row.addWidget(QLabel(letter))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._bar)
        column.addWidget(view, 1)


class SliceController:
    """The slider and the number of a slice view's bar."""

    def __init__(self, bar: QWidget, view: SliceView) -> None:
        self._view = view
        self._slider, self._number = QSlider(Qt.Horizontal), QDoubleSpinBox()
        self._number.setRange(-10000, 10000)
        self._number.setSuffix(" mm")
        self._number.setFixedWidth(96)
        for widget in (self._slider, self._number):
            bar.layout().addWidget(widget)
        self._slider.valueChanged.connect(self._on_slider)
        self._number.valueChanged.connect(self.setSliceOffsetValue)
        self._tag = view.node.AddObserver("ModifiedEvent", self._show)
        self._show()

    def close(self) -> None:
        self._view.node.RemoveObserver(self._tag)

    def mrmlSliceNode(self) -> Any:
        return self._view.node

    def sliceOffsetSlider(self) -> QSlider:
        return self._slider

    def setSliceOffsetValue(self, offset: float) -> None:
        self._view.logic.SetSliceOffset(offset)

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()

    def _on_slider(self, tenths: int) -> None:
        self.setSliceOffsetValue(tenths / 10)

    def _show(self, *_: Any) -> None:
        offset = self._view.logic.GetSliceOffset()
        span = max(150.0, abs(offset) + 50.0)
        for widget in (self._slider, self._number):
            widget.blockSignals(True)
        self._slider.setRange(round(-10 * span), round(10 * span))
        self._slider.setValue(round(10 * offset))
        self._number.setValue(offset)
        for widget in (self._slider, self._number):
            widget.blockSignals(False)


class SliceWidget(_Framed):
    def __init__(self, view: SliceView, colour: str) -> None:
        self._view = _SliceView(view)
        super().__init__(self._view, view.node.GetLayoutLabel(), colour)
        self._controller = SliceController(self._bar, view)

    def close_view(self) -> None:
        self._controller.close()
        self._view.close_view()

    def sliceView(self) -> ViewWidget:
        return self._view

    def sliceController(self) -> SliceController:
        return self._controller

    def sliceLogic(self) -> Any:
        return self._view.view.logic

    def mrmlSliceNode(self) -> Any:
        return self._view.view.node

    def mrmlSliceCompositeNode(self) -> Any:
        return self._view.view.composite

    def interactorStyle(self) -> Any:
        return self._view.interactorStyle()

    def fitSliceToBackground(self) -> None:
        self._controller.fitSliceToBackground()

    def setSliceOffsetValue(self, offset: float) -> None:
        self._controller.setSliceOffsetValue(offset)


class ThreeDWidget(_Framed):
    def __init__(self, view: ThreeDView, colour: str) -> None:
        self._view = _ThreeDView(view)
        super().__init__(self._view, view.name, colour)

    def close_view(self) -> None:
        self._view.close_view()

    def threeDView(self) -> ViewWidget:
        return self._view

    def threeDController(self) -> ViewWidget:
        return self._view  # resetFocalPoint is all that is used of it

    def mrmlViewNode(self) -> Any:
        return self._view.view.node
