"""The section "Review": which sample is shown, what was measured on it, and where to go from here."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .OneShot import OneShot
from .Readout import Readout
from .Run import Run
from .SampleSwitcher import SampleSwitcher
from .WrappedLabel import WrappedLabel


class ReviewPanel:
    """Ties the widgets of the section to the latest run of the scene."""

    def __init__(self, ui: Any, fitter: Any, generate: Any, switcher: Any = SampleSwitcher) -> None:
        self._ui, self._fitter, self._generate, self._switcherClass = ui, fitter, generate, switcher
        self._parameters: Any = None
        self.run: Run | None = None
        self._switcher: Any = None
        self._isBusy = False
        self._warnings = WrappedLabel(ui.warningLabel)
        self._scroll = OneShot(self._scrollHere)
        self._lookAgain = OneShot(self._onNodesGone)  # once whatever removes nodes is done with it
        table = ui.readoutTable
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setVisible(False)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
        table.horizontalHeader().setSectionResizeMode(1, qt.QHeaderView.Stretch)
        ui.sampleSlider.connect("valueChanged(int)", self.showSample)
        ui.previousButton.connect("clicked()", lambda: self.step(-1))
        ui.nextButton.connect("clicked()", lambda: self.step(1))
        ui.editButton.connect("clicked()", self._onEdit)
        ui.regenerateButton.connect("clicked()", self._onRegenerate)
        ui.folderButton.connect("clicked()", self._onFolder)

    def setParameters(self, parameters: Any) -> None:
        """Bind to another parameter node, or to None; shows the newest run of the scene."""
        self._parameters = parameters
        runs = Run.fromScene(slicer.mrmlScene) if parameters is not None else []
        self._take(runs[-1] if runs else None)
        if self.run is not None and parameters is not None:
            self.showSample(min(parameters.sample, len(self.run.samples) - 1))

    def showRun(self, run: Run, sketches: list[Any]) -> None:
        """Show a new run: first sample, slices on the sketch, 3D view centred."""
        self._take(run)
        self.showSample(0)
        self._fitter.fit(sketches, run.samples[0].segmentation, run.samples[0].volume)
        self._scroll.start()  # once the section has its new size

    def setBusy(self, busy: bool) -> None:
        """While a run is under way, no other can be started from here."""
        self._isBusy = busy
        self._offer()

    def forget(self, nodes: list[Any]) -> None:
        """Nodes were removed from the scene: what is gone is no longer offered."""
        shown = [] if self.run is None else [node for sample in self.run.samples for node in (sample.segmentation, sample.volume)]
        if any(node in shown for node in nodes):
            self._lookAgain.start()

    def close(self) -> None:
        """The widgets are about to go."""
        self._scroll.stop()
        self._lookAgain.stop()

    def step(self, by: int) -> None:
        """Go to the next or the previous sample."""
        if self.run is not None:
            self.showSample((self._ui.sampleSlider.value + by) % len(self.run.samples))

    def showSample(self, number: int) -> None:
        """Show sample `number`, from 0, of the run."""
        if self.run is None or not 0 <= number < len(self.run.samples):
            return
        self._switcher.show(number)
        if self._parameters is not None:
            self._parameters.sample = number
        blocked = self._ui.sampleSlider.blockSignals(True)
        self._ui.sampleSlider.value = number
        self._ui.sampleSlider.blockSignals(blocked)
        sample, count = self.run.samples[number], len(self.run.samples)
        self._ui.sampleLabel.text = _("{n} of {count}").format(n=number + 1, count=count) if count > 1 else ""
        self._showReadout(sample.manifest)
        self._offer()

    def _offer(self) -> None:
        """Enable what can be done with the shown sample."""
        sample = self._sample()
        hasMask = sample is not None and sample.segmentation is not None
        self._ui.editButton.enabled = hasMask
        self._ui.regenerateButton.enabled = hasMask and not self._isBusy
        self._ui.folderButton.enabled = sample is not None and sample.folder is not None

    def _onNodesGone(self) -> None:
        if self.run is None or self._parameters is None:
            return
        run = next((run for run in Run.fromScene(slicer.mrmlScene) if run.id == self.run.id), None)
        if run is None:
            self.setParameters(self._parameters)
            return
        number = self._ui.sampleSlider.value
        self._take(run)
        self.showSample(min(number, len(run.samples) - 1))

    def _scrollHere(self) -> None:
        parent = self._ui.resultSection.parent()
        while parent is not None and not hasattr(parent, "ensureWidgetVisible"):
            parent = parent.parent()
        if parent is not None:
            parent.ensureWidgetVisible(self._ui.warningLabel)

    def _take(self, run: Run | None) -> None:
        self.run = run
        self._switcher = self._switcherClass(run) if run is not None else None
        count = len(run.samples) if run is not None else 0
        blocked = self._ui.sampleSlider.blockSignals(True)
        self._ui.sampleSlider.maximum = max(count - 1, 0)
        self._ui.sampleSlider.blockSignals(blocked)
        for widget in (self._ui.sampleSlider, self._ui.previousButton, self._ui.nextButton, self._ui.sampleLabel):
            widget.visible = count > 1
        for widget in (self._ui.readoutTable, self._ui.warningLabel):
            widget.visible = count > 0
        self._offer()
        self._ui.runLabel.text = self._title(run)

    def _title(self, run: Run | None) -> str:
        if run is None:
            return _("Nothing has been generated yet.")
        manifest = run.samples[0].manifest
        seconds = sum(manifest.get("seconds", {}).values())
        return _("<b>Synthetic, not for clinical use.</b> Seed {seed}, {seconds:.0f} s on {device}.").format(
            seed=manifest.get("seed"), seconds=seconds, device=manifest.get("device", "?")
        )

    def _showReadout(self, manifest: dict[str, Any]) -> None:
        readout = Readout(manifest.get("quality", {}))
        rows, table = readout.rows, self._ui.readoutTable
        table.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate(row[:2]):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                if row[2] == "warn":
                    item.setForeground(qt.QBrush(qt.QColor(160, 70, 0)))
                table.setItem(number, column, item)
        table.resizeRowsToContents()
        self._warnings.show("<br>".join(readout.sentences))

    def _sample(self) -> Any:
        return self.run.samples[self._ui.sampleSlider.value] if self.run is not None and self.run.samples else None

    def _onEdit(self) -> None:
        segmentation = self._sample().segmentation
        self._parameters.startMask = segmentation
        slicer.util.selectModule("SegmentEditor")
        module = getattr(slicer.modules, "SegmentEditorWidget", None)
        if module is not None:
            module.parameterSetNode.SetAndObserveSegmentationNode(segmentation)

    def _onRegenerate(self) -> None:
        self._parameters.startMask = self._sample().segmentation
        self._generate()

    def _onFolder(self) -> None:
        folder = self._sample().folder
        if not folder.is_dir():
            slicer.util.errorDisplay(_("The folder {folder} is gone.").format(folder=folder), windowTitle=_("Sketch2CT"))
            return
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(folder)))
