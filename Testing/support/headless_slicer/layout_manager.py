"""Stand-in for the layout manager: which views there are, and which of them are shown."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6.QtCore import Property, QObject, Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from .view3d import ThreeDView
from .view_widgets import SliceWidget, ThreeDWidget
from .views import LAYOUT, SliceView, open_layout

_COLOURS = {"Red": "#f3634a", "Yellow": "#edd54c", "Green": "#6eb04b"}
_OTHER_COLOUR = "#c0a080"
_3D = "3D"
_3D_COLOUR = "#9694cf"
_node = slicer.vtkMRMLLayoutNode
# Rows of views; a layout that is not here is shown as four-up.
_LAYOUTS = {
    _node.SlicerLayoutFourUpView: (("Red", _3D), ("Green", "Yellow")),
    _node.SlicerLayoutTwoOverTwoView: (("Red", "Green"), ("Yellow", "Slice4")),
    _node.SlicerLayoutOneUpRedSliceView: (("Red",),),
    _node.SlicerLayoutOneUpYellowSliceView: (("Yellow",),),
    _node.SlicerLayoutOneUpGreenSliceView: (("Green",),),
    _node.SlicerLayoutOneUp3DView: ((_3D,),),
    _node.SlicerLayoutSideBySideView: (("Red", "Yellow"),),
}


class LayoutManager(QObject):
    """Red, Green and Yellow slice views and one 3D view; a layout with another slice view adds it, for good as in Slicer."""

    CPP_SIGNALS = ("layoutChanged(int)",)
    layoutChanged = Signal(int)
    threeDViewCount = 1
    tableViewCount = plotViewCount = 0

    def __init__(self, scene: Any, app_logic: Any) -> None:
        super().__init__()
        self._scene, self._logic = scene, app_logic
        views = open_layout(scene, app_logic)
        self._slices = {name: SliceWidget(view, _COLOURS[name]) for name, view in views.items()}
        self._threeD = ThreeDWidget(ThreeDView(scene, app_logic), _3D_COLOUR)
        self._viewport = QWidget()
        self._grid = QGridLayout(self._viewport)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(2)
        self._layout = _node.SlicerLayoutFourUpView
        self._arrange()

    def close(self) -> None:
        for widget in (*self._slices.values(), self._threeD):
            widget.close_view()

    def viewport(self) -> QWidget:
        return self._viewport

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slices)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        return self._slices.get(name)

    def threeDWidget(self, index: int) -> ThreeDWidget | None:
        return self._threeD if index == 0 else None

    def mrmlSliceLogics(self) -> Any:
        return self._logic.GetSliceLogics()

    def activeThreeDRenderer(self) -> Any:
        return self._threeD.threeDView().view.renderer

    def resetSliceViews(self) -> None:
        for widget in self._slices.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        self._threeD.threeDView().resetFocalPoint()

    def pauseRender(self) -> None:
        self._pause(True)

    def resumeRender(self) -> None:
        self._pause(False)

    def setRenderPaused(self, paused: bool) -> None:
        self._pause(paused)

    def _pause(self, paused: bool) -> None:
        for widget in self._slices.values():
            widget.sliceView().setRenderPaused(paused)
        self._threeD.threeDView().setRenderPaused(paused)

    def setLayout(self, layout: int) -> None:
        if layout == self._layout:
            return
        self._layout = layout
        self._arrange()
        self.layoutChanged.emit(layout)

    layout = Property(int, lambda self: self._layout, setLayout)

    def _arrange(self) -> None:
        shown = _LAYOUTS.get(self._layout, _LAYOUTS[_node.SlicerLayoutFourUpView])
        for name in (name for row in shown for name in row):
            if name != _3D and name not in self._slices:
                view = SliceView(self._scene, self._logic, name, orientation=LAYOUT["Red"])
                self._slices[name] = SliceWidget(view, _OTHER_COLOUR)
        widgets = {**self._slices, _3D: self._threeD}
        for widget in widgets.values():
            self._grid.removeWidget(widget)
            widget.setParent(self._viewport)
            widget.hide()
        for row, names in enumerate(shown):
            for column, name in enumerate(names):
                self._grid.addWidget(widgets[name], row, column)
                widgets[name].show()
        for name, widget in self._slices.items():
            widget.mrmlSliceNode().SetMappedInLayout(any(name in row for row in shown))
