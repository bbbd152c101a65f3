"""Opening a cohort: asks for its folder, and shows what there is to do with one that is open."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .ReviewSession import ReviewSession

_FOLDER_SETTING = "Sketch2CT/cohortFolder"


def askFolder() -> str:
    """The folder that the user chooses, the last one to begin with; empty when the dialog is cancelled."""
    last = qt.QSettings().value(_FOLDER_SETTING, "") or ""
    return qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Open a cohort"), last)


def rememberFolder(folder: str) -> None:
    """Begin there the next time."""
    qt.QSettings().setValue(_FOLDER_SETTING, folder)


def showOpened(ui: Any, session: ReviewSession | None) -> None:
    """Show the table and all that is about cases only while a cohort is open."""
    for widget in (ui.reviewBox, ui.exportButton):
        widget.visible = session is not None
    ui.cohortLabel.toolTip = str(session.cohort.root) if session is not None else ""
