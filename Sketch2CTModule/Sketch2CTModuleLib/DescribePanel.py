"""The section "Describe": the text, examples, a description of an existing segment, and which words are measured."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from sketch2ct.errors import Sketch2CTError
from sketch2ct.request import MAX_TEXT

from .BackendCommand import BackendCommand
from .Examples import examplesFor
from .LabelExport import LabelExport
from .WordsNote import wordsNote
from .WrappedLabel import WrappedLabel

_UNSAVEABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # no XML file may hold them, so no saved scene


class DescribePanel:
    """Ties the widgets of the section to the parameter node. Measuring a segment runs in another process."""

    def __init__(self, ui: Any, export: Any = None, command: Any = BackendCommand) -> None:
        self._ui, self._export, self._commandClass = ui, export or LabelExport(), command
        self._parameters: Any = None
        self._running: Any = None
        self._scratch: Path | None = None
        self._structure = ""
        self._words = WrappedLabel(ui.wordsLabel)
        ui.descriptionEdit.connect("textChanged()", self._onText)
        ui.exampleSelector.connect("activated(int)", self._onExample)
        ui.fillButton.connect("toggled(bool)", self._onFillToggled)
        ui.fillSegmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onSegmentation)
        ui.fillApplyButton.connect("clicked()", self._onFill)

    def setParameters(self, parameters: Any) -> None:
        """Bind to another parameter node, or to None."""
        self._parameters = parameters
        self.update()

    def update(self) -> None:
        """Show examples for the chosen structure, and what the text says."""
        if self._parameters is None:
            return
        # By hand: connectGui writes every connected widget at each key, which moves the cursor.
        if self._ui.descriptionEdit.plainText != self._parameters.description:
            blocked = self._ui.descriptionEdit.blockSignals(True)
            self._ui.descriptionEdit.setPlainText(self._parameters.description)
            self._ui.descriptionEdit.blockSignals(blocked)
        if self._structure != self._parameters.structure:
            self._structure = self._parameters.structure
            self._ui.exampleSelector.clear()
            self._ui.exampleSelector.addItem(_("Examples..."))
            for text in examplesFor(self._structure):
                self._ui.exampleSelector.addItem(text)
        self._showNote()

    def close(self) -> None:
        """Stop measuring."""
        if self._running is not None:
            self._running.cancel()
        self._end()

    def _onText(self) -> None:
        # Pasted text may hold control characters, for example the line breaks of word processors.
        text = _UNSAVEABLE.sub(" ", self._ui.descriptionEdit.plainText)
        if self._parameters is not None and self._parameters.description != text:
            self._parameters.description = text
        self._showNote()

    def _showNote(self) -> None:
        text = self._ui.descriptionEdit.plainText
        if len(text) > MAX_TEXT:
            note = _("The text has {n} characters; the limit is {limit}. A few sentences are enough.").format(n=len(text), limit=MAX_TEXT)
        else:
            note = wordsNote(text)
        self._words.show(note)

    def _onExample(self, index: int) -> None:
        if index > 0:
            self._ui.descriptionEdit.setPlainText(self._ui.exampleSelector.itemText(index))
            self._ui.exampleSelector.setCurrentIndex(0)

    def _onFillToggled(self, on: bool) -> None:
        self._ui.fillRow.visible = on
        self._onSegmentation(self._ui.fillSegmentationSelector.currentNode())

    def _onSegmentation(self, node: Any) -> None:
        combo = self._ui.fillSegmentSelector
        combo.clear()
        names = node.GetSegmentation().GetSegmentIDs() if node is not None else ()
        for name in names:
            combo.addItem(node.GetSegmentation().GetSegment(name).GetName(), name)
        self._ui.fillApplyButton.enabled = combo.count > 0 and self._running is None

    def _onFill(self) -> None:
        node = self._ui.fillSegmentationSelector.currentNode()
        segment = self._ui.fillSegmentSelector.itemData(self._ui.fillSegmentSelector.currentIndex)
        if node is None or not segment:
            return
        self._scratch = Path(tempfile.mkdtemp(prefix="sketch2ct-", dir=slicer.app.temporaryPath))
        try:
            labels = self._export.write(node, self._scratch, segments=[segment])
            name = next(iter(json.loads((self._scratch / "labels.json").read_text(encoding="utf-8")).values()))
        except Sketch2CTError as error:
            self._end()
            slicer.util.errorDisplay(str(error), windowTitle=_("Sketch2CT"))
            return
        arguments = ["describe", str(labels), "--structure", name, "--bundle", self._parameters.bundle, "--wordings", "0"]
        self._running = self._commandClass(arguments)
        self._running.finished.connect(self._onDescribed)
        self._ui.fillApplyButton.enabled = False
        self._ui.fillApplyButton.text = _("Measuring...")
        self._running.start()

    def _onDescribed(self, exitCode: int, output: str, errors: str) -> None:
        self._end()
        if exitCode:
            lines = errors.strip().splitlines()
            slicer.util.errorDisplay(lines[-1] if lines else _("The segment could not be measured."), windowTitle=_("Sketch2CT"))
            return
        self._ui.descriptionEdit.setPlainText(json.loads(output)["sentences"][0])

    def _end(self) -> None:
        self._running = None
        self._ui.fillApplyButton.text = _("Measure and describe")
        self._ui.fillApplyButton.enabled = self._ui.fillSegmentSelector.count > 0
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None
