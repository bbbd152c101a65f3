"""The section "Draw": structure, pen, eraser, undo, and the table of sketches."""

from __future__ import annotations

from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from sketch2ct.anatomy import vocabulary
from sketch2ct.errors import Sketch2CTError
from sketch2ct.geometry import ORIENTATIONS, Plane

from .BundleList import bundleFolder, structureChoices
from .ComboBinding import ComboBinding
from .Paths import resourcesFolder

_COLUMNS = ("structure", "plane", "length", "eye", "delete")
_ROW_PIXELS = 22
_GAP_MM = 0.5  # shorter ones are not worth a word
_ICONS = {"drawButton": "pen", "eraseButton": "eraser", "undoButton": "undo", "redoButton": "redo", "clearButton": "clear"}


class DrawPanel:
    """Ties the widgets of the section to the sketch book, the pen and the canvas."""

    def __init__(self, ui: Any, book: Any, pen: Any, canvas: Any, fitter: Any) -> None:
        self._ui, self._book, self._pen, self._canvas, self._fitter = ui, book, pen, canvas, fitter
        self._parameters: Any = None
        self._message = ""
        self._structures = ComboBinding(ui.structureSelector, "structure", [], self._onStructure)
        meanings = [(_("Outline on the slice"), "cross_section"), (_("Silhouette"), "silhouette")]
        self._meanings = ComboBinding(ui.meaningSelector, "meaning", meanings, self._onPenChoice)
        self._setUpTable()
        for button, name in _ICONS.items():
            getattr(ui, button).setIcon(icon(name))
        ui.drawButton.connect("toggled(bool)", lambda on: self._setMode("draw", on))
        ui.eraseButton.connect("toggled(bool)", lambda on: self._setMode("erase", on))
        ui.undoButton.connect("clicked()", book.undo)
        ui.redoButton.connect("clicked()", book.redo)
        ui.clearButton.connect("clicked()", book.clear)
        ui.canvasButton.connect("toggled(bool)", self._onCanvas)
        book.changed.connect(self._onBook)
        pen.modeChanged.connect(self._onMode)
        pen.refused.connect(self._onRefused)

    def setParameters(self, parameters: Any) -> None:
        """Bind to another parameter node, or to None."""
        self._parameters = parameters
        if parameters is not None:
            self._structures.setChoices(structureChoices(parameters.bundle))
        for binding in (self._structures, self._meanings):
            binding.setParameters(parameters)
        self._onPenChoice()
        self.update()
        self._onBook()

    def update(self) -> None:
        """Show the parameters as they are."""
        self._structures.update()
        self._meanings.update()
        blocked = self._ui.canvasButton.blockSignals(True)
        self._ui.canvasButton.checked = self._canvas.node() is not None
        self._ui.canvasButton.blockSignals(blocked)

    def _onBook(self) -> None:
        """Show the sketches as they are."""
        ui, entries = self._ui, self._book.sketches()
        ui.undoButton.enabled, ui.redoButton.enabled = self._book.canUndo, self._book.canRedo
        ui.clearButton.enabled = bool(entries)
        ui.sketchTable.setRowCount(len(entries))
        for row, entry in enumerate(entries):
            self._fillRow(row, entry)
        self._showHint(entries)

    def _fillRow(self, row: int, entry: Any) -> None:
        structure, silhouette = vocabulary()[entry.structure], entry.meaning == "silhouette"
        length = tip = _("{mm:.0f} mm").format(mm=entry.lengthMm)
        if entry.gapMm >= _GAP_MM:  # in few signs: the table is narrow
            length = _("{mm:.0f} + {gap:.0f} mm").format(mm=entry.lengthMm, gap=entry.gapMm)
            tip = _("{mm:.0f} mm drawn, {gap:.0f} mm to close it").format(mm=entry.lengthMm, gap=entry.gapMm)
        name = _("{structure} (silhouette)").format(structure=structure.display) if silhouette else structure.display
        cells = (
            (name, name, None),
            (entry.planeLabel, entry.planeLabel, None),
            (length, tip, None),
            ("", _("Show or hide this sketch"), "eye" if entry.visible else "eye-off"),
            ("", _("Delete this sketch; can be undone"), "delete"),
        )
        for column, (text, tip, picture) in enumerate(cells):
            item = qt.QTableWidgetItem(text)
            item.setToolTip(tip)
            if picture is not None:
                item.setIcon(icon(picture))
            self._ui.sketchTable.setItem(row, column, item)
        self._ui.sketchTable.item(row, 0).setForeground(qt.QBrush(qt.QColor(*_readable(structure.color))))

    def hideGuide(self) -> None:
        """A result is shown: the average anatomy would be in its way. The pen brings it back."""
        self._canvas.setGuideVisible(False)

    def leave(self) -> None:
        """The user goes to another module: the pen is laid down."""
        self._pen.setMode("off")

    def _setUpTable(self) -> None:
        table = self._ui.sketchTable
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(_ROW_PIXELS)
        header = table.horizontalHeader()
        header.setStretchLastSection(False)
        header.setMinimumSectionSize(24)
        header.setSectionResizeMode(0, qt.QHeaderView.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        for column in (3, 4):
            header.setSectionResizeMode(column, qt.QHeaderView.Fixed)
            table.setColumnWidth(column, 28)
        table.connect("cellClicked(int,int)", self._onCell)

    def _onCell(self, row: int, column: int) -> None:
        entries = self._book.sketches()
        if row >= len(entries):
            return
        entry = entries[row]
        if _COLUMNS[column] == "eye":
            self._book.setVisible(entry, not entry.visible)
        elif _COLUMNS[column] == "delete":
            self._book.removeSketch(entry)
        else:
            points = np.concatenate([stroke.points for stroke in entry.strokes])
            self._fitter.jumpTo(entry.plane, (points.min(axis=0) + points.max(axis=0)) / 2)

    def _setMode(self, mode: str, on: bool) -> None:
        self._message = ""
        if on or self._pen.mode == mode:
            self._pen.setMode(mode if on else "off")

    def _onMode(self, mode: str) -> None:
        if mode == "draw":
            self._canvas.setGuideVisible(True)
        for button, own in ((self._ui.drawButton, "draw"), (self._ui.eraseButton, "erase")):
            blocked = button.blockSignals(True)
            button.checked = mode == own
            button.blockSignals(blocked)
        self._showHint(self._book.sketches())

    def _onRefused(self, message: str) -> None:
        self._message = message
        self._showHint(self._book.sketches())

    def _onPenChoice(self) -> None:
        if self._parameters is not None:
            self._pen.structure, self._pen.meaning = self._parameters.structure, self._parameters.meaning

    def _onStructure(self) -> None:
        """On the canvas, go where the structure usually lies, unless something is drawn already."""
        self._onPenChoice()
        centre = self._canvas.centreOf(self._parameters.structure) if self._canvas.node() is not None else None
        if centre is not None and not self._book.strokes():
            for orientation in ORIENTATIONS:
                self._fitter.jumpTo(Plane.named(orientation, centre).matrix, centre)

    def _onCanvas(self, on: bool) -> None:
        if self._parameters is None:
            return
        with slicer.util.tryWithErrorDisplay(_("The empty canvas could not be made."), waitCursor=True):
            if on:
                self._canvas.show(bundleFolder(self._parameters.bundle))
                self._parameters.frameVolume = self._canvas.node()
                self._onStructure()
            else:
                self._parameters.frameVolume = None
                self._canvas.remove()
        self.update()

    def _showHint(self, entries: list[Any]) -> None:
        self._ui.drawHint.text = self._message or self._problem() or self._advice(entries)

    def _problem(self) -> str:
        """Why the sketches cannot be used as they are; empty without sketches, or when they can."""
        if not self._book.strokes():
            return ""
        try:
            self._book.requestSketches()
        except Sketch2CTError as error:
            return str(error)
        return ""

    def _advice(self, entries: list[Any]) -> str:
        if self._pen.mode == "draw":
            return _("Hold the left mouse button on a slice and draw the outline. Esc leaves the pen.")
        if self._pen.mode == "erase":
            return _("Click a stroke to remove it. Esc leaves the eraser.")
        if not entries:
            return _("Press Draw and outline the structure on any slice, or only describe it below.")
        open_ = [entry for entry in entries if entry.gapMm >= _GAP_MM]
        if open_:
            return _("The dashed line closes the outline: {mm:.0f} mm.").format(mm=max(entry.gapMm for entry in open_))
        return _("Points of a stroke can be dragged. A second sketch on another plane helps most.")


def icon(name: str) -> qt.QIcon:
    """One of the extension's own icons."""
    return qt.QIcon(str(resourcesFolder() / "Icons" / f"{name}.svg"))


def _readable(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """A structure's colour, darkened until it can be read on a light table."""
    red, green, blue = color
    bright = 0.3 * red + 0.59 * green + 0.11 * blue
    factor = min(1.0, 110 / max(bright, 1))
    return round(red * factor), round(green * factor), round(blue * factor)
