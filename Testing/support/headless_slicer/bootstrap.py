"""A scene with Slicer's logics, and the globals of the `slicer` package around it."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import vtk

from .application import Application, Module

# Name in slicer.modules -> class. Colors comes first: Volumes and Segmentations ask the application for it.
_LOGICS = {
    "Colors": "vtkMRMLColorLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Models": "vtkSlicerModelsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Units": "vtkSlicerUnitsLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
}
_IN_HIERARCHY = (
    "vtkMRMLVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLModelNode",
    "vtkMRMLTransformNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
)


@dataclass
class HeadlessSlicer:
    """A running headless application."""

    scene: Any
    app_logic: Any
    app: Application

    def close(self) -> None:
        """End it: no observer of ours outlives it, since VTK cannot call one while Python is ending."""
        self.app.end()
        self.scene.RemoveAllObservers()
        self.scene.Clear(1)
        slicer.mrmlScene = slicer.app = None


def bootstrap(temporary_path: Path, qt: bool = False) -> HeadlessSlicer:
    """Make a fresh scene and logics and put them into `slicer`. All temporary files go to `temporary_path`.

    With `qt` the modules `qt` and `ctk` exist afterwards, and `slicer` has what module files import from it.
    """
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
    slicer.selfTests = {}
    if qt:
        _start_qt(temporary_path)
    return HeadlessSlicer(scene, app_logic, slicer.app)


def _start_qt(temporary_path: Path) -> None:
    from . import compat, qtshim

    qt = qtshim.install()
    compat.install()
    qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
    for scope in (qt.QSettings.UserScope, qt.QSettings.SystemScope):
        qt.QSettings.setPath(qt.QSettings.IniFormat, scope, str(temporary_path / "settings"))


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
        if scene.IsClosing():  # the hierarchy goes too; asking for it now would make another
            return
        item = hierarchy().GetItemByDataNode(node) if listed(node) else 0
        if item:
            hierarchy().RemoveItem(item, False, False)

    def on_imported(*_: Any) -> None:
        for n in range(scene.GetNumberOfNodes()):
            add(scene.GetNthNode(n))

    scene.AddObserver(slicer.vtkMRMLScene.NodeAddedEvent, on_added)
    scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, on_removed)
    scene.AddObserver(slicer.vtkMRMLScene.EndImportEvent, on_imported)
