"""A scene with Slicer's logics, and the globals of the `slicer` package around it."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import vtk

from .io import CoreIOManager

# Name in slicer.modules -> class. Colors comes first: Volumes and Segmentations ask the application for it.
_LOGICS = {
    "Colors": "vtkMRMLColorLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Units": "vtkSlicerUnitsLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
}
_IN_HIERARCHY = ("vtkMRMLVolumeNode", "vtkMRMLSegmentationNode", "vtkMRMLMarkupsNode")


class Module:
    """What `slicer.modules.<name>` offers."""

    def __init__(self, name: str, logic: Any = None) -> None:
        self.name = name
        self._logic = logic

    def logic(self) -> Any:
        return self._logic


class Application:
    """What `slicer.app` offers, as far as `slicer.util` and our code use it."""

    applicationName = "Slicer"

    def __init__(self, scene: Any, app_logic: Any, temporary_path: Path) -> None:
        self.temporaryPath = str(temporary_path)
        self._scene, self._logic = scene, app_logic
        self._io = CoreIOManager(scene, app_logic, temporary_path)

    def mrmlScene(self) -> Any:
        return self._scene

    def applicationLogic(self) -> Any:
        return self._logic

    def coreIOManager(self) -> CoreIOManager:
        return self._io

    def layoutManager(self) -> None:
        return None

    def mainWindow(self) -> None:
        return None


@dataclass
class HeadlessSlicer:
    """A running headless application."""

    scene: Any
    app_logic: Any
    app: Application

    def close(self) -> None:
        """End it: no observer of ours outlives it, since VTK cannot call one while Python is ending."""
        self.scene.RemoveAllObservers()
        self.scene.Clear(1)
        slicer.mrmlScene = slicer.app = None


def bootstrap(temporary_path: Path) -> HeadlessSlicer:
    """Make a fresh scene and logics and put them into `slicer`. All temporary files go to `temporary_path`."""
    _errors_to_stderr()
    scene, app_logic = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    app_logic.SetMRMLScene(scene)  # adds the selection and interaction nodes
    app_logic.SetTemporaryPath(str(temporary_path))
    app_logic.GetColorLogic().SetMRMLScene(scene)
    app_logic.GetColorLogic().AddDefaultColorNodes()
    app_logic.SetSliceLogics(vtk.vtkCollection())
    app_logic.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slicer.mrmlScene = scene
    slicer.app = Application(scene, app_logic, temporary_path)
    _add_logics(scene, app_logic)
    _keep_hierarchy(scene)
    return HeadlessSlicer(scene, app_logic, slicer.app)


def _errors_to_stderr() -> None:
    window = vtk.vtkOutputWindow()
    window.SetDisplayModeToAlwaysStdErr()
    vtk.vtkOutputWindow.SetInstance(window)


def _add_logics(scene: Any, app_logic: Any) -> None:
    slicer.modules = sys.modules["slicer.modules"] = types.ModuleType("slicer.modules")
    for name, class_name in _LOGICS.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(app_logic)
        # Logics complain that their resource files are missing: those are part of the desktop, not of the package.
        vtk.vtkObject.GlobalWarningDisplayOff()
        logic.SetMRMLScene(scene)
        vtk.vtkObject.GlobalWarningDisplayOn()
        app_logic.SetModuleLogic(name, logic)
        setattr(slicer.modules, name.lower(), Module(name, logic))


def _keep_hierarchy(scene: Any) -> None:
    """One subject hierarchy item per visible data node, which Qt plugins see to in the desktop."""

    def hierarchy() -> Any:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    def listed(node: Any) -> bool:
        return any(node.IsA(name) for name in _IN_HIERARCHY) and not node.GetHideFromEditors()

    def add(node: Any) -> None:
        if listed(node) and not hierarchy().GetItemByDataNode(node):
            hierarchy().CreateItem(hierarchy().GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def on_added(_scene: Any, _event: str, node: Any) -> None:
        if not scene.IsImporting():  # the scene's own hierarchy may come with the import
            add(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def on_removed(_scene: Any, _event: str, node: Any) -> None:
        item = hierarchy().GetItemByDataNode(node) if listed(node) else 0
        if item:
            hierarchy().RemoveItem(item, False, False)

    def on_imported(*_: Any) -> None:
        for n in range(scene.GetNumberOfNodes()):
            add(scene.GetNthNode(n))

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, on_added)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, on_removed)
    scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, on_imported)
