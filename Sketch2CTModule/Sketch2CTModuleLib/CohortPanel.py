"""The section "Cohort": opens a folder of cases, shows one after the other, and keeps what the reviewer says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from sketch2ct.errors import Sketch2CTError

from .CohortEditing import CohortEditing
from .CohortFilters import offerFilters
from .CohortKeys import CohortKeys
from .CohortOpening import askFolder, rememberFolder, showOpened
from .CohortReports import CohortReports
from .CohortTable import CohortTable
from .CohortVerdicts import CohortVerdicts
from .CohortViewer import CohortViewer, sessionText
from .OneShot import OneShot
from .ReviewSession import ReviewSession
from .Signal import Signal
from .WrappedLabel import WrappedLabel

_REVIEWER_SETTING = "Sketch2CT/reviewer"
_READ_MS, _READ_S = 25, 0.01  # how often and how long files are read for the table while nothing else is to be done


class CohortPanel:
    """Ties the widgets of the section to a session and to the case in the scene.

    `changed()` is emitted when another cohort is open, or something is other in it: cases, verdicts, edits.
    """

    def __init__(self, ui: Any, fitter: Any, views: Any = None, viewer: Any = None, reports: Any = None) -> None:
        self._ui = ui
        self.changed = Signal()
        self.session: ReviewSession | None = None
        self.viewer = viewer or CohortViewer(fitter, lambda: self.editing.offer(self._isOffered()))
        self.editing = CohortEditing(ui, self.viewer, self._onKept, lambda: self._showCase(newCase=False))
        self._news = ""  # what the last action did, told with the counts
        self._reports = reports or CohortReports()
        self.table = CohortTable(ui.cohortTable)
        self.verdicts = CohortVerdicts(ui, self.say, self.decide)
        self._label, self._caseLabel, self._keysLabel = (WrappedLabel(x) for x in (ui.cohortLabel, ui.caseLabel, ui.reviewKeysLabel))
        keys = {"N": lambda: self.step(1), "P": lambda: self.step(-1), "K": self.viewer.showSketch, "U": self.undo}
        self.keys = CohortKeys({**keys, **self.verdicts.actions()}, self.verdicts.focusNote, ui.cohortTable)
        self._entered = False
        self._read = OneShot(self._readSome, _READ_MS)
        self._connect(views)
        self._offer()

    def _connect(self, views: Any) -> None:
        ui = self._ui
        ui.reviewerEdit.setText(qt.QSettings().value(_REVIEWER_SETTING, "") or "")
        ui.cohortOpenButton.connect("clicked()", self._onOpen)
        ui.reviewerEdit.connect("editingFinished()", self._onReviewer)
        ui.cohortFilterSelector.connect("currentIndexChanged(int)", self._onFilter)
        ui.cohortMergeButton.connect("clicked()", self._onMerge)
        ui.cohortAgreementButton.connect("clicked()", lambda: self.session and self._reports.agreement(self.session))
        ui.cohortResultButton.connect("clicked()", lambda: self.session and self._reports.blindResult(self.session))
        ui.undoVerdictButton.connect("clicked()", self.undo)
        ui.reviewKeysCheck.connect("toggled(bool)", lambda *_args: self._offerKeys())
        ui.cohortSection.connect("contentsCollapsed(bool)", lambda *_args: self._offerKeys())
        self.table.chosen.connect(self._onChosen)
        if views is not None:
            views.changed.connect(self.viewer.refreshSurfaces)

    # The module

    def setParameters(self, parameters: Any) -> None:
        """None when the scene closes: an edit is kept, and the case is in no node any more."""
        if parameters is None and self.session is not None:
            self._leaveCase()
            self.viewer.forget()
            self._showCase()

    def enter(self) -> None:
        """The user opens the module."""
        self._entered = True
        if self.session is not None:
            self._attempt(self.session.refresh)  # others may have written
            self.table.update()
        self._offer()

    def leave(self) -> None:
        """The user goes to another module, perhaps to edit the mask: the case stays."""
        self._entered = False
        self._offerKeys()

    def close(self) -> None:
        """Keep what is open, and give everything back."""
        self._leaveCase()
        self._read.stop()
        self.keys.close()
        self.table.close()
        self.viewer.close()

    # The cohort

    def open(self, folder: str) -> None:
        """List the cases of a folder and show the first one that is to do. What is wrong with it is told in the panel."""
        if not self._leaveCase():
            return
        self.viewer.end()
        self.session = None
        try:
            self.session = ReviewSession(Path(folder), self._ui.reviewerEdit.text.strip())
        except Sketch2CTError as error:
            self._label.show(str(error))
        else:
            rememberFolder(folder)
            self.viewer.begin(self.session)
        self._showSession()

    def lookForCases(self) -> None:
        """List the cases that a run has completed since the last look."""
        if self.session is not None and self.session.lookForCases():
            self.table.grow()
            if self.session.current is None and self.session.shown:
                self._goTo(self.session.shown[0])
            self._showCounts()
            self._read.startUnlessWaiting()

    def _showSession(self) -> None:
        session, blind = self.session, self.session is not None and self.session.isBlind
        showOpened(self._ui, session)  # first of all: labels need their width to know their height
        offerFilters(self._ui.cohortFilterSelector, blind)
        self.verdicts.setBlind(blind)
        self.editing.setBlind(blind)
        self._ui.cohortResultButton.visible, self._ui.cohortAgreementButton.visible = blind, not blind
        self._keysLabel.show(self.verdicts.keysText())
        self.table.show(session)
        if session is not None:
            self._goTo(session.firstToDo())
            self._read.start()
        else:
            self._showCase()

    # From case to case

    def step(self, by: int) -> None:
        """Go to the next (1) or the previous (-1) case of the list."""
        self._news = ""
        if self.session is not None:
            self._goTo(self.session.neighbour(by))

    def say(self, **changes: Any) -> bool:
        """Keep a verdict on the shown case; whether it is on the disk."""
        images = self.viewer.images
        if self.session is None or images is None or not self.editing.keep():
            return False
        if not self.session.reviewer:
            self._ui.reviewerEdit.setFocus()
        name, version = images.name, self.viewer.version
        kept = self._attempt(lambda: self.session and self.session.say(name, version, **changes))
        self.verdicts.show(self.session.verdict(name), offered=self._isOffered(), newCase=False)
        if not kept:
            return False
        self.table.updateCase(name)
        self._showCounts()
        return True

    def decide(self, **changes: Any) -> bool:
        """Keep a status or a guess, then go on to the next case of the list."""
        session, self._news = self.session, ""
        following = session.neighbour(1) if session is not None else None
        if session is None or not self.say(**changes):
            return False
        session.arrange()
        self.table.reorder()
        if following is not None:
            self._goTo(following)
        else:
            self._news = _("That was the last case of this list.")
            self._showCounts()
        done, total = session.counts()
        if session.isBlind and done == total:
            self._reports.blindResult(session)
        return True

    def undo(self) -> None:
        """Take the reviewer's last verdict back, and show its case."""
        session, self._news = self.session, ""
        if session is None:
            return
        taken: list[str | None] = []
        if not self._attempt(lambda: taken.append(session.undo())):
            return
        if taken[0] is None:
            self._label.show(_("There is nothing to undo."))
            return
        session.arrange()
        self.table.update()
        self._goTo(taken[0])

    def _goTo(self, name: str | None) -> bool:
        """Show a case; False when an edit of the present one could not be kept, which then stays."""
        session = self.session
        if session is None or name is None or not self._leaveCase():
            self.table.markCurrent()
            return False
        session.current = name
        self.viewer.show(name)
        if self.viewer.images is None:
            self.table.updateCase(name)  # it is damaged, as is known now
        self.table.markCurrent()
        self._showCase()
        return True

    def _leaveCase(self) -> bool:
        """Keep the note and the edit of the present case; False when the edit could not be kept."""
        if self.session is None or self.viewer.images is None:
            return True
        self.verdicts.keepNote()
        return self.editing.keep()

    def _onChosen(self, name: str) -> None:
        self._news = ""
        if self.session is not None and name != self.session.current:
            self._goTo(name)

    # Widgets

    def _onOpen(self) -> None:
        if folder := askFolder():
            self.open(folder)

    def _onReviewer(self) -> None:
        name = self._ui.reviewerEdit.text.strip()
        qt.QSettings().setValue(_REVIEWER_SETTING, name)
        if self.session is not None and name != self.session.reviewer:
            self.verdicts.keepNote()  # the former reviewer's
            self.session.reviewer = name
            self.session.arrange()
            self.table.update()
            self._showCase()

    def _onFilter(self, _index: int) -> None:
        if self.session is None:
            return
        self.session.setFilter(self._ui.cohortFilterSelector.currentData or "all")
        self.table.update()
        self._showCounts()
        if self.session.current not in self.session.shown and self.session.shown:
            self._goTo(self.session.shown[0])

    def _onMerge(self) -> None:
        if self.session is not None and self._reports.merge(self.session):
            self.table.update()
            self._showCase()

    def _onKept(self, name: str, version: int) -> None:
        self._news = _("The edited mask of {case} was kept as version {n}.").format(case=name, n=version)
        self.table.updateCase(name)

    def _readSome(self) -> None:
        if self.session is not None:
            waiting = self.viewer.tend()
            if not self.session.readSome(_READ_S) or waiting:
                self._read.start()

    def _attempt(self, action: Any) -> bool:
        """Whether `action` went well; what went wrong is told in the panel."""
        try:
            action()
        except Sketch2CTError as error:
            self._label.show(f"<b>{error.message}</b> {error.hint}")
            return False
        return True

    def _showCase(self, *, newCase: bool = True) -> None:
        session, name = self.session, self.session.current if self.session is not None else None
        verdict = session.verdict(name) if session is not None and name is not None else None
        self.verdicts.show(verdict, offered=self._isOffered(), newCase=newCase)
        self._caseLabel.show(self.viewer.text())
        self._showCounts()
        self._offer()
        if session is not None:
            self._read.startUnlessWaiting()

    def _showCounts(self) -> None:
        if self.session is not None:
            self._label.show(f"{self._news} {sessionText(self.session)}".strip())
        self.changed.emit()

    def _isOffered(self) -> bool:
        return self.session is not None and self.viewer.images is not None and self.session.isWritable

    def _offer(self) -> None:
        ui, session = self._ui, self.session
        ui.undoVerdictButton.enabled = ui.cohortMergeButton.enabled = session is not None and session.isWritable
        ui.cohortAgreementButton.enabled = session is not None and not session.isBlind
        self.editing.offer(self._isOffered())
        self._offerKeys()

    def _offerKeys(self) -> None:
        on = self._entered and self.session is not None and self._ui.reviewKeysCheck.checked and not self._ui.cohortSection.collapsed
        self.keys.enabled = on
