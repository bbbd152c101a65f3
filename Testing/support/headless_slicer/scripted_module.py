"""Stand-in for `slicer.ScriptedLoadableModule` and for the C++ objects that hold a scripted module."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
import unittest
from pathlib import Path
from typing import Any

import slicer

from .qmrml_widgets import qMRMLWidget


class qSlicerScriptedLoadableModule:
    """What `slicer.modules.<name>` is: holds the Python module class and, once asked for, its widget."""

    def __init__(self, path: str) -> None:
        self.path = str(path)
        self.name = Path(path).stem
        self.title, self.helpText, self.acknowledgementText, self.icon = "", "", "", None
        self.categories, self.dependencies, self.contributors = [], [], []
        self.hidden = False
        self._widget: qSlicerScriptedLoadableModuleWidget | None = None
        self._module = self._import()
        self._instance = getattr(self._module, self.name)(self)

    def _import(self) -> Any:
        spec = importlib.util.spec_from_file_location(self.name, self.path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        spec.loader.exec_module(module)
        return module

    def self(self) -> Any:
        """The Python object of class <Name>."""
        return self._instance

    def logic(self) -> None:
        return None

    def hasWidget(self) -> bool:
        return self._widget is not None

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget:
        """The widget; the first call makes it and runs its `setup`."""
        if self._widget is None:
            self._widget = qSlicerScriptedLoadableModuleWidget(self.name)
            self._widget.setup()
        return self._widget


class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The parent of a module's panel; passes `enter`, `exit` and `setup` on to the Python widget."""

    def __init__(self, module_name: str) -> None:
        from PySide6.QtWidgets import QVBoxLayout

        super().__init__()
        self.moduleName = module_name
        self.isEntered = False
        self.setObjectName(f"{module_name}ModuleWidget")
        self.setLayout(QVBoxLayout())
        self._python: Any = None

    def setup(self) -> None:
        """Make the Python widget, which is also found as `slicer.modules.<Name>Widget`."""
        self.setMRMLScene(slicer.mrmlScene)
        self._python = getattr(sys.modules[self.moduleName], f"{self.moduleName}Widget")(self)
        setattr(slicer.modules, f"{self.moduleName}Widget", self._python)
        self._python.setup()

    def self(self) -> Any:
        return self._python

    def reload(self) -> None:
        """Called by `slicer.util.reloadScriptedModule` after the file was imported again and the old widget cleaned up.

        As in Slicer the new widget is not entered, even if its panel is shown.
        """
        self.setup()

    def enter(self) -> None:
        self.isEntered = True
        self._python.enter()

    def exit(self) -> None:
        self.isEntered = False
        self._python.exit()


class ScriptedLoadableModule:
    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:
        return f'<a href="{slicer.app.moduleDocumentationUrl(docPage or self.moduleName)}">documentation</a>'

    def runTest(self, msec: int = 100, **options: Any) -> None:
        module = importlib.import_module(type(self).__module__)
        case = getattr(module, f"{self.moduleName}Test")()
        case.messageDelay = msec
        case.runTest(**options)


class ScriptedLoadableModuleWidget:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = slicer.util.settingsValue("Developer/DeveloperMode", False, converter=slicer.util.toBool)
        self.parent = parent if parent is not None else _own_parent()
        self.layout = self.parent.layout()
        if parent is None:
            self.setup()
            self.parent.show()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / filename)

    def setup(self) -> None:
        """In developer mode: the section with the buttons to reload and to test."""
        if not self.developerMode:
            return
        import ctk
        import qt

        self.reloadCollapsibleButton = ctk.ctkCollapsibleButton()
        self.reloadCollapsibleButton.text = "Reload && Test"
        self.layout.addWidget(self.reloadCollapsibleButton)
        form = qt.QFormLayout(self.reloadCollapsibleButton)
        self.reloadButton = qt.QPushButton("Reload")
        self.reloadButton.connect("clicked()", self.onReload)
        self.reloadTestButton = qt.QPushButton("Reload and Test")
        self.reloadTestButton.connect("clicked()", self.onReloadAndTest)
        form.addRow(self.reloadButton, self.reloadTestButton)

    def cleanup(self) -> None:
        """For the module."""

    def enter(self) -> None:
        """For the module."""

    def exit(self) -> None:
        """For the module."""

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def onTest(self, **options: Any) -> None:
        with slicer.util.tryWithErrorDisplay("Test failed."):
            slicer.selfTests[self.moduleName](**options)

    def onReloadAndTest(self, **options: Any) -> None:
        with slicer.util.tryWithErrorDisplay("Reload and Test failed."):
            self.onReload()
            slicer.selfTests[self.moduleName](**options)

    def _onModuleAboutToBeUnloaded(self, name: str) -> None:
        if name == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


def _own_parent() -> Any:
    from PySide6.QtWidgets import QVBoxLayout

    parent = qMRMLWidget()
    parent.setLayout(QVBoxLayout())
    parent.setMRMLScene(slicer.mrmlScene)
    return parent


class ScriptedLoadableModuleLogic:
    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:
        """The module's node in the scene; made if there is none."""
        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is not None:
                node.SetAttribute("ModuleName", self.moduleName)  # closing the scene takes it away
                return node
        elif self.getAllParameterNodes():
            return self.getAllParameterNodes()[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list:
        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [node for node in nodes if node.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    messageDelay = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*(arguments or ("runTest",)), **options)

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:
        logging.info(message)
        slicer.app.processEvents()

    def takeScreenshot(self, *_: Any, **__: Any) -> None:
        """There is no report to put one into."""

    def runTest(self) -> None:
        """Overridden by a module's test."""
