"""Stand-in for Slicer's main window: the module's panel on the left, the views on the right, a status bar below."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QMainWindow, QScrollArea, QVBoxLayout, QWidget

_PANEL_WIDTH = 420


class ModuleSelector(QObject):
    """Changes the module in the panel; `selected` lists all that were asked for, also those without a panel here."""

    CPP_SIGNALS = ("moduleSelected(QString)",)
    moduleSelected = Signal(str)

    def __init__(self, window: MainWindow) -> None:
        super().__init__()
        self._window = window
        self.selected: list[str] = []

    @property
    def selectedModule(self) -> str:
        return self.selected[-1] if self.selected else ""

    def selectModule(self, name: str) -> None:
        self.selected.append(name)
        module = slicer.app.moduleManager().module(name)
        self._window.show_panel(module.widgetRepresentation() if module is not None else None, getattr(module, "title", "") or name)
        self.moduleSelected.emit(name)


class MainWindow(QMainWindow):
    def __init__(self, viewport: QWidget) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.setWindowTitle("3D Slicer (stand-in)")
        self._panel: Any = None
        self._selector = ModuleSelector(self)
        self._title = QLabel()
        self._title.setStyleSheet("font-weight: bold; padding: 4px")
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.NoFrame)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarAsNeeded)
        left = QWidget()
        left.setFixedWidth(_PANEL_WIDTH)
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._title)
        column.addWidget(self._scroll, 1)
        centre = QWidget()
        row = QHBoxLayout(centre)
        row.setContentsMargins(2, 2, 2, 2)
        row.addWidget(left)
        row.addWidget(viewport, 1)
        self.setCentralWidget(centre)
        self.statusBar()

    def moduleSelector(self) -> ModuleSelector:
        return self._selector

    def show_panel(self, panel: Any, title: str) -> None:
        """Leave the panel that is shown, and show and enter another, or none."""
        if panel is self._panel:
            return
        if self._panel is not None:
            self._panel.exit()
            self._scroll.takeWidget()
            self._panel.setParent(None)
        self._panel = panel
        self._title.setText(title)
        if panel is not None:
            self._scroll.setWidget(panel)
            panel.show()
            panel.enter()
