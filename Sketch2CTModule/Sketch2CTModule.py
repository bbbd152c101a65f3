"""Sketch2CT: from a sketch and a sentence to a segmentation and a synthetic CT.

Thin on purpose: what the module does is in Sketch2CTModuleLib. Nothing heavy is imported before the panel is opened, and
torch never in this process.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

_LIBRARY = "Sketch2CTModuleLib"


class Sketch2CTModule(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Sketch2CT")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Image Synthesis")]
        parent.dependencies = []
        parent.contributors = ["The Sketch2CT developers"]
        parent.helpText = _(
            "Draw an outline of an organ on a slice, describe it in a sentence, and get a 3D mask and a synthetic CT. "
            "What is made is synthetic and not for clinical use."
        )
        parent.acknowledgementText = _(
            "Implements the ideas of Sketch2CT, GuideGen, TRACE, MedGen3D and MedSyn. The shipped model learned from OpenKBP "
            "(Babier et al., Medical Physics 48:5549-5561, 2021)."
        )
        iconFile = self.resourcePath("Icons/Sketch2CTModule.png")
        if Path(iconFile).is_file():
            import qt

            parent.icon = qt.QIcon(iconFile)

    def resourcePath(self, filename: str) -> str:
        """A file of the extension's resources, which lie beside the module or, in the source tree, one level above."""
        return _resource(filename)


class Sketch2CTModuleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: connects the sections in Sketch2CTModuleLib with the scene."""

    def __init__(self, parent=None) -> None:
        self._panel: Any = None
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)

    def resourcePath(self, filename: str) -> str:
        """As in the module."""
        return _resource(filename)

    def setup(self) -> None:
        """Called when the module is opened for the first time."""
        ScriptedLoadableModuleWidget.setup(self)
        from Sketch2CTModuleLib.ModulePanel import ModulePanel

        uiWidget = slicer.util.loadUI(self.resourcePath("UI/Sketch2CTModule.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.logic = Sketch2CTModuleLogic()
        self._panel = ModulePanel(self.ui)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self._onSceneStartClose)
        for event in (slicer.mrmlScene.EndCloseEvent, slicer.mrmlScene.EndImportEvent):
            self.addObserver(slicer.mrmlScene, event, self._onSceneChanged)
        self._useScene()
        if getattr(self.parent, "isEntered", False):  # reloaded while it is shown: enter() does not follow
            self.enter()

    def cleanup(self) -> None:
        """Called when the application ends and before the module is reloaded."""
        self.removeObservers()
        if self._panel is not None:
            self._panel.close()
            self._panel = None

    def enter(self) -> None:
        """Called each time the user opens the module."""
        self._useScene()
        self._panel.enter()

    def exit(self) -> None:
        """Called each time the user goes to another module."""
        if self._panel is not None:
            self._panel.leave()

    def onReload(self) -> None:
        """Reload the library with the module: by itself, Slicer reloads only this file."""
        _forgetLibrary()
        ScriptedLoadableModuleWidget.onReload(self)

    def _useScene(self) -> None:
        if self._panel is not None and self._panel.parameters is None:
            self._panel.setParameters(self.logic.getParameterNode())

    def _onSceneStartClose(self, caller, event) -> None:
        self._panel.setParameters(None)

    def _onSceneChanged(self, caller, event) -> None:
        if self._panel is not None:
            parameters = self.logic.getParameterNode()
            parameters.Modified()  # its references to nodes that were read after it are found only now
            self._panel.setParameters(parameters)


class Sketch2CTModuleLogic(ScriptedLoadableModuleLogic):
    """Gives the parameter node; the work is done in Sketch2CTModuleLib."""

    def getParameterNode(self):
        """The scene's parameters."""
        from Sketch2CTModuleLib.Parameters import Parameters

        return Parameters(ScriptedLoadableModuleLogic.getParameterNode(self))  # type: ignore[call-arg]


class Sketch2CTModuleTest(ScriptedLoadableModuleTest):
    """Runs in the application: draws, describes and generates with a quick stand-in of the backend."""

    def runTest(self) -> None:
        """Everything, in a fresh scene."""
        from Sketch2CTModuleLib.SelfTest import SelfTest

        slicer.mrmlScene.Clear(0)
        SelfTest(self).run()


def _resource(filename: str) -> str:
    from Sketch2CTModuleLib.Paths import resourcesFolder

    return str(resourcesFolder() / filename)


def _forgetLibrary() -> None:
    for name in [name for name in sys.modules if name == _LIBRARY or name.startswith(f"{_LIBRARY}.")]:
        del sys.modules[name]
