"""The table of a cohort's cases: as many rows as there are cases, filled as they come into sight."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from sketch2ct.review.verdict import SCORES

from .OneShot import OneShot
from .ReviewSession import ReviewSession
from .Signal import Signal

COLUMNS = ("thumbnail", "case", "status", "scores", "volume", "dice", "structure", "flags", "description")
_HIDDEN_WHEN_BLIND = ("scores", "structure", "volume", "dice", "flags", "description")
_SORTED_BY = COLUMNS[1:]
_WIDTHS = (100, 78, 70, 46, 58, 38, 104, 220, 320)  # up to the volume they fit into a narrow panel
THUMBNAIL = (96, 32)  # pixels; a third each for axial, coronal and sagittal
_COLOURS = {"accepted": (0, 110, 40), "rejected": (170, 30, 30), "needs_edit": (160, 90, 0), "disputed": (130, 0, 130)}
_WARNING = (160, 70, 0)


class CohortTable:
    """Shows `session.shown` in `table`. `chosen(name)` is emitted when the user goes to another row, `sorted()` when it is sorted anew."""

    def __init__(self, table: Any) -> None:
        self.chosen, self.sorted = Signal(), Signal()
        self._table = table
        self._session: ReviewSession | None = None
        self._names: list[str] = []
        self._filled: set[int] = set()
        self._sorting = ("case", False)
        self._fill = OneShot(self._fillSight)
        table.setIconSize(qt.QSize(*THUMBNAIL))
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(THUMBNAIL[1] + 4)
        for column, width in enumerate(_WIDTHS):
            table.setColumnWidth(column, width)
        header = table.horizontalHeader()
        header.setSectionsClickable(True)
        header.setHighlightSections(False)
        header.connect("sectionClicked(int)", self._onTitle)
        table.connect("currentCellChanged(int,int,int,int)", self._onCell)
        table.verticalScrollBar().connect("valueChanged(int)", lambda *_args: self._fill.startUnlessWaiting())
        table.verticalScrollBar().connect("rangeChanged(int,int)", lambda *_args: self._fill.startUnlessWaiting())

    def show(self, session: ReviewSession | None) -> None:
        """List the cases of a session, or nothing."""
        self._session = session
        self._sorting = ("case", False)
        for column, name in enumerate(COLUMNS):
            self._table.setColumnHidden(column, session is not None and session.isBlind and name in _HIDDEN_WHEN_BLIND)
        self._names = []
        blocked = self._table.blockSignals(True)
        self._table.clearContents()
        self._table.setRowCount(0)
        self._table.horizontalHeader().setSortIndicatorShown(False)
        self._table.blockSignals(blocked)
        self.update()

    def update(self) -> None:
        """The session's order is another, or anything in it: what is in sight is filled anew, the current case marked."""
        names = list(self._session.shown) if self._session is not None else []
        blocked = self._table.blockSignals(True)
        if names != self._names:
            self._names = names
            self._table.clearContents()
            self._table.setRowCount(len(names))
        self._filled.clear()
        self._markCurrent()
        self._table.blockSignals(blocked)
        self._fillSight()

    def reorder(self) -> None:
        """As `update`, if the session shows other cases or in another order; no row is filled anew for nothing."""
        if self._session is not None and self._session.shown != self._names:
            self.update()

    def grow(self) -> None:
        """As `update`, but what is in sight stays where it is when the new cases come at the end."""
        names = list(self._session.shown) if self._session is not None else []
        if names[: len(self._names)] != self._names:
            self.update()
            return
        blocked = self._table.blockSignals(True)
        self._names = names
        self._table.setRowCount(len(names))
        self._table.blockSignals(blocked)
        self._fill.startUnlessWaiting()

    def updateCase(self, name: str) -> None:
        """Fill one row anew."""
        if name in self._names:
            self._filled.discard(self._names.index(name))
            self._fillSight()

    def markCurrent(self) -> None:
        """Select the session's current case, and bring it into sight."""
        blocked = self._table.blockSignals(True)
        self._markCurrent()
        self._table.blockSignals(blocked)
        self._fill.startUnlessWaiting()  # after the views: the thumbnails can wait

    def close(self) -> None:
        """The widgets are about to go."""
        self._fill.stop()
        self._session = None

    def _markCurrent(self) -> None:
        current = self._session.current if self._session is not None else None
        if current in self._names:
            self._table.setCurrentCell(self._names.index(current), 1)  # which scrolls to it
        else:
            self._table.setCurrentCell(-1, -1)

    def _sight(self) -> range:
        """The rows in sight."""
        first = max(self._table.rowAt(1), 0)
        last = self._table.rowAt(max(self._table.viewport().height - 1, 1))
        return range(first, (last if last >= 0 else len(self._names) - 1) + 1)

    def _fillSight(self) -> None:
        if self._session is None:
            return
        blocked = self._table.blockSignals(True)
        for row in self._sight():
            if row not in self._filled and row < len(self._names):
                self._fillRow(row, self._session, self._names[row])
                self._filled.add(row)
        self._table.blockSignals(blocked)

    def _fillRow(self, row: int, session: ReviewSession, name: str) -> None:
        facts, own, status = session.row(name), session.verdict(name), session.status(name)
        scores = [getattr(own, key) for key in SCORES] if own else []
        texts = {
            "case": name,
            "status": statusText(status) if not facts.problem else _("damaged"),
            "scores": " ".join(str(score or "\u2013") for score in scores) if any(scores) else "",
            "structure": facts.structure,
            "volume": f"{facts.volumeMl:.1f} mL" if facts.volumeMl is not None else "",
            "dice": f"{facts.dice:.2f}" if facts.dice is not None else "",
            "flags": facts.flags,
            "description": facts.problem or facts.description,
        }
        if facts.edits:
            texts["case"] = _("{name} (edited)").format(name=name)
        colours = {"status": _COLOURS.get(status), "flags": _WARNING, "case": _WARNING if facts.flags else None}
        for column, key in enumerate(COLUMNS):
            item = self._table.item(row, column)
            if item is None:
                item = qt.QTableWidgetItem()
                self._table.setItem(row, column, item)
            if key == "thumbnail":
                self._setThumbnail(item, name)
                continue
            item.setText(texts[key])
            item.setToolTip(facts.flags if key == "case" and facts.flags else texts[key])  # flags may be out of sight
            colour = _WARNING if facts.problem else colours.get(key)
            item.setForeground(qt.QBrush(qt.QColor(*colour)) if colour else qt.QBrush())

    def _setThumbnail(self, item: Any, name: str) -> None:
        if self._session is None or not item.icon().isNull():
            return
        path = self._session.thumbnail(name)
        picture = qt.QPixmap(str(path)) if path is not None else qt.QPixmap()
        if not picture.isNull():
            icon = qt.QIcon(picture.scaled(*THUMBNAIL, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation))
            icon.addPixmap(icon.pixmap(*THUMBNAIL), qt.QIcon.Selected)  # or a CT would turn blue
            item.setIcon(icon)

    def _onTitle(self, column: int) -> None:
        name = COLUMNS[column]
        if self._session is None or name not in _SORTED_BY:
            return
        self._sorting = (name, self._sorting == (name, False))
        header = self._table.horizontalHeader()
        header.setSortIndicatorShown(True)
        header.setSortIndicator(column, qt.Qt.DescendingOrder if self._sorting[1] else qt.Qt.AscendingOrder)
        self._session.sortBy(*self._sorting)
        self.update()
        self.sorted.emit()

    def _onCell(self, row: int, _column: int, before: int, _columnBefore: int) -> None:
        if row != before and 0 <= row < len(self._names):
            self.chosen.emit(self._names[row])


def statusText(status: str) -> str:
    """A status as the table has it; nothing for cases without one."""
    words = {
        "accepted": _("accepted"),
        "rejected": _("rejected"),
        "needs_edit": _("needs edit"),
        "disputed": _("disputed"),
        "real": _("said real"),
        "synthetic": _("said synthetic"),
    }
    return words.get(status, "")
