"""A small scripted module in Slicer's usual style, to try the harness on."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class Quality(Enum):
    DRAFT = 1
    FINE = 2


class Toy(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Toy")
        parent.categories = ["Testing"]


@parameterNodeWrapper
class ToyParameterNode:
    volume: vtkMRMLScalarVolumeNode
    name: str = "ümlaut"
    notes: str
    colour: Annotated[str, Choice(["red", "green"]), Default("green")]
    count: Annotated[int, WithinRange(1, 9)] = 3
    size: Annotated[float, WithinRange(0, 60)] = 10.0
    mirror: bool = True
    quality: Quality = Quality.FINE
    folder: Path


class ToyWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.log = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/Toy.ui"))
        self.layout.addWidget(widget)
        self.ui = slicer.util.childWidgetVariables(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        self.logic = ToyLogic()
        self.ui.goButton.connect("clicked(bool)", self.onGo)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneClosed)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneImported)
        self.escape = qt.QShortcut(qt.QKeySequence("Esc"), slicer.util.mainWindow())
        self.escape.connect("activated()", self.onEscape)
        slicer.app.connect("aboutToQuit()", self.onQuit)
        self.connectParameters()

    def connectParameters(self):
        self.parameters = ToyParameterNode(self.logic.getParameterNode())
        named = {widget.property("SlicerParameterName"): widget for widget in vars(self.ui).values()}
        self.tag = self.parameters.connectParametersToGui({name: widget for name, widget in named.items() if name})
        self.addObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onModified)

    def disconnectParameters(self):
        self.parameters.disconnectGui(self.tag)
        self.removeObserver(self.parameters.parameterNode, vtk.vtkCommand.ModifiedEvent, self.onModified)

    def enter(self):
        self.log.append("enter")

    def exit(self):
        self.log.append("exit")

    def cleanup(self):
        self.log.append("cleanup")
        self.disconnectParameters()
        self.removeObservers()

    def onQuit(self):
        self.log.append("quit")

    def onEscape(self):
        self.log.append("escape")

    def onModified(self, caller, event):
        self.ui.goButton.enabled = bool(self.parameters.name)

    def onSceneClosed(self, caller, event):
        self.log.append("closed")
        self.disconnectParameters()
        self.connectParameters()

    def onSceneImported(self, caller, event):
        self.parameters.Modified()

    def onGo(self, checked):
        with slicer.util.tryWithErrorDisplay(_("It failed."), waitCursor=True):
            raise RuntimeError(f"cannot go, {checked}")


class ToyLogic(ScriptedLoadableModuleLogic):
    pass


class ToyTest(ScriptedLoadableModuleTest):
    def runTest(self):
        self.delayDisplay("tested")
        slicer.modules.ToyWidget.log.append("tested")
