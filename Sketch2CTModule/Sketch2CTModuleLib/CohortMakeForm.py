"""The form for a new cohort: its widgets -> what is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from .CohortSource import DATASET, SCENE, SEGMENTATION, Wanted
from .CohortVariety import Variety
from .Signal import Signal

_PARENT_SETTING = "Sketch2CT/cohortsFolder"


class CohortMakeForm:
    """Shows and hides its rows itself. `changed()` is emitted after every change by the user.

    `resultsFolder` gives the folder for result files that the user chose, an empty path if none.
    """

    def __init__(self, ui: Any, resultsFolder: Any) -> None:
        self.changed = Signal()
        self._ui, self._resultsFolder = ui, resultsFolder
        for title, kind in (
            (_("the sketches and the text of this scene"), SCENE),
            (_("a segmentation of this scene"), SEGMENTATION),
            (_("a data set in nnU-Net layout"), DATASET),
        ):
            ui.makeSourceSelector.addItem(title, kind)
        ui.makeDatasetPath.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Readable
        ui.makeFolderPath.filters = ctk.ctkPathLineEdit.Dirs | ctk.ctkPathLineEdit.Writable
        ui.makeSourceSelector.connect("currentIndexChanged(int)", self._onSource)
        ui.makeSegmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", lambda *_args: self.changed.emit())
        ui.makeVarietySlider.connect("valueChanged(double)", self._onVariety)
        ui.makeDetailsButton.connect("toggled(bool)", lambda on: setattr(ui.makeDetails, "visible", on))
        for path in (ui.makeDatasetPath, ui.makeFolderPath):
            path.connect("currentPathChanged(QString)", lambda *_args: self.changed.emit())
        for number in (ui.makeCountSpin, ui.makeSeedSpin):
            number.connect("valueChanged(int)", lambda *_args: self.changed.emit())
        ui.makeCtCheck.connect("toggled(bool)", lambda *_args: self.changed.emit())
        self._onVariety(ui.makeVarietySlider.value)
        self._onSource()

    def prepare(self, hasSketches: bool, hasSegmentation: bool) -> None:
        """The form is about to be shown: choose what is at hand, and propose a folder that is free."""
        ui = self._ui
        if ui.makeSourceSelector.currentData == SCENE and not hasSketches and hasSegmentation:
            self._choose(SEGMENTATION)
        elif ui.makeSourceSelector.currentData == SEGMENTATION and hasSketches and ui.makeSegmentationSelector.currentNode() is None:
            self._choose(SCENE)
        given = ui.makeFolderPath.currentPath.strip()
        if not given or Path(given).exists():
            ui.makeFolderPath.setCurrentPath(str(_free(self._parent())))

    def wanted(self) -> Wanted:
        """What the form says; `folder` is relative when none is given."""
        ui = self._ui
        return Wanted(
            kind=ui.makeSourceSelector.currentData or SCENE,
            folder=Path(ui.makeFolderPath.currentPath.strip()).expanduser(),
            count=ui.makeCountSpin.value,
            variety=self._variety(),
            withCt=ui.makeCtCheck.checked,
            seed=ui.makeSeedSpin.value,
            segmentation=ui.makeSegmentationSelector.currentNode(),
            dataset=ui.makeDatasetPath.currentPath.strip(),
        )

    def remember(self, wanted: Wanted) -> None:
        """The next cohort is proposed beside this one."""
        qt.QSettings().setValue(_PARENT_SETTING, str(wanted.folder.absolute().parent))

    def _variety(self) -> Variety:
        ui = self._ui
        return Variety(
            volume=ui.makeVolumeSpin.value,
            elongation=ui.makeElongationSpin.value,
            side=ui.makeMirrorSpin.value,
            hand=round(ui.makeHandSpin.value, 1),
            shift=round(ui.makeShiftSpin.value, 1),
            turn=round(ui.makeTurnSpin.value, 1),
            wording=ui.makeWordingCheck.checked,
        )

    def _onVariety(self, percent: float) -> None:
        ui, variety = self._ui, Variety.ofSlider(percent)
        ui.makeVolumeSpin.value, ui.makeElongationSpin.value = variety.volume, variety.elongation
        ui.makeHandSpin.value, ui.makeShiftSpin.value, ui.makeTurnSpin.value = variety.hand, variety.shift, variety.turn
        ui.makeWordingCheck.checked = variety.wording

    def _choose(self, kind: str) -> None:
        self._ui.makeSourceSelector.setCurrentIndex(self._ui.makeSourceSelector.findData(kind))

    def _onSource(self, *_unused: Any) -> None:
        ui, kind = self._ui, self._ui.makeSourceSelector.currentData
        for widget in (ui.makeSegmentationLabel, ui.makeSegmentationSelector):
            widget.visible = kind == SEGMENTATION
        for widget in (ui.makeDatasetLabel, ui.makeDatasetPath):
            widget.visible = kind == DATASET
        self.changed.emit()

    def _parent(self) -> Path:
        """Where the last cohort was made, else in the folder for results, else among the user's documents."""
        remembered = qt.QSettings().value(_PARENT_SETTING, "") or ""
        if remembered and Path(remembered).is_dir():
            return Path(remembered)
        chosen = self._resultsFolder()
        documents = qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation) or str(Path.home())
        return Path(chosen).expanduser() if chosen else Path(documents) / "Sketch2CT"


def _free(parent: Path) -> Path:
    """The first folder name that is not taken."""
    number = 1
    while (parent / f"cohort-{number:03d}").exists():
        number += 1
    return parent / f"cohort-{number:03d}"
