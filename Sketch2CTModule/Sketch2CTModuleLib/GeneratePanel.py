"""The section "Generate": one button that becomes Cancel, a bar with the stage and the time left, and what is still missing."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from sketch2ct.anatomy import find, vocabulary
from sketch2ct.errors import Sketch2CTError
from sketch2ct.request import MAX_TEXT, WHOLE_REGION

from .BundleList import missingForSurroundings
from .ComboBinding import ComboBinding
from .DrawPanel import icon
from .Parameters import MAX_SEED
from .WrappedLabel import WrappedLabel


class GeneratePanel:
    """Ties the widgets of the section to the runs. `resultsFolder` gives the folder for result files.

    For `doubleClickS` seconds after a click on Generate, another click is not taken for one on Cancel.
    """

    def __init__(self, ui: Any, book: Any, generation: Any, resultsFolder: Any) -> None:
        self._ui, self._book, self._generation, self._resultsFolder = ui, book, generation, resultsFolder
        self._parameters: Any = None
        self._note = ""
        self._drawn: list[tuple[str, bytes]] = []
        self._clickedAt = 0.0
        self._status = WrappedLabel(ui.statusLabel)
        self._completeTip = ui.completeCheck.toolTip
        self._offeredFor: Any = None  # bundle and mask generator
        self.doubleClickS = slicer.app.doubleClickInterval / 1000
        qualities = [(_("Draft"), "draft"), (_("Standard"), "standard"), (_("Fine"), "fine")]
        self._quality = ComboBinding(ui.qualitySelector, "quality", qualities)
        ui.diceButton.setIcon(icon("dice"))
        ui.diceButton.connect("clicked()", self._onDice)
        ui.generateButton.connect("clicked()", self._onButton)
        generation.stateChanged.connect(self.update)
        generation.progress.connect(self._onProgress)
        generation.finished.connect(self._onFinished)
        generation.failed.connect(self._onFailed)
        book.changed.connect(self._onSketch)

    def setParameters(self, parameters: Any) -> None:
        """Bind to another parameter node, or to None."""
        self._parameters = parameters
        self._offeredFor = None
        self._quality.setParameters(parameters)
        self.update()

    def update(self, *_unused: Any) -> None:
        """Show what the button would do now, and what it lacks."""
        self._quality.update()
        self._offerCompleting()
        button, busy = self._ui.generateButton, self._generation.busy
        self._ui.progressBar.visible = busy
        if busy:
            button.text = _("Cancelling...") if self._generation.cancelling else _("Cancel")
            button.enabled = not self._generation.cancelling and not self._generation.loading
            button.toolTip = _("Stop this run. Nothing of it is kept.")
            self._status.show(self._note)
            return
        self._ui.progressBar.value = 0
        missing = self.missing()
        button.text = self._purpose()
        button.enabled = not missing
        button.toolTip = missing or _("Start. The scene stays usable meanwhile.")
        self._status.show(missing or self._note)

    def _offerCompleting(self) -> None:
        """Grey the check box, and say why, where no installed bundle completes the surroundings. Bundles are read once a choice."""
        parameters = self._parameters
        chosen = None if parameters is None else (parameters.bundle, parameters.maskGenerator)
        if chosen is None or chosen == self._offeredFor:
            return
        self._offeredFor = chosen
        reason = missingForSurroundings(parameters.bundle)
        if not reason and parameters.maskGenerator in WHOLE_REGION:
            reason = _("The generator {name} makes the whole region anyway.").format(name=parameters.maskGenerator)
        self._ui.completeCheck.enabled = not reason
        self._ui.completeCheck.toolTip = reason or self._completeTip
        if reason and parameters.completeSurroundings:
            parameters.completeSurroundings = False

    def missing(self) -> str:
        """What the run lacks, in words; empty when it can start."""
        parameters = self._parameters
        if parameters is None:
            return _("The scene is closed.")
        if len(parameters.description) > MAX_TEXT:
            return _("The description is too long: {n} characters, the limit is {limit}.").format(
                n=len(parameters.description), limit=MAX_TEXT
            )
        if parameters.startMask is not None:
            return ""
        if self._book.strokes():
            try:
                self._book.requestSketches()
            except Sketch2CTError as error:
                return str(error)
            return ""
        if any(not vocabulary()[name].derived for name in find(parameters.description)):
            return ""
        if parameters.description.strip():
            return _("Draw a sketch, or name a structure in the description.")
        return _("Draw a sketch, or describe a structure.")

    def generate(self) -> None:
        """Start a run, if none is under way; what is wrong with the request is told in a dialog."""
        if self._generation.busy:
            return
        self._note = _("Starting the backend...") if self._generation.backend.state in ("stopped", "starting") else ""
        self._showProgress(0.0, _("Starting..."))
        try:
            self._generation.start(self._parameters, self._sketches(), Path(self._resultsFolder()))
        except Sketch2CTError as error:
            self._note = ""
            slicer.util.errorDisplay(str(error), windowTitle=_("Sketch2CT"))
        self.update()

    def _sketches(self) -> list[Any]:
        """The sketches of the request. Beside a given mask they only serve for comparison, and wrong ones are left out."""
        try:
            return self._book.requestSketches() if self._book.strokes() else []
        except Sketch2CTError:
            if self._parameters.startMask is None:
                raise
            return []

    def _purpose(self) -> str:
        if self._parameters is not None and self._parameters.startMask is not None:
            return _("Generate CT from the mask")
        if self._parameters is not None and self._parameters.maskFirst:
            return _("Generate mask")
        return _("Generate mask and CT")

    def _onButton(self) -> None:
        if not self._generation.busy:
            self._clickedAt = time.monotonic()
            self.generate()
        elif time.monotonic() - self._clickedAt > self.doubleClickS:
            self._generation.cancel()
            self.update()

    def _onDice(self) -> None:
        self._parameters.seed = random.randint(0, MAX_SEED)

    def _onSketch(self) -> None:
        drawn = [(stroke.id, stroke.points.tobytes()) for stroke in self._book.strokes()]
        isOther, self._drawn = drawn != self._drawn, drawn  # a sketch that is only shown or hidden is the same
        # Who draws again wants a new mask, not another CT of the old one.
        if isOther and drawn and self._parameters is not None and self._parameters.startMask is not None:
            self._parameters.startMask = None
        self.update()

    def _onProgress(self, stage: str, fraction: float, etaS: float | None) -> None:
        self._note = ""
        left = "" if etaS is None else _(", {time} left").format(time=duration(etaS))
        self._showProgress(fraction, _stageName(stage) + left)
        if self._ui.statusLabel.text:
            self._status.show("")

    def _showProgress(self, fraction: float, text: str) -> None:
        self._ui.progressBar.value = round(1000 * fraction)
        self._ui.progressBar.format = text.replace("%", "%%")

    def _onFinished(self, run: Any) -> None:
        maskOnly = all(sample.volume is None for sample in run.samples)
        self._note = _("Done.")
        if maskOnly:
            self._parameters.startMask = run.samples[0].segmentation
            self._note = _("The mask is ready. Correct it with Edit mask if you like, then generate its CT.")

    def _onFailed(self, code: str, message: str, hint: str) -> None:
        if code == "cancelled":
            self._note = _("Cancelled. Nothing was kept.")
            return
        self._note = message
        if code == "out_of_memory" and self._parameters is not None and self._generation.usesGpu(self._parameters.device):
            question = _("{message} {hint}\n\nTry again on the CPU, with one sample?").format(message=message, hint=hint)
            if slicer.util.confirmYesNoDisplay(question, windowTitle=_("Sketch2CT")):
                self._parameters.device, self._parameters.samples = "cpu", 1
                qt.QTimer.singleShot(0, self.generate)  # after the failed run has been put away
            return
        log = self._generation.backend.logText()
        slicer.util.errorDisplay(f"{message}\n\n{hint}".strip(), windowTitle=_("Sketch2CT"), detailedText=log[-20000:])


def duration(seconds: float) -> str:
    """Seconds as a person says them, for example `45 s`, `3 min`, `2 h 10 min`."""
    if seconds < 90:
        return _("{n} s").format(n=max(1, round(seconds)))
    minutes = round(seconds / 60)
    if minutes < 120:
        return _("{n} min").format(n=minutes)
    return _("{h} h {n} min").format(h=minutes // 60, n=minutes % 60)


def _stageName(stage: str) -> str:
    names = {
        "load": _("Loading the model"),
        "mask": _("Making the mask"),
        "surroundings": _("Completing the surroundings"),
        "volume": _("Making the CT"),
        "write": _("Writing the files"),
    }
    return names.get(stage, stage)
