"""The buttons of the section "Cohort" that make cases: a form, a run in another process, and how far it is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from sketch2ct.cohort.case import COHORT
from sketch2ct.errors import BadRequest, Sketch2CTError

from .CohortJob import CohortJob, JobEnd
from .CohortMakeForm import CohortMakeForm
from .CohortProgress import CohortProgress, errorText
from .CohortRun import CohortRun
from .CohortSource import FOLDER, CohortSource, checkFree, specOf
from .CohortWatch import CohortWatch
from .GeneratePanel import duration
from .OneShot import OneShot
from .Signal import Signal
from .WrappedLabel import WrappedLabel

_SECONDS_SETTING = "Sketch2CT/secondsPerCase"
_LOCK = ".lock"  # of a runner in a cohort folder
_TYPING_MS = 150


class CohortMakePanel:
    """One run at a time. `started()` is emitted when one begins: a worker that is idle may free its memory for it.

    `cohort` is the panel with the open cohort; `lastRun` gives the run under review in the module, or None.
    """

    def __init__(
        self, ui: Any, book: Any, cohort: Any, resultsFolder: Callable[[], str], lastRun: Callable[[], Any], job: Any = CohortJob
    ) -> None:
        self.started = Signal()
        self._ui, self._book, self._cohort, self._lastRun, self._makeJob = ui, book, cohort, lastRun, job
        self._parameters: Any = None
        self._job: CohortJob | None = None
        self.run: CohortRun | None = None
        self._source = CohortSource(book)
        self.form = CohortMakeForm(ui, resultsFolder)
        self._progress = CohortProgress(ui.makeProgress, ui.makeBar, ui.makeCancelButton, ui.makeStatusLabel, self.cancel)
        self._sourceLabel, self._note = WrappedLabel(ui.makeSourceLabel), WrappedLabel(ui.makeNoteLabel)
        self._soon = OneShot(self.update, _TYPING_MS)
        self._watch = CohortWatch(cohort)
        ui.makeButton.connect("toggled(bool)", self._onShow)
        ui.makeStartButton.connect("clicked()", self.make)
        ui.makeReviewButton.connect("clicked()", self._onReview)
        ui.goOnButton.connect("clicked()", self.goOn)
        self.form.changed.connect(self._soon.start)
        book.changed.connect(self._soon.start)
        cohort.changed.connect(self._offer)

    @property
    def isRunning(self) -> bool:
        """Whether a run is under way, its cancelling included."""
        return self._job is not None

    def setParameters(self, parameters: Any) -> None:
        """Bind to another parameter node, or to None. A run goes on: it needs nothing of the scene any more."""
        self._parameters = parameters
        self.update()

    def update(self) -> None:
        """Show what would be made of what, how long it takes, or what is missing."""
        self._soon.stop()
        self._offer()
        if not self._ui.makeButton.checked:
            return
        wanted, summary, missing = self.form.wanted(), "", ""
        try:
            if self._parameters is None:
                raise BadRequest(_("The scene is closed."))
            summary = self._source.summary(wanted, self._parameters)
            self._checkFolder(wanted.folder)
        except Sketch2CTError as error:
            missing = str(error)
        self._sourceLabel.show(summary)
        self._note.show(missing or self._estimate(wanted.count, wanted.withCt))
        button = self._ui.makeStartButton
        button.text = _("Make {n} cases").format(n=wanted.count) if wanted.count > 1 else _("Make one case")
        button.enabled = not missing and not self.isRunning
        button.toolTip = missing or _("Start. Slicer can be used meanwhile, and the first cases reviewed.")

    def make(self) -> None:
        """Write the spec that the form asks for, and start."""
        if self.isRunning or self._parameters is None:
            return
        wanted = self.form.wanted()
        try:
            self._checkFolder(wanted.folder)
            spec = self._source.write(wanted, self._parameters)
        except Sketch2CTError as error:
            self._note.show(str(error))
            return
        self.form.remember(wanted)
        self._ui.makeButton.checked = False
        self._start(spec, wanted.folder.absolute(), wanted.count, wanted.withCt)

    def goOn(self) -> None:
        """Make the missing cases of the open cohort; those that failed only when no others are missing."""
        session = self._cohort.session
        if self.isRunning or not self._lacks():
            return
        cohort = session.cohort
        try:
            spec = specOf(cohort.root, cohort.spec, Path(slicer.app.temporaryPath) / "Sketch2CT-go-on")
        except Sketch2CTError as error:
            self._progress.end(errorText(error))
            return
        more = ["--retry-failed"] if self._lacksFailed() else []
        more += ["--device", self._parameters.device] if self._parameters is not None else []
        self._start(spec, cohort.root, cohort.total, not cohort.spec.get("mask_only"), more)

    def cancel(self) -> None:
        """Stop the run after the step at hand."""
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """End the run and forget the listeners; the complete cases stay."""
        self._soon.stop()
        self._watch.close()
        self._book.changed.disconnect(self._soon.start)
        self._cohort.changed.disconnect(self._offer)
        if self._job is not None:
            self._job.close()
            self._job = None

    def _start(self, spec: Path, folder: Path, total: int, withCt: bool, more: list[str] | None = None) -> None:
        self.run = CohortRun(folder, total, withCt)
        self._progress.begin(_("Starting..."))
        self.started.emit()
        self._job = self._makeJob(["cohort", str(spec), "--out", str(folder), "--events", *(more or [])])
        self._job.event.connect(self._onEvent)
        self._job.ended.connect(self._onEnded)
        self._job.start()
        self._ui.makeReviewButton.visible, self._ui.makeReviewButton.enabled = True, False
        self.update()

    def _onEvent(self, event: dict[str, Any]) -> None:
        assert self.run is not None
        self.run.feed(event)
        self._progress.show(self.run.fraction, self.run.barText(), self.run.below())
        self._offerReview()
        if event.get("type") == "case" and self._isOpen(self.run.folder):
            self._cohort.lookForCases()

    def _onEnded(self, end: JobEnd) -> None:
        run, self._job = self.run, None
        assert run is not None
        if end.byForce and run.isUp and sys.platform == "win32":
            (run.folder / _LOCK).unlink(missing_ok=True)  # nobody can see there that its process is gone
        if run.secondsPerCase is not None:
            qt.QSettings().setValue(_key(run.withCt), f"{run.secondsPerCase:.2f}")
        if end.error is None:
            self._progress.end(run.summary())
        elif end.error.code == "cancelled":
            self._progress.end(_("Cancelled.") + " " + (run.summary() if run.isUp else _("Nothing was made.")))
        else:
            self._progress.tellError(end.error, _("Cohort"))
        if not (run.folder / COHORT).exists():
            _discard(run.folder)
        self._offerReview()
        if self._isOpen(run.folder):
            self._cohort.lookForCases()
        self.update()

    def _onShow(self, on: bool) -> None:
        self._ui.makeGroup.visible = on
        if on:
            self._ui.exportButton.checked = False
            held = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") > 0
            self.form.prepare(bool(self._book.strokes()), held)
            self.update()

    def _onReview(self) -> None:
        if self.run is not None:
            self._cohort.open(str(self.run.folder))

    def _offer(self) -> None:
        session, button = self._cohort.session, self._ui.goOnButton
        button.visible = self._lacks() and not self.isRunning
        if session is not None and self._lacks():
            text = _("Try the failed cases again ({n})") if self._lacksFailed() else _("Make the missing cases ({n})")
            button.text = text.format(n=session.cohort.total - len(session.names))
        self._offerReview()

    def _offerReview(self) -> None:
        run, button = self.run, self._ui.makeReviewButton
        button.visible = run is not None and not self._isOpen(run.folder) and (self.isRunning or run.done > 0)
        button.enabled = run is not None and run.done > 0

    def _lacks(self) -> bool:
        """Whether the open cohort is one that a run can complete."""
        session = self._cohort.session
        return session is not None and not session.isBlind and bool(session.cohort.spec) and len(session.names) < session.cohort.total

    def _lacksFailed(self) -> bool:
        session = self._cohort.session
        return session is not None and 0 < session.failures() >= session.cohort.total - len(session.names)

    def _isOpen(self, folder: Path) -> bool:
        session = self._cohort.session
        return session is not None and session.cohort.root == folder

    def _checkFolder(self, folder: Path) -> None:
        if folder == Path():
            raise BadRequest(_("Choose a folder for the cohort."))
        checkFree(folder)

    def _estimate(self, count: int, withCt: bool) -> str:
        """How long it may take, from the last run that made the same kind of case."""
        seconds = float(qt.QSettings().value(_key(withCt), 0) or 0) or _secondsOf(self._lastRun(), withCt)
        if not seconds:
            return _("How long it takes is known after the first case.")
        text = _("About {time}, at {each} a case as in the last run.")
        return text.format(time=duration(seconds * count), each=duration(seconds))


def _key(withCt: bool) -> str:
    return f"{_SECONDS_SETTING}/{'ct' if withCt else 'mask'}"


def _secondsOf(run: Any, withCt: bool) -> float:
    """What a sample of a run in the module took without the loading of the model; 0 if it is another kind of result, or not known."""
    if run is None or not run.samples or (run.samples[0].volume is not None) != withCt:
        return 0.0
    taken = run.samples[0].manifest.get("seconds") or {}
    return float(sum(value for stage, value in taken.items() if stage != "load"))


def _discard(folder: Path) -> None:
    """Of a run that was refused, leave nothing: the source goes, and the folder if nothing else is in it."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
