"""The whole panel: makes the parts, ties the sections together, and follows the scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk

from sketch2ct.request import GenerationRequest

from .AdvancedPanel import AdvancedPanel
from .Canvas import Canvas
from .CohortExportPanel import CohortExportPanel
from .CohortMakePanel import CohortMakePanel
from .CohortPanel import CohortPanel
from .DescribePanel import DescribePanel
from .DrawPanel import DrawPanel
from .EnvironmentPanel import EnvironmentPanel
from .GeneratePanel import GeneratePanel
from .Generation import Generation
from .LayoutViews import LayoutViews
from .ReviewPanel import ReviewPanel
from .SceneWatch import SceneWatch
from .SketchBook import SketchBook
from .SketchGuides import SketchGuides
from .SketchPen import SketchPen
from .ViewFitter import ViewFitter


class ModulePanel:
    """One panel for one scene at a time. `parameters` is None while no scene is open."""

    def __init__(self, ui: Any, generation: Any = None, environment: Any = None) -> None:
        self._ui = ui
        self.parameters: Any = None
        self._guiTag: Any = None
        self._observed: Any = None
        self.book = SketchBook(slicer.mrmlScene)
        self.views = LayoutViews()
        self.pen = SketchPen(self.book, self.views)
        self._guides = SketchGuides(self.book, self.views)
        self.generation = generation or Generation()
        fitter = ViewFitter()
        self.draw = DrawPanel(ui, self.book, self.pen, Canvas(slicer.mrmlScene), fitter)
        self.describe = DescribePanel(ui)
        self.advanced = AdvancedPanel(ui, self.generation, self._onBundle)
        self.generate = GeneratePanel(ui, self.book, self.generation, self.advanced.resultsFolder)
        self.review = ReviewPanel(ui, fitter, self.generate.generate)
        self.cohort = CohortPanel(ui, fitter, self.views)
        self.cohortMake = CohortMakePanel(ui, self.book, self.cohort, lambda: ui.resultsPath.currentPath.strip(), lambda: self.review.run)
        self.cohortExport = CohortExportPanel(ui, self.cohort)
        self.cohortMake.started.connect(self._onCohortRun)
        self.environment = environment or EnvironmentPanel(ui)
        self.environment.devicesFound.connect(self.advanced.setDevices)
        self.environment.backendMustStop.connect(self.generation.backend.stop)
        self.generation.finished.connect(self._onFinished)
        self.generation.stateChanged.connect(lambda: self.review.setBusy(self.generation.busy))
        self.pen.strokeDrawn.connect(self._onStroke)
        self._shortcuts = _shortcuts({",": lambda: self.review.step(-1), ".": lambda: self.review.step(1)})
        self._escape = _shortcuts({"Esc": self.pen.escape})  # only while the pen is on: the key is wanted elsewhere, too
        self.pen.modeChanged.connect(self._onPenMode)
        self._watch = SceneWatch(slicer.mrmlScene, removed=self.review.forget)

    def setParameters(self, parameters: Any) -> None:
        """Follow another parameter node. None, when the scene closes, lays the pen down and stops the run."""
        self._release()
        if parameters is None:
            self.pen.setMode("off")
            if self.generation.busy:
                self.generation.cancel()
        self.parameters = parameters
        if parameters is not None:
            # `connectGui` finds the same widgets, but before Slicer 5.11 it returns no tag to untie them by.
            self._guiTag = parameters.connectParametersToGui(_namedWidgets(self._ui))
            node = parameters.parameterNode
            self._observed = node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onParameters)
        for section in (self.draw, self.describe, self.generate, self.review, self.cohort, self.cohortMake, self.advanced):
            section.setParameters(parameters)

    def enter(self) -> None:
        """The user opens the module."""
        for shortcut in self._shortcuts:
            shortcut.enabled = True
        self._guides.setShown(True)
        self.cohort.enter()
        self.environment.checkOnce()

    def leave(self) -> None:
        """The user goes to another module; a run goes on."""
        self.draw.leave()
        self._guides.setShown(False)
        self.cohort.leave()
        for shortcut in self._shortcuts:
            shortcut.enabled = False

    def close(self) -> None:
        """Give everything back: observers, the pen, child processes, shortcuts."""
        self._release()
        self._watch.release()
        self.describe.close()
        self.review.close()
        self.cohortMake.close()
        self.cohortExport.close()
        self.cohort.close()
        self.environment.close()
        self.generation.close()
        self.pen.cleanup()
        self._guides.cleanup()
        self.views.release()
        self.book.cleanup()
        for shortcut in self._shortcuts + self._escape:
            shortcut.enabled = False
            shortcut.setParent(None)
        self._shortcuts, self._escape = [], []

    def _release(self) -> None:
        if self._observed is not None:
            node, tag = self._observed
            node.RemoveObserver(tag)
            self._observed = None
        if self.parameters is not None and self._guiTag is not None:
            self.parameters.disconnectGui(self._guiTag)
            self._guiTag = None

    def _onPenMode(self, mode: str) -> None:
        for shortcut in self._escape:
            shortcut.enabled = mode != "off"

    def _onParameters(self, *_unused: Any) -> None:
        for section in (self.draw, self.describe, self.generate, self.cohortMake, self.advanced):
            section.update()

    def _onBundle(self) -> None:
        self.draw.setParameters(self.parameters)

    def _onStroke(self, *_unused: Any) -> None:
        if self.environment.isReady and not self.cohortMake.isRunning:  # one model in the memory is enough
            self.generation.warmUp()

    def _onCohortRun(self) -> None:
        if not self.generation.busy:
            self.generation.backend.stop()

    def _onFinished(self, run: Any) -> None:
        self.draw.hideGuide()
        request = GenerationRequest.from_dict(run.samples[0].request)  # the sketches may be others by now
        self.review.showRun(run, request.sketches)


def _namedWidgets(ui: Any) -> dict[str, Any]:
    """Parameter -> the widget that names it in the .ui file."""
    named = {widget.property("SlicerParameterName"): widget for widget in vars(ui).values()}
    return {name: widget for name, widget in named.items() if name}


def _shortcuts(actions: dict[str, Callable[[], None]]) -> list[Any]:
    """Keys of the main window, disabled; none without a main window."""
    window = slicer.util.mainWindow()
    made = []
    for key, action in actions.items() if window is not None else ():
        shortcut = qt.QShortcut(window)
        shortcut.setKey(qt.QKeySequence(key))
        shortcut.enabled = False
        shortcut.connect("activated()", action)
        made.append(shortcut)
    return made
