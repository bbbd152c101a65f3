"""The button "Export..." of the section "Cohort": a form, a run in another process, and what was written."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

import ctk
import qt
import slicer
from slicer.i18n import tr as _

from sketch2ct.errors import BadRequest, Sketch2CTError
from sketch2ct.export.options import ACCEPTED, ALL, GENERATED, NEWEST, UNREJECTED, Options

from .BackendError import BackendError
from .BackendPython import BackendPython
from .CohortExportCounts import exportCounts
from .CohortJob import CohortJob, JobEnd
from .CohortProgress import CohortProgress
from .GeneratePanel import duration
from .OneShot import OneShot
from .WrappedLabel import WrappedLabel

_COUNT_MS, _READ_S = 100, 0.02  # how soon the cases are counted anew, and how long files are read at a time for that
_CARD = "DATA_CARD.md"
_SKIPPED = 5  # cases whose reason is shown; the data card has all
_NNUNET = "nnunet"


class CohortExportPanel:
    """One export at a time, of the cohort that is open in `cohort`."""

    def __init__(self, ui: Any, cohort: Any, job: Any = CohortJob) -> None:
        self._ui, self._cohort, self._makeJob = ui, cohort, job
        self._job: CohortJob | None = None
        self._written: Path | None = None
        self._proposed = ""
        self._counts: dict[str, int] = {}  # none before they are counted
        self._counted: Any = None  # the session that they are of
        self._progress = CohortProgress(ui.exportProgress, ui.exportBar, ui.exportCancelButton, ui.exportStatusLabel, self.cancel)
        self._sentence, self._note = WrappedLabel(ui.exportFormatLabel), WrappedLabel(ui.exportNoteLabel)
        self._count = OneShot(self._countCases, _COUNT_MS)
        for format_, (title, _sentence) in _formats().items():
            ui.exportFormatSelector.addItem(title, format_)
        for include in (ACCEPTED, UNREJECTED, ALL):
            ui.exportIncludeSelector.addItem(_includeText(include, None), include)
        ui.exportMasksSelector.addItem(_("as edited, where they were"), NEWEST)
        ui.exportMasksSelector.addItem(_("as generated"), GENERATED)
        ui.exportFolderPath.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Writable
        ui.exportButton.connect("toggled(bool)", self._onShow)
        ui.exportFormatSelector.connect("currentIndexChanged(int)", lambda *_args: self._onFormat())
        ui.exportIncludeSelector.connect("currentIndexChanged(int)", lambda *_args: self.update())
        ui.exportMasksSelector.connect("currentIndexChanged(int)", lambda *_args: self._count.start())
        ui.exportNameEdit.connect("textChanged(QString)", lambda *_args: self.update())
        ui.exportFolderPath.connect("currentPathChanged(QString)", lambda *_args: self.update())
        ui.exportStartButton.connect("clicked()", self.export)
        ui.exportFolderButton.connect("clicked()", self._onFolder)
        cohort.changed.connect(self._onCohort)

    @property
    def isRunning(self) -> bool:
        """Whether an export is under way, its cancelling included."""
        return self._job is not None

    def update(self) -> None:
        """Offer what can be done now, and say what is missing."""
        session = self._cohort.session
        self._ui.exportButton.enabled = session is not None and not session.isBlind
        if not self._ui.exportButton.checked:
            return
        missing = self._missing()
        self._note.show(missing)
        self._ui.exportStartButton.enabled = not missing and not self.isRunning
        self._ui.exportStartButton.toolTip = missing or _(
            "Write the data set, with a card that says what it is. Slicer can be used meanwhile."
        )

    def export(self) -> None:
        """Start with what the form says."""
        session = self._cohort.session
        if self.isRunning or session is None or self._missing():
            return
        ui, out = self._ui, self._folder().absolute()
        arguments = ["export", str(session.cohort.root), "--to", ui.exportFormatSelector.currentData, "--out", str(out), "--events"]
        arguments += ["--include", ui.exportIncludeSelector.currentData, "--masks", ui.exportMasksSelector.currentData]
        arguments += ["--name", ui.exportNameEdit.text.strip(), "--dataset-id", str(ui.exportNumberSpin.value)]
        ui.exportButton.checked = False
        ui.exportFolderButton.visible = False
        self._progress.begin(_("Starting..."))
        self._job = self._makeJob(arguments)
        self._job.event.connect(self._onEvent)
        self._job.ended.connect(self._onEnded)
        self._job.start()

    def cancel(self) -> None:
        """Stop the export; nothing of it is kept."""
        if self._job is not None:
            self._job.cancel()

    def close(self) -> None:
        """End the export and forget the listeners."""
        self._count.stop()
        self._cohort.changed.disconnect(self._onCohort)
        if self._job is not None:
            self._job.close()
            self._job = None

    # The run

    def _onEvent(self, event: dict[str, Any]) -> None:
        if event.get("type") == "progress":
            text = _("{stage} {step} of {steps}").format(stage=_stage(event.get("stage")), step=event.get("step"), steps=event.get("steps"))
            left = event.get("eta_s")
            text += _(", {time} left").format(time=duration(left)) if left else ""
            self._progress.show(float(event.get("fraction") or 0.0), text)

    def _onEnded(self, end: JobEnd) -> None:
        self._job = None
        if end.error is None:
            self._written = Path(str(end.done.get("out", "")))
            self._ui.exportFolderButton.visible = True
            self._progress.end(_report(end.done))
        elif end.error.code == "cancelled":
            self._progress.end(_("The export was cancelled. Nothing of it was kept."))
        else:
            self._progress.tellError(_withWayToInstall(end.error), _("Export"))
        self.update()

    def _onFolder(self) -> None:
        if self._written is None or not self._written.is_dir():
            slicer.util.errorDisplay(_("The folder {folder} is gone.").format(folder=self._written), windowTitle=_("Export"))
            return
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._written)))

    # The form

    def _onShow(self, on: bool) -> None:
        self._ui.exportGroup.visible = on
        if on:
            self._ui.makeButton.checked = False
            self._onFormat()
            self._count.start(0)

    def _onCohort(self) -> None:
        session = self._cohort.session
        if session is not self._counted:
            self._counts, self._counted = {}, session
            for index, include in enumerate((ACCEPTED, UNREJECTED, ALL)):
                self._ui.exportIncludeSelector.setItemText(index, _includeText(include, None))
        if session is None or session.isBlind:
            self._ui.exportButton.checked = False
        elif self._ui.exportButton.checked:
            self._count.startUnlessWaiting()
            self._propose()
        self.update()

    def _onFormat(self) -> None:
        chosen = self._ui.exportFormatSelector.currentData
        self._sentence.show(_formats()[chosen][1])
        for widget in (self._ui.exportNumberLabel, self._ui.exportNumberSpin):
            widget.visible = chosen == _NNUNET
        self._propose()
        self.update()

    def _propose(self) -> None:
        """A free folder beside the cohort, unless the user has named one."""
        session, field = self._cohort.session, self._ui.exportFolderPath
        if session is not None and field.currentPath.strip() in ("", self._proposed):
            root = session.cohort.root
            self._proposed = str(_free(root.parent / f"{root.name}-{self._ui.exportFormatSelector.currentData}"))
            field.setCurrentPath(self._proposed)

    def _countCases(self) -> None:
        """Bring the numbers up to date, a few files at a time so that nothing stands still."""
        session, selector = self._cohort.session, self._ui.exportIncludeSelector
        if session is None or not self._ui.exportButton.checked:
            return
        if not session.readSome(_READ_S):
            self._count.start()
            return
        counts = exportCounts(session, self._ui.exportMasksSelector.currentData)
        for index in range(selector.count):
            include = selector.itemData(index)
            selector.setItemText(index, _includeText(include, counts[include]))
        self._counts = counts
        self.update()

    def _missing(self) -> str:
        """What the export lacks, in words; empty when it can start."""
        session, include = self._cohort.session, self._ui.exportIncludeSelector.currentData
        if session is None:
            return _("Open a cohort first.")
        if session.cohort.spec.get("mask_only"):
            return _("This cohort has masks alone, and every format needs a CT.")
        if self._counts and not self._counts[include]:
            return _("No case is accepted yet. Review some, or take others too.") if include == ACCEPTED else _("There is no such case.")
        try:
            Options(self._ui.exportFormatSelector.currentData, name=self._ui.exportNameEdit.text.strip())
            _checkFolder(self._folder(), session.cohort.root)
        except Sketch2CTError as error:
            return str(error)
        return ""

    def _folder(self) -> Path:
        return Path(self._ui.exportFolderPath.currentPath.strip()).expanduser()


def _checkFolder(out: Path, root: Path) -> None:
    if out == Path():
        raise BadRequest(_("Choose a folder for the export."))
    inner, outer = out.absolute().resolve(), root.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise BadRequest(_("The export and the cohort lie in one another."), _("Choose a folder beside the cohort."))
    if out.exists():
        raise BadRequest(_("{folder} exists already.").format(folder=out), _("Choose another folder."))


def _free(folder: Path) -> Path:
    number, free = 2, folder
    while free.exists():
        free, number = folder.with_name(f"{folder.name}-{number}"), number + 1
    return free


def _formats() -> dict[str, tuple[str, str]]:
    """Format -> title, and a sentence on who reads it."""
    return {
        "nnunet": ("nnU-Net", _("A raw data set of nnU-Net v2, with splits that keep variants of one case together.")),
        "monai": (
            "MONAI",
            _("Images and label maps with a list of training and validation files, as MONAI's loaders and Auto3DSeg read it."),
        ),
        "dicom": ("DICOM", _("CT series with SEG and RT-STRUCT, marked as synthetic, for PACS and planning systems. Not for patients.")),
        "totalsegmentator": ("TotalSegmentator", _("A folder a case with the CT and one mask file a structure.")),
    }


def _includeText(include: str, count: int | None) -> str:
    titles = {ACCEPTED: _("accepted"), UNREJECTED: _("all that are not rejected"), ALL: _("all")}
    return titles[include] if count is None else f"{titles[include]} ({count})"


def _stage(name: Any) -> str:
    return {"Reading": _("Reading"), "Writing": _("Writing")}.get(str(name), str(name))


def _report(done: dict[str, Any]) -> str:
    """What was written, what was not and why. Rich text."""
    out, skipped, left = Path(str(done.get("out", ""))), done.get("skipped") or {}, done.get("left_out") or {}
    lines = [_("<b>Cases written: {n}</b>, to {out}.").format(n=done.get("cases", 0), out=escape(str(out)))]
    if left:
        told = ", ".join(f"{count} {escape(str(standing).replace('_', ' '))}" for standing, count in sorted(left.items()))
        lines.append(_("Left out: {told}.").format(told=told))
    if skipped:
        lines.append(_("<b>Skipped: {n}</b>, as they cannot be exported:").format(n=len(skipped)))
        lines += [escape(f"{name}: {reason}") for name, reason in sorted(skipped.items())[:_SKIPPED]]
    lines += [escape(str(note)) for note in done.get("notes") or []]
    lines.append(_("What it is made of: {card}").format(card=escape(str(out / _CARD))))
    return "<br>".join(lines)


def _withWayToInstall(error: BackendError) -> BackendError:
    """A hint that names a pip command says where to type it in Slicer."""
    found = re.search(r"pip install ((?:[a-zA-Z0-9_.-]+ ?)+)", error.hint)
    if found is None:
        return error
    packages, python = found[1].strip(), BackendPython.find()
    if python.source == "chosen":
        hint = _("In a terminal: {python} -m pip install {packages}").format(python=python.program, packages=packages)
    else:
        hint = _("In Slicer's Python console: slicer.util.pip_install('{packages}')").format(packages=packages)
    return BackendError(error.code, error.message, hint, error.details)
