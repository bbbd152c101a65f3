"""The module's self-test, for the application itself: draws, describes, generates with a quick stand-in, and looks at the nodes."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer

from .Generation import Generation
from .LayoutViews import DrawingView
from .ModulePanel import ModulePanel
from .Parameters import Parameters
from .Paths import resourcesFolder
from .SelfTestBackend import SelfTestBackend

_SECONDS = 30.0


class SelfTest:
    """Runs in a panel of its own; `test` is the unittest case that judges."""

    def __init__(self, test: Any) -> None:
        self._test = test
        self._folder = Path(tempfile.mkdtemp(prefix="sketch2ct-selftest-"))
        self._widget = slicer.util.loadUI(str(resourcesFolder() / "UI" / "Sketch2CTModule.ui"))
        self._widget.setMRMLScene(slicer.mrmlScene)
        self._ui = slicer.util.childWidgetVariables(self._widget)
        self._panel = ModulePanel(self._ui, Generation(SelfTestBackend()))
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "Sketch2CT self-test")
        self._panel.setParameters(Parameters(node))  # type: ignore[call-arg]
        self._ui.resultsPath.blockSignals(True)  # the user's own folder stays chosen
        self._ui.resultsPath.setCurrentPath(str(self._folder))

    def run(self) -> None:
        """Every part in turn; the panel is closed whatever happens."""
        try:
            for part in (self._draw, self._undo, self._describe, self._generate, self._switch):
                self._test.delayDisplay(part.__name__.strip("_").capitalize())
                part()
            self._test.delayDisplay("Passed")
        finally:
            self._panel.close()
            self._widget.deleteLater()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _draw(self) -> None:
        """With mouse events on the first slice view of the layout."""
        self._ui.canvasButton.checked = True
        self._ui.drawButton.checked = True
        view = self._panel.views()[0]
        columns, rows = view.sliceNode.GetDimensions()[:2]
        angle = np.linspace(0, 2 * np.pi, 80)
        path = np.stack([columns * (0.5 + 0.2 * np.cos(angle)), rows * (0.5 + 0.2 * np.sin(angle))], axis=1).round().astype(int)
        _send(view, path[0], "LeftButtonPressEvent")
        for position in path:
            _send(view, position, "MouseMoveEvent")
        _send(view, path[-1], "LeftButtonReleaseEvent")
        self._ui.drawButton.checked = False
        (stroke,) = self._panel.book.strokes()
        drawn = np.array([view.toRas(x, y) for x, y in path])
        self._test.assertLess(float(stroke.distances(drawn).max()), 0.1)
        self._test.assertEqual(self._ui.sketchTable.rowCount, 1)

    def _undo(self) -> None:
        self._ui.undoButton.click()
        self._test.assertEqual(self._panel.book.strokes(), ())
        self._ui.redoButton.click()
        self._test.assertEqual(len(self._panel.book.strokes()), 1)

    def _describe(self) -> None:
        self._ui.descriptionEdit.setPlainText("a broad mandible, about 62 mL")
        self._test.assertEqual(self._panel.parameters.description, "a broad mandible, about 62 mL")
        self._test.assertIn("62 mL", self._ui.wordsLabel.text)

    def _generate(self) -> None:
        self._ui.maskFirstCheck.checked = True
        self._press()
        (sample,) = self._samples()
        self._test.assertIsNone(sample.volume)
        self._test.assertTrue(str(sample.segmentation.GetName()).startswith("SYNTHETIC"))
        self._test.assertIs(self._panel.parameters.startMask, sample.segmentation)

    def _switch(self) -> None:
        self._panel.parameters.startMask = None
        self._ui.maskFirstCheck.checked = False
        self._ui.samplesSpin.value = 2
        self._press()
        first, second = (sample.volume.GetID() for sample in self._samples())
        composite = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")[0]
        self._test.assertEqual(composite.GetBackgroundVolumeID(), first)
        self._panel.review.step(1)
        self._test.assertEqual(composite.GetBackgroundVolumeID(), second)

    def _samples(self) -> list[Any]:
        """Those under review."""
        run = self._panel.review.run
        return list(run.samples) if run is not None else []

    def _press(self) -> None:
        self._test.assertTrue(self._ui.generateButton.enabled, self._ui.statusLabel.text)
        self._ui.generateButton.click()
        self._wait(lambda: not self._panel.generation.busy)

    def _wait(self, done: Callable[[], bool]) -> None:
        end = time.monotonic() + _SECONDS
        while not done():
            self._test.assertLess(time.monotonic(), end, "It takes too long.")
            slicer.app.processEvents()


def _send(view: DrawingView, position: Any, event: str) -> None:
    view.interactor.SetEventInformation(int(position[0]), int(position[1]), 0, 0)
    view.interactor.InvokeEvent(event)
