"""A desktop to test a module's panel and its work on the views: main window, module panel, three slice views, one 3D view.

    app = bootstrap(folder, qt=True)
    desktop = Desktop(app)
    panel = desktop.open_module("Sketch2CTModule/Sketch2CTModule.py")   # the module's Python widget
    desktop.click(panel.ui.drawButton)
    desktop.drag("Red", [(40, 40), (60, 42), (60, 60)])
    desktop.screenshot("panel.png")
    desktop.close()

Mouse positions are those of Qt in the view: pixels, x to the right and y down from the upper left corner of the picture.
Everything goes through Qt's events, as from a user's hand; nothing needs a display.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QKeySequence, QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QCheckBox, QRadioButton

from . import dialogs
from .bootstrap import HeadlessSlicer
from .layout_manager import LayoutManager
from .main_window import MainWindow
from .scripted_module import qSlicerScriptedLoadableModule

_BUTTONS = {"Left": Qt.LeftButton, "Right": Qt.RightButton, "Middle": Qt.MiddleButton}
_MODIFIERS = {"ctrl": Qt.ControlModifier, "shift": Qt.ShiftModifier, "alt": Qt.AltModifier}
_CHECK_BOX = 8  # pixels from the left edge
Position = tuple[float, float]


class Desktop:
    """See the head of this file. `dialogs` holds what would have been shown, `selected` the modules that were asked for."""

    def __init__(self, app: HeadlessSlicer, size: tuple[int, int] = (1280, 800)) -> None:
        self.app = app.app
        self.scene, self.app_logic = app.scene, app.app_logic
        self.dialogs = dialogs.start()
        self.layout = LayoutManager(app.scene, app.app_logic)
        self.window = MainWindow(self.layout.viewport())
        self.app.show(self.layout, self.window)
        self._loaded: list[qSlicerScriptedLoadableModule] = []
        self._folders: list[str] = []
        self.window.resize(*size)
        self.window.show()
        self.window.activateWindow()
        self.process_events()

    @property
    def selected(self) -> list[str]:
        return self.window.moduleSelector().selected

    @property
    def views(self) -> dict[str, Any]:
        """The `views.SliceView` behind each slice view, and the `view3d.ThreeDView` as "3D"."""
        views = {name: self.layout.sliceWidget(name).sliceView().view for name in self.layout.sliceViewNames()}
        return {**views, "3D": self.layout.threeDWidget(0).threeDView().view}

    def load_module(self, path: Path | str) -> qSlicerScriptedLoadableModule:
        """Load a scripted module from its file, as Slicer does at its start; its folder joins the Python path."""
        folder = str(Path(path).resolve().parent)
        if folder not in sys.path:
            sys.path.insert(0, folder)
            self._folders.append(folder)
        module = qSlicerScriptedLoadableModule(str(Path(path).resolve()))
        self._loaded.append(module)
        setattr(slicer.modules, module.name.lower(), module)
        self.app.emit("startupCompleted()")
        return module

    def open_module(self, path_or_name: Path | str) -> Any:
        """Show the panel of a module, which is loaded first if a path is given. Returns its Python widget."""
        name = Path(path_or_name).stem
        if slicer.app.moduleManager().module(name) is None:
            self.load_module(path_or_name)
        slicer.util.selectModule(name)
        self.process_events()
        return slicer.app.moduleManager().module(name).widgetRepresentation().self()

    def widget(self, view: str) -> Any:
        """The Qt widget that shows a view ("Red", "3D", ...) and takes the mouse."""
        return self.layout.threeDWidget(0).threeDView() if view == "3D" else self.layout.sliceWidget(view).sliceView()

    def position(self, view: str, ras: Sequence[float] | NDArray[np.float64]) -> tuple[int, int]:
        """Where a RAS position (mm) is in a slice view, to press the mouse there."""
        row, column = self.views[view].to_pixel(np.asarray(ras, dtype=float))
        return column, row

    def ras(self, view: str, position: Position) -> NDArray[np.float64]:
        """The RAS position (mm) under a mouse position in a slice view."""
        x, y = position
        node = self.views[view].node
        return np.array(node.GetXYToRAS().MultiplyPoint((x, self.widget(view).height - 1 - y, 0.0, 1.0))[:3])

    def move(self, view: str, position: Position, button: str = "", **modifiers: bool) -> None:
        self._mouse(view, QEvent.MouseMove, position, "", button, modifiers)

    def press(self, view: str, position: Position, button: str = "Left", **modifiers: bool) -> None:
        self._mouse(view, QEvent.MouseButtonPress, position, button, button, modifiers)

    def release(self, view: str, position: Position, button: str = "Left", **modifiers: bool) -> None:
        self._mouse(view, QEvent.MouseButtonRelease, position, button, "", modifiers)

    def drag(self, view: str, path: Sequence[Position], button: str = "Left", **modifiers: bool) -> None:
        """Move to the path's start, press there, follow the path, release at its end; modifiers: `ctrl`, `shift`, `alt`."""
        self.move(view, path[0], **modifiers)
        self.press(view, path[0], button, **modifiers)
        for position in path[1:]:
            self.move(view, position, button, **modifiers)
            self.process_events()
        self.release(view, path[-1], button, **modifiers)
        self.process_events()

    def wheel(self, view: str, position: Position, steps: int, **modifiers: bool) -> None:
        """Turn the wheel, away from the user if `steps` is positive."""
        widget = self.widget(view)
        point = QPointF(*position)
        for _ in range(abs(steps)):
            turn = QPoint(0, 120 if steps > 0 else -120)
            event = QWheelEvent(point, widget.mapToGlobal(point), QPoint(), turn, Qt.NoButton, _keys(modifiers), Qt.NoScrollPhase, False)
            QCoreApplication.sendEvent(widget, event)
        self.process_events()

    def click(self, widget: Any, button: str = "Left", **modifiers: bool) -> None:
        """Press and release the mouse on a widget of the panel: on a check box's box, else in the middle."""
        middle = widget.rect.center()
        if isinstance(widget, QCheckBox | QRadioButton):
            middle.setX(_CHECK_BOX)
        QTest.mouseClick(widget, _BUTTONS[button], _keys(modifiers), middle)
        self.process_events()

    def type(self, widget: Any, text: str) -> None:
        """Type at the end of what is in a text field."""
        widget.setFocus()
        QTest.keyClicks(widget, text)
        self.process_events()

    def key(self, target: Any, keys: str) -> None:
        """Press a key or a combination ("Esc", "Ctrl+Z") in a widget, or in a view given by its name. Shortcuts hear it too."""
        widget = self.widget(target) if isinstance(target, str) else target
        widget.setFocus()
        combination = QKeySequence(keys)[0]
        QTest.keyClick(widget, combination.key(), combination.keyboardModifiers())
        self.process_events()

    def process_events(self) -> None:
        self.app.processEvents()

    def wait(self, condition: Callable[[], Any], seconds: float = 10.0) -> bool:
        """Let the application run until the condition holds; False if it did not in that time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            QTest.qWait(5)
        return True

    def screenshot(self, path: Path | str | None = None, widget: Any = None) -> NDArray[np.uint8]:
        """The whole window, or one widget, as (rows, columns, 3); also written as a PNG if a path is given."""
        self.process_events()
        image = (widget or self.window).grab().toImage().convertToFormat(QImage.Format_RGB888)
        if path is not None and not image.save(str(path)):
            raise OSError(f"Cannot write {path}")
        rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
        return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()

    def close(self) -> None:
        """End as Slicer does: aboutToQuit, then every module is told and cleaned up, then windows and views go."""
        if self.app.mainWindow() is not self.window:
            return
        self.app.end()
        for module in self._loaded:
            self.app.moduleManager().emit("moduleAboutToBeUnloaded(QString)", module.name)
        self.layout.close()
        self.app.show(None, None)
        self.window.close()
        self.window.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.DeferredDelete)
        for module in self._loaded:
            sys.modules.pop(module.name, None)
        for folder in self._folders:
            sys.path.remove(folder)
        self._loaded, self._folders = [], []

    def _mouse(self, view: str, kind: Any, position: Position, button: str, held: str, modifiers: dict[str, bool]) -> None:
        widget = self.widget(view)
        point = QPointF(*position)
        if kind == QEvent.MouseButtonPress:
            widget.setFocus()
        event = QMouseEvent(
            kind,
            point,
            QPointF(widget.mapToGlobal(point)),
            _BUTTONS.get(button, Qt.NoButton),
            _BUTTONS.get(held, Qt.NoButton),
            _keys(modifiers),
        )
        QCoreApplication.sendEvent(widget, event)


def _keys(modifiers: dict[str, bool]) -> Any:
    keys = Qt.NoModifier
    for name, pressed in modifiers.items():
        if pressed:
            keys |= _MODIFIERS[name]
    return keys
