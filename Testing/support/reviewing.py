"""A reviewer at the section "Cohort" of the module: opens a folder by its dialog, presses keys, reads the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from module_driver import ModuleDriver
from sketch2ct.review.store import ReviewStore
from sketch2ct.review.verdict import Verdict


class Reviewing:
    """A reviewer at work in the opened cohort `root`."""

    def __init__(self, module: ModuleDriver, root: Path, reviewer: str = "AB") -> None:
        self.module, self.root = module, root
        self.ui.cohortSection.collapsed = False
        self.name(reviewer)
        self.open(root)

    @property
    def ui(self) -> Any:
        return self.module.ui

    @property
    def desktop(self) -> Any:
        return self.module.desktop

    @property
    def panel(self) -> Any:
        return self.module.panel.cohort

    @property
    def store(self) -> ReviewStore:
        """The verdicts as they are on the disk."""
        return ReviewStore(self.root)

    @property
    def current(self) -> str | None:
        """The case that is shown."""
        return self.panel.session.current if self.panel.session else None

    def name(self, reviewer: str) -> None:
        self.ui.reviewerEdit.setText(reviewer)
        self.ui.reviewerEdit.editingFinished.emit()

    def open(self, root: Path) -> None:
        before = len(self.desktop.dialogs)
        self.desktop.dialogs.answer(str(root))
        self.desktop.click(self.ui.cohortOpenButton)
        asked = self.desktop.dialogs.pop(before)  # what comes after it is of interest
        assert asked.kind == "file"

    def press(self, *keys: str, on: Any = "Red") -> None:
        """Press keys in a view, given by its name, or in a widget."""
        for key in keys:
            self.desktop.key(on, key)
        self.desktop.process_events()

    def filter(self, name: str) -> None:
        self.module.choose(self.ui.cohortFilterSelector, name)
        self.desktop.process_events()

    def said(self, number: int, reviewer: str = "AB") -> Verdict | None:
        """The verdict on the disk that counts."""
        return self.store.latest().get((case(number), reviewer))

    def texts(self) -> list[dict[str, str]]:
        """Every row in sight: title -> text."""
        table = self.ui.cohortTable
        self.desktop.process_events()
        titles = [table.horizontalHeaderItem(column).text() for column in range(table.columnCount)]
        rows = []
        for row in range(table.rowCount):
            items = [table.item(row, column) for column in range(len(titles))]
            rows.append({title: item.text() for title, item in zip(titles, items, strict=True) if item and title})
        return rows


def case(number: int) -> str:
    """Its name."""
    return f"case-{number:05d}"
